"""Keeps repeated warnings from filling the log."""

import logging
import time
from collections.abc import Callable

PAUSE = 60.0  # Seconds between two records of the same warning.
MOST_REMEMBERED = 1000  # Warnings.


class OnceAMinute(logging.Filter):
    """Passes warnings and errors with the same text at most once a minute.

    The next record with that text has the number of those suppressed. `now` is a clock in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}  # The time, and how many since.

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        text, now = record.getMessage(), self._now()
        logged, left_out = self._seen.get((record.name, text), (float("-inf"), 0))
        if now - logged < PAUSE:
            self._seen[record.name, text] = logged, left_out + 1
            return False
        if len(self._seen) >= MOST_REMEMBERED:
            self._seen.clear()
        self._seen[record.name, text] = now, 0
        if left_out:
            record.msg, record.args = "%s (%d more since the last one.)", (text, left_out)
        return True
