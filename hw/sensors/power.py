"""A sensor that is powered by a GPIO line, and power-cycled when it stops answering.

A DHT22 can hang until its power is cut. It draws at most 2.5 mA, which a GPIO line can supply.
Connect its power pin and its pull-up resistor to that line instead of to 3.3 V.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from hw.contracts import ClimateSensor, Reading, Wait
from hw.errors import Fault, HardwareError, SensorError
from hw.gpio import Output

T = TypeVar("T")

SILENCE = 5  # Attempts in a row without an answer.
OFF = 3.0  # Seconds without power, which discharge the sensor.
SETTLE = 2.0  # Seconds from power-on to the first attempt (data sheet: 1 to 2).


class PoweredSensor(ClimateSensor):
    """A sensor with a switched supply.

    The first attempt switches the supply on. After five attempts in a row without an answer, it is
    off for 3 seconds, and the next attempt waits 2 seconds for the sensor. `deadline` includes
    both. `close` switches the supply off.
    """

    def __init__(
        self,
        sensor: ClimateSensor,
        open_supply: Callable[[], Output],
        *,
        wait: Wait = threading.Event.wait,
    ) -> None:
        self.model = sensor.model
        self.spacing = sensor.spacing
        self.deadline = sensor.deadline + OFF + SETTLE
        self._sensor = sensor
        self._open_supply = open_supply
        self._wait = wait
        self._reading = threading.Lock()
        self._supply: Output | None = None
        self._is_on = False
        self._silent = 0
        self._closing = threading.Event()

    def read(self) -> Reading:
        with self._reading:
            try:
                self._must_be_open()
                self._switch_on()
                reading = self._sensor.read()
            except SensorError as error:
                self._silent = self._silent + 1 if error.fault is Fault.NO_ANSWER else 0
                if self._silent >= SILENCE:
                    self._silent = 0
                    self._switch_off()
                raise
            finally:
                self.deadline = self._sensor.deadline + OFF + SETTLE
            self._silent = 0
            return reading

    def close(self) -> None:
        self._closed = True
        self._closing.set()
        self._sensor.close()
        with self._reading:
            supply, self._supply = self._supply, None
            if supply is not None:
                supply.close()  # An input supplies no power.

    def _switch_on(self) -> None:
        if self._is_on:
            return
        self._supply = self._supply or self._drive(self._open_supply)
        self._drive(partial(self._supply.drive, 1.0))
        self._wait(self._closing, SETTLE)
        self._must_be_open()
        self._is_on = True

    def _switch_off(self) -> None:
        if self._supply is not None:
            self._is_on = False
            self._drive(partial(self._supply.drive, 0.0))
            self._wait(self._closing, OFF)

    def _drive(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except HardwareError as error:
            fault = getattr(error, "fault", Fault.FAILED)
            raise SensorError(f"Cannot switch the sensor's supply: {error}", fault=fault) from error
