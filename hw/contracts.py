"""The contract of a temperature and humidity sensor."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from hw.errors import Fault, SensorError

Clock = Callable[[], float]
Wait = Callable[[threading.Event, float], bool]


@dataclass(frozen=True, slots=True)
class Reading:
    """A decoded value of a sensor, before any plausibility check or calibration."""

    temperature: float
    """Degrees Celsius."""

    humidity: float
    """Relative humidity in percent."""


class ClimateSensor(ABC):
    """A sensor of temperature and humidity. It is a context manager that closes itself.

    Subclasses *must* set `model`, `spacing` and `deadline`, and implement `read` and `close`. They
    *must not* wait between attempts, retry, or judge values: `hw.Policy` does so for every driver.
    """

    model: str
    """One of `hw.sensors.models.MODELS`. It determines which values are plausible."""

    spacing: float
    """The minimum time in seconds from the end of one attempt to the start of the next."""

    deadline: float
    """The time in seconds within which `read` returns or raises. A longer attempt hangs."""

    _closed = False

    @abstractmethod
    def read(self) -> Reading:
        """Make one attempt, blocking, and return the decoded value.

        Raise `SensorError`, and nothing else, if there is none; its `fault` is the reason. A failed
        attempt *must not* return an earlier value. May be called from any thread, but not from two
        at the same time.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the GPIO line and end helper processes. Closing again does nothing.

        May be called while another thread is in `read`, which then raises soon. Every later `read`
        raises `SensorError` with `Fault.FAILED`.
        """

    def _must_be_open(self) -> None:
        """For subclasses: raise `SensorError` if `close` has set `_closed`."""
        if self._closed:
            raise SensorError("The sensor is closed.", fault=Fault.FAILED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
