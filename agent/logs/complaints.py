"""Log each warning once, and its repeats at debug level."""

import logging

MOST = 200  # Warnings that are remembered.


class Complaints:
    """The warnings that were logged, of which the last MOST are remembered."""

    def __init__(self) -> None:
        self._logged: dict[tuple[str, str], None] = {}  # In order; as a set.

    def level(self, subject: str, reason: str) -> int:
        """Return logging.WARNING for a new reason, and logging.DEBUG for a repeated one."""
        if (subject, reason) in self._logged:
            return logging.DEBUG
        self._logged[subject, reason] = None
        if len(self._logged) > MOST:
            del self._logged[next(iter(self._logged))]
        return logging.WARNING

    def forget(self, subject: str) -> None:
        """Record that nothing is wrong with `subject`: the next complaint is a warning again."""
        self._logged = {known: None for known in self._logged if known[0] != subject}
