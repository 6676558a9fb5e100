"""What a sensor of temperature and humidity must do, and what it returns."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

Clock = Callable[[], float]
Wait = Callable[[threading.Event, float], bool]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sensor answered, as decoded: not yet judged, not yet calibrated."""

    temperature: float  # degrees Celsius
    humidity: float  # % relative humidity


class ClimateSensor(ABC):
    """A sensor of temperature and humidity.

    Descendants *must* set `model`, `spacing` and `deadline`, and implement `read` and `close`.
    They *must not* wait between attempts, try again, or judge a value: `hw.sensors.policy` does
    that for all of them. A sensor is a context manager, closed at the end.
    """

    model: str
    """`dht22` or `dht11`: what the sensor is, and so which data sheet its values must obey."""

    spacing: float
    """The least time in seconds from the end of one attempt to the start of the next."""

    deadline: float
    """Seconds within which `read` must return or raise. A caller gives up on it soon after."""

    @abstractmethod
    def read(self) -> Reading:
        """Make one attempt, blocking, and return the value as decoded.

        Raise `SensorError`, and nothing else, when there is none; its `fault` says why. A value
        from an earlier attempt *must not* be returned in place of one that failed. One caller at
        a time, from any thread.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the GPIO line, and end what was started. Again is harmless.

        It may be called while another thread is in `read`, which then raises soon; so does every
        `read` after it, with `Fault.FAILED`.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
