"""An LED on a GPIO line, driven by gpiozero with lgpio.

Connect the LED through a 330 ohm resistor from the pin to ground. With `active_high=False`,
connect it through the resistor from 3.3 V to the pin.
"""

import threading
import time
from typing import Any

from hw.contracts import Clock, Wait
from hw.errors import LedError, LineError
from hw.gpio import Output
from hw.leds.led import Led


class GpiozeroLed(Led):
    """The LED on GPIO `pin` (BCM numbering).

    The first command also turns off an LED that a crashed program left on. `factory` is a pin
    factory of gpiozero; the default is lgpio's.
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
        self._pin = pin
        self._active_high = active_high
        self._factory = factory
        self._output: Output | None = None

    def _drive(self, level: float) -> None:
        try:
            if self._output is None:
                self._output = Output(
                    self._pin, active_high=self._active_high, factory=self._factory
                )
            self._output.drive(level)
        except LineError as error:
            raise LedError(str(error)) from error

    def _release(self) -> None:
        try:
            if self._output is not None:
                self._output.close()
        except LineError as error:
            raise LedError(str(error)) from error
