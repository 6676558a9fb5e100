"""An LED on a GPIO line, driven by gpiozero over lgpio.

Wire it from the pin through a resistor (330 ohm) to ground, or, with `active_high` false, from
3.3 V through the resistor to the pin.
"""

import threading
import time
from typing import Any

from hw.contracts import Clock, Wait
from hw.errors import LightError, LineError
from hw.gpio import Output
from hw.leds.led import Light


class Led(Light):
    """The LED on GPIO `pin` (BCM), off at first.

    An LED that a crashed program left on goes off. `factory` is a pin factory of gpiozero, for
    tests; else it is lgpio's. Raise `DriverError`, or `LightError` if the line cannot be had.
    """

    def __init__(
        self,
        pin: int,
        *,
        active_high: bool = True,
        factory: Any = None,
        clock: Clock = time.monotonic,
        wait: Wait = threading.Event.wait,
    ) -> None:
        super().__init__(clock=clock, wait=wait)
        try:
            self._output = Output(pin, active_high=active_high, factory=factory)
        except LineError as error:
            raise LightError(str(error)) from error

    def _drive(self, level: float) -> None:
        try:
            self._output.drive(level)
        except LineError as error:
            raise LightError(str(error)) from error

    def _release(self) -> None:
        try:
            self._output.close()
        except LineError as error:
            raise LightError(str(error)) from error
