"""An LED in memory, for tests and for machines without GPIO."""

import threading
import time

from hw.contracts import Clock, Wait
from hw.errors import LightError
from hw.leds.led import Light


class FakeLight(Light):
    """A light that remembers.

    `changes` is what it showed and since when: (monotonic seconds, level from 0.0 to 1.0), first
    the dark of the start. While `broken` is a sentence, driving it fails with that.
    """

    def __init__(self, *, clock: Clock = time.monotonic, wait: Wait = threading.Event.wait) -> None:
        super().__init__(clock=clock, wait=wait)
        self.broken: str | None = None
        self.changes = [(clock(), 0.0)]

    def _drive(self, level: float) -> None:
        if self.broken is not None:
            raise LightError(self.broken)
        if level != self.changes[-1][1]:
            self.changes.append((self._clock(), level))
