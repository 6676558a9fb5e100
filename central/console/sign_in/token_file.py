"""The token with which programs of central's own user may do anything."""

import logging
from pathlib import Path

from central.console.sign_in import tokens
from central.errors import StartError, in_words
from central.transport.issuing import write_file

NAME = "console-token"  # Of the file, and of the token in it.
OTHERS = 0o077
LATEST = 4102444800.0  # The end of 2099. Access to the file is what counts.

log = logging.getLogger(__name__)


def load_token(path: Path, *, resource: str) -> str:
    """Return the token in a file that only its owner can read; make it if it is missing.

    One that others could read is replaced. Raise StartError.
    """
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip() if path.exists() else ""
        if text and path.stat().st_mode & OTHERS:
            log.warning("%s was readable by other users, so it has a new token.", path)
            text = ""
        if tokens.parse(text) is None:
            text = tokens.new_token(resource=resource, name=NAME, expires=LATEST)
            write_file(path, text.encode() + b"\n")
    except OSError as error:
        raise StartError(f"Cannot use the console's token: {in_words(error)}.") from None
    return text
