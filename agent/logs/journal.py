"""The daemon's log lines, to the journal or to stderr, and its notices to systemd.

No other module imports systemd's bindings.
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
from agent.logs.repeats import OnceAMinute

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
# Fields of JournalHandler that only repeat the message. It has the traceback and the arguments, and
# in it text from outside is escaped.
UNWANTED = {"CODE_ARGS", "EXCEPTION_TEXT", "EXCEPTION_INFO"}
LONGEST_FIELD = 1000  # Characters.
LONGEST_STATUS = 1000  # Characters.

# A file descriptor that the next notice can use. If none were left, systemd would not get any
# notices, and its watchdog would end the daemon.
_spare: list[int] = []


def configure(
    level: str,
    *,
    device_id: str | None = None,
    environ: Mapping[str, str] = os.environ,
    stderr: TextIO | None = None,
) -> None:
    """Send records of `level` and above to the journal or to stderr, repeats once a minute.

    Records go to the journal if stderr leads there and systemd-python is installed. They have
    the fields of `LogEvent.about`, and DEVICE_ID.
    """
    follow_system_zone()
    stderr = stderr or sys.stderr
    in_journal = leads_to_journal(stderr, environ)
    if in_journal and _has_systemd():
        handler = _journal_handler(device_id)
    else:
        handler = logging.StreamHandler(stderr)
        handler.setFormatter(_Lines(in_journal=in_journal, colour=stderr.isatty()))
    handler.addFilter(OnceAMinute())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    # At debug level asyncio logs details of its event loop, which do not help here.
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    if "NOTIFY_SOCKET" in environ and not _has_systemd():
        log.warning(
            "The package systemd-python is missing, so systemd is not notified that the daemon "
            "is ready and will stop it. journalctl -xu sensor-agent shows how to install it.",
            extra=LogEvent.SYSTEMD_UNHEARD.about(),
        )


def set_level(level: str) -> None:
    """Log records of `level` and above from now on."""
    logging.getLogger().setLevel(LEVELS[level])


def _has_systemd() -> bool:
    try:
        return find_spec("systemd.journal") is not None
    except ModuleNotFoundError:
        return False


def leads_to_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether systemd connected this stream to the journal.

    The variable alone proves nothing, because every process started by a service inherits it.
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
    """Send the fields from JournalHandler, except those of logging itself (in small letters)."""
    wanted = {
        name: value if isinstance(value, int) else escaped(str(value))[:LONGEST_FIELD]
        for name, value in fields.items()
        if name.isupper() and name not in UNWANTED
    }
    send(text, **wanted)


def escaped(text: str) -> str:
    """Return `text` on one line, so that text from outside cannot forge a line or colour it."""
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )


class _Text(logging.Formatter):
    """Formats a record as one line, with the traceback indented below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name.
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - as above.
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - as above.
        return _indented(stack_info)


def _indented(text: str) -> str:
    return "\n".join(f"    {escaped(line)}" for line in text.split("\n"))


class _Lines(_Text):
    """Formats lines for stderr: with time and colour, or with a priority for the journal."""

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
        # sd-daemon(3): the number in front of each line is its priority.
        priority = PRIORITIES.get(record.levelno, 2)
        return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))


def refuse(sentences: Sequence[str], *, status: int) -> None:
    """Report why the daemon cannot run, in the log and in `systemctl status`."""
    for sentence in sentences:
        log.error("%s", sentence, extra=LogEvent.CONFIGURATION_UNUSABLE.about(STATUS=status))
    notify(STATUS=_in_short(sentences))


def _in_short(sentences: Sequence[str]) -> str:
    """Shorten the text to what systemd accepts: 4096 bytes for a whole notice."""
    text = " ".join(sentences)
    if len(text) > LONGEST_STATUS:
        text = f"{sentences[0][:LONGEST_STATUS]} The journal lists all {len(sentences)} reasons."
    return text


def notify(**state: str) -> None:
    """Send a notice to systemd, see sd_notify(3): `notify(READY="1", STATUS="Connected")`.

    Does nothing if systemd does not listen.
    """
    if "NOTIFY_SOCKET" not in os.environ or not _has_systemd():
        return
    from systemd import daemon  # noqa: PLC0415 - an extra, on Linux only.

    while _spare:
        os.close(_spare.pop())
    try:
        daemon.notify("\n".join(f"{name}={escaped(value)}" for name, value in state.items()))
        _spare.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        log.debug("Cannot notify systemd: %s", error)


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return how long systemd waits for WATCHDOG=1, see sd_watchdog_enabled(3), or None."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # The variables are for the process that started this one.
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 else None
