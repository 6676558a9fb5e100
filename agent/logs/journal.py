"""What the daemon says of itself: log lines, and its state for systemd.

The only file that imports systemd. Where there is no journal the same records go to stderr.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, TextIO

from agent.logs.events import LogEvent
from agent.logs.local_time import follow_system_zone, local_time

log = logging.getLogger(__name__)

IDENTIFIER = "sensor-agent"
COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
RESET = "\x1b[0m"
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
# What JournalHandler adds and nobody asked for: the message has the traceback, and the arguments
# stand in it with what came from outside escaped.
UNWANTED = {"CODE_ARGS", "EXCEPTION_TEXT", "EXCEPTION_INFO"}
LONGEST_FIELD = 1000  # Characters.
LONGEST_STATUS = 1000  # Characters.


def configure(
    level: str,
    *,
    device_id: str | None = None,
    environ: Mapping[str, str] = os.environ,
    stderr: TextIO | None = None,
) -> None:
    """Send records of `level` and above to where people look for them.

    That is the journal where stderr leads there and systemd-python is installed, with what
    `Event.about` was told as fields, and DEVICE_ID; else it is stderr.
    """
    follow_system_zone()
    stderr = stderr or sys.stderr
    in_journal = _leads_to_journal(stderr, environ)
    if in_journal and _has_systemd():
        handler = _journal_handler(device_id)
    else:
        handler = logging.StreamHandler(stderr)
        handler.setFormatter(_Lines(in_journal=in_journal, colour=stderr.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    # asyncio tells of its event loop at debug level, which helps nobody here.
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    if "NOTIFY_SOCKET" in environ and not _has_systemd():
        log.warning(
            "systemd wants to be told when this daemon is ready, and the package systemd-python "
            "that tells it is not installed: it will end the daemon after a while.",
            extra=LogEvent.SYSTEMD_UNHEARD.about(),
        )


def _has_systemd() -> bool:
    try:
        return find_spec("systemd.journal") is not None
    except ModuleNotFoundError:
        return False


def _leads_to_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether systemd connected this stream with the journal.

    The variable alone proves nothing: who was started from a service inherits it.
    """
    try:
        there = os.fstat(stream.fileno())
    except (OSError, ValueError):  # Closed, or no file at all.
        return False
    return environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"


def _journal_handler(device_id: str | None, send: Callable[..., Any] | None = None) -> Any:
    from systemd import journal  # noqa: PLC0415 - an extra, on Linux only.

    always = {"SYSLOG_IDENTIFIER": IDENTIFIER}
    if device_id is not None:
        always["DEVICE_ID"] = device_id
    handler = journal.JournalHandler(sender_function=partial(_send, send or journal.send), **always)
    handler.setFormatter(_Text())
    return handler


def _send(send: Callable[..., Any], text: str, /, **fields: Any) -> None:
    """Send what JournalHandler gathered, without what is only logging's own (in small letters)."""
    told = {
        name: value if isinstance(value, int) else escaped(str(value))[:LONGEST_FIELD]
        for name, value in fields.items()
        if name.isupper() and name not in UNWANTED
    }
    send(text, **told)


def escaped(text: str) -> str:
    """Return `text` in one line: what came from outside cannot forge another, or colour it."""
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


class _Text(logging.Formatter):
    """One record, one line, and below it the traceback, if any, indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name.
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the same.
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - the same.
        return _indented(stack_info)


def _indented(text: str) -> str:
    return "\n".join(f"    {escaped(line)}" for line in text.split("\n"))


class _Lines(_Text):
    """For stderr: with the time and in colour, or, where the journal reads it, its priority."""

    converter = staticmethod(local_time)

    def __init__(self, *, in_journal: bool, colour: bool) -> None:
        super().__init__(
            "%(message)s" if in_journal else "%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"
        )
        self._in_journal = in_journal
        self._colour = colour

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name.
        line = super().formatMessage(record)
        colour = COLOURS.get(record.levelno) if self._colour else None
        return line if colour is None else f"{colour}{line}{RESET}"

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._in_journal:
            return text
        # sd-daemon(3): a number in front of each line says how important it is.
        priority = PRIORITIES.get(record.levelno, 2)
        return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))


def refuse(sentences: Sequence[str], *, status: int) -> None:
    """Say why the daemon cannot run, to the log and to `systemctl status`."""
    for sentence in sentences:
        log.error("%s", sentence, extra=LogEvent.CONFIGURATION_UNUSABLE.about(STATUS=status))
    notify(STATUS=_in_short(sentences))


def _in_short(sentences: Sequence[str]) -> str:
    """Return as much of them as systemd takes: 4096 bytes of all that one notice says."""
    text = " ".join(sentences)
    if len(text) > LONGEST_STATUS:
        text = f"{sentences[0][:LONGEST_STATUS]} The journal has all {len(sentences)} reasons."
    return text


def notify(**state: str) -> None:
    """Tell systemd, as sd_notify(3) has it: `notify(READY="1", STATUS="Connected")`.

    Where nobody listens that is no reason to end.
    """
    if "NOTIFY_SOCKET" not in os.environ or not _has_systemd():
        return
    from systemd import daemon  # noqa: PLC0415 - an extra, on Linux only.

    try:
        daemon.notify("\n".join(f"{name}={escaped(value)}" for name, value in state.items()))
    except OSError as error:
        log.debug("systemd could not be told: %s", error)


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return how long systemd waits for WATCHDOG=1, as sd_watchdog_enabled(3) has it."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # Meant for another process, which started this one.
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 else None
