"""What the daemon says of itself: log lines, and its state for systemd.

The only file that imports systemd. Where there is no systemd the same lines go to stderr.
"""

import logging
import os
import sys
from importlib.util import find_spec

COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
RESET = "\x1b[0m"
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(level: str) -> None:
    """Send log lines of `level` and above to where people look for them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(colour=sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    # asyncio tells of its event loop at debug level, which helps nobody here.
    logging.getLogger("asyncio").setLevel(logging.WARNING)


class _Lines(logging.Formatter):
    """One record, one line: what came from outside cannot forge another or colour the terminal."""

    def __init__(self, *, colour: bool) -> None:
        # Under systemd the journal has the time already.
        in_journal = "JOURNAL_STREAM" in os.environ
        super().__init__(
            "%(levelname)s %(message)s" if in_journal else "%(asctime)s %(levelname)s %(message)s",
            "%H:%M:%S",
        )
        self._colour = colour

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name.
        record.message = "".join(
            character if character.isprintable() else repr(character)[1:-1]
            for character in record.message
        )
        line = super().formatMessage(record)
        colour = COLOURS.get(record.levelno) if self._colour else None
        return line if colour is None else f"{colour}{line}{RESET}"


def notify(**state: str) -> None:
    """Tell systemd, as sd_notify(3) has it: `notify(READY="1", STATUS="Connected")`."""
    if "NOTIFY_SOCKET" not in os.environ or find_spec("systemd") is None:
        return
    from systemd import daemon  # noqa: PLC0415 - an extra, on Linux only.

    daemon.notify("\n".join(f"{name}={value}" for name, value in state.items()))
