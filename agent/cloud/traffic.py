"""What happened on one connection to the hub: the evidence of why it ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Traffic:
    """The requests of one connection and their answers. `now` is a clock in seconds.

    `answered` counts requests of any kind, `sent` and `acknowledged` count messages only.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.answered = 0
        self.sent = 0
        self.acknowledged = 0
        self._now = now
        self._last_answer = now()
        self._unanswered_since: float | None = None

    @contextmanager
    def request(self, *, is_message: bool = False) -> Iterator[None]:
        """Count a request, and its answer if the block ends without an error."""
        began = self._now()
        self.sent += is_message
        try:
            yield
        except BaseException:  # A cancelled request has no answer, either.
            if self._unanswered_since is None or began < self._unanswered_since:
                self._unanswered_since = began
            raise
        self._last_answer = self._now()
        self.answered += 1
        self.acknowledged += is_message

    @property
    def idle(self) -> float:
        """Seconds without traffic before the first request that has failed, or until now."""
        until = self._now() if self._unanswered_since is None else self._unanswered_since
        return max(0.0, until - self._last_answer)
