"""Standard output and error for any text, with one error message if writing fails.

Every command runs through `run`.
"""

import codecs
import contextlib
import errno
import io
import logging
import os
import select
import stat
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, TextIO

from agent.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FAILURE = 1
STDIN, STDOUT, STDERR = 0, 1, 2
PLAIN = {"°": "deg ", "Ω": "Ohm"}  # For encodings without these characters.
ESCAPED_BYTES = range(0xDC80, 0xDD00)  # Undecodable bytes of file names (PEP 383).
ERRORS = "sensor-agent-plain"


def run(command: Callable[[], int]) -> int:
    """Run `command` and return its exit status, or 1 if its output could not be written.

    If the reader of a pipe ends, as `head` does, the command ends without a message. Any other
    failure to write is reported in one sentence.
    """
    prepare()
    try:
        try:
            status = command()
        except SystemExit:  # argparse, after --help too.
            flush()
            raise
        flush()
    except OutputError as error:
        return report(error)
    return status


def leave(status: int) -> NoReturn:
    """End the process now, without waiting for threads of the SDK that may never end."""
    logging.shutdown()
    try:
        flush()
    except OutputError as error:
        status = report(error)
    os._exit(status)


def flush() -> None:
    """Write the buffer of standard output. Raises OutputError."""
    if sys.stdout is not None:
        sys.stdout.flush()


def report(error: OutputError) -> int:
    """Report lost output, unless the reader of a pipe ended, and return the exit status."""
    discard_output()
    if not error.reader_is_gone:
        print(error, file=sys.stderr)
    return FAILURE


def discard_output() -> None:
    """Discard standard output, including its buffer: it cannot be written."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.close(nowhere)


def prepare() -> None:
    """Replace standard output and error, even closed ones, by streams that take any text."""
    # The next file that is opened, perhaps a database, would get a closed descriptor's number.
    # Standard output is opened for reading only, so that lost output is an error.
    for descriptor, flags in ((STDIN, os.O_RDONLY), (STDOUT, os.O_RDONLY), (STDERR, os.O_WRONLY)):
        _open_if_closed(descriptor, flags)
    codecs.register_error(ERRORS, _in_plain_letters)
    # Tests may have replaced the streams.
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(sys.__stdout__, _Output(STDOUT, "wb", closefd=False))
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(sys.__stderr__, _ErrorOutput(STDERR, "wb", closefd=False))


def _open_if_closed(descriptor: int, flags: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, flags)
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)
        os.set_inheritable(descriptor, True)


def _stream(like: TextIO | None, raw: io.FileIO) -> TextIO:
    """Return a text stream over `raw` with the encoding and buffering of `like`."""
    encoding, unbuffered, by_line = "utf-8", False, False
    if isinstance(like, io.TextIOWrapper):
        encoding, unbuffered, by_line = like.encoding, like.write_through, like.line_buffering
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),  # As with python -u.
        encoding=encoding,
        errors=ERRORS,
        line_buffering=by_line,
        write_through=unbuffered,
    )


class _Output(io.FileIO):
    """Standard output. Raises OutputError, which is not caught by an `except OSError`."""

    def write(self, data: "ReadableBuffer", /) -> int:
        view = memoryview(data).cast("B")
        written = 0
        while written < len(view):
            try:
                count: int | None = super().write(view[written:])
            except OSError as error:
                raise OutputError(
                    "it is closed" if error.errno == errno.EBADF else error.strerror or str(error),
                    reader_is_gone=error.errno == errno.EPIPE,
                    terminal_is_gone=error.errno == errno.EIO and _is_device(self.fileno()),
                ) from error
            if count is None:  # Another program made the pipe non-blocking, and it is full.
                select.select([], [self], [])
            else:
                written += count
        return written


def _is_device(descriptor: int) -> bool:
    # isatty() is false for a closed terminal.
    return stat.S_ISCHR(os.fstat(descriptor).st_mode)


class _ErrorOutput(io.FileIO):
    """Standard error. A failure to write to it cannot be reported, so it is ignored."""

    def write(self, data: "ReadableBuffer", /) -> int:
        with contextlib.suppress(OSError):
            super().write(data)
        return len(memoryview(data).cast("B"))


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks (an error handler: codecs.register_error)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(PLAIN.get(character) or _escape(character) for character in text), error.end


def _escape(character: str) -> str:
    if ord(character) in ESCAPED_BYTES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("ascii", "backslashreplace").decode("ascii")
