"""A simulated LED, for tests and for machines without GPIO."""

import threading
import time

from hw.contracts import Clock, Wait
from hw.errors import LedError
from hw.leds.led import Led


class SimulatedLed(Led):
    """An LED that records what it shows.

    `changes` lists (monotonic seconds, duty cycle from 0.0 to 1.0) and begins with off. While
    `broken` is set, every change fails with that sentence.
    """

    def __init__(self, *, clock: Clock = time.monotonic, wait: Wait = threading.Event.wait) -> None:
        super().__init__(clock=clock, wait=wait)
        self.broken: str | None = None
        self.changes = [(clock(), 0.0)]

    def _drive(self, level: float) -> None:
        if self.broken is not None:
            raise LedError(self.broken)
        if level != self.changes[-1][1]:
            self.changes.append((self._clock(), level))
