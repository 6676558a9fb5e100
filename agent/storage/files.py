"""Files that are replaced as a whole."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def unfinished(path: Path) -> Path:
    """Return the name of the new file until it replaces `path`. A power cut may leave it."""
    return path.with_name(f".{path.name}.new")


def replace_file(
    path: Path, content: bytes, prepare: Callable[[int], object] = lambda _descriptor: None
) -> None:
    """Replace a file so that a power cut leaves the old one or the new one. Raises OSError.

    The new one has mode 0600 until `prepare` is called with its descriptor, which may give it
    another owner and mode. After a failure there is only the old one.
    """
    new = unfinished(path)
    new.unlink(missing_ok=True)
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            written = 0
            while written < len(content):
                written += os.write(file, content[written:])
            prepare(file)
            os.fsync(file)
        finally:
            os.close(file)
        new.rename(path)
    except BaseException:  # A signal, too, must not leave it behind.
        with suppress(OSError):  # It may have been renamed already.
            new.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
