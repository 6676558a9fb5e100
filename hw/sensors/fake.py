"""A simulated sensor in a simulated room, with weather and faults."""

import math
import random
import threading
import time
from collections.abc import Mapping
from enum import StrEnum

from hw.contracts import ClimateSensor, Clock, Reading, Wait
from hw.errors import Fault, SensorError

DAY = 86400.0  # seconds
WARM = 25.0  # degrees Celsius


class RoomFault(StrEnum):
    """The known faults of a DHT22 and its drivers."""

    NO_ANSWER = "no_answer"
    CHECKSUM = "checksum"
    IMPLAUSIBLE = "implausible"  # 3276.7 degrees Celsius, with a valid checksum.
    GHOST = "ghost"  # A frame of zeros, with a valid checksum.
    STUCK = "stuck"  # The last value again and again.
    SPIKE = "spike"  # One wrong value within the plausible range.
    HANG = "hang"  # No return until the fault is cleared or the deadline passes.
    NO_PERMISSION = "no_permission"
    BUSY = "busy"
    FAILED = "failed"


RANDOM = "random"
"""The fault of each attempt is chosen at random."""

FAULTS = (*(fault.value for fault in RoomFault), RANDOM)

ERRORS = {
    RoomFault.NO_ANSWER: (Fault.NO_ANSWER, "the sensor did not answer"),
    RoomFault.CHECKSUM: (Fault.CHECKSUM, "the sensor's frame was damaged"),
    RoomFault.NO_PERMISSION: (Fault.NO_PERMISSION, "this user may not use the GPIO line"),
    RoomFault.BUSY: (Fault.BUSY, "another program holds the GPIO line"),
    RoomFault.FAILED: (Fault.FAILED, "the sensor's driver failed"),
    RoomFault.HANG: (Fault.FAILED, "the sensor's driver hung until its deadline"),
}
"""The errors of the faults that give no reading."""


class Room:
    """A simulated room. Its climate depends on the time and a seed, unless `play` changes it.

    The average is 21 degrees Celsius, and the warmest time of day 15:00 UTC. Weather over some days
    and a heating add to it. Humidity falls when temperature rises. `clock` returns seconds since
    1970. All methods may be called from any thread.
    """

    def __init__(self, *, seed: int | None = None, clock: Clock = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._random = random.Random(seed)  # noqa: S311 - weather, not secrets
        # Period (seconds), amplitude (degrees) and phase of the heating and of the weather.
        self._waves = [
            (period, amplitude, self._random.uniform(0, math.tau))
            for period, amplitude in [(1560.0, 0.2), (31 * 3600.0, 0.8), (5.3 * DAY, 1.5)]
        ]
        self._damp = self._random.uniform(0, math.tau)
        self._temperature: float | None = None
        self._humidity: float | None = None
        self._fault: str | None = None
        self._probability = 1.0
        self._released = threading.Event()  # Ends a hanging attempt.

    def climate(self) -> Reading:
        """Return the true climate of the room."""
        with self._lock:
            return self._climate()

    def play(self, changes: Mapping[str, object]) -> None:
        """Change the room, by key.

        `temperature` (-40..80 degrees Celsius) and `humidity` (0..100 percent) fix the climate, and
        None releases it. `fault` is a `RoomFault`, `random`, or None. `probability` (0..1, default
        1) is that of the fault in each attempt. Raise `ValueError` and change nothing for any other
        key or value.
        """
        unknown = changes.keys() - {"temperature", "humidity", "fault", "probability"}
        if unknown:
            raise ValueError(
                f"Unknown key {', '.join(sorted(map(str, unknown)))}. A room has "
                "temperature, humidity, fault and probability."
            )
        with self._lock:
            temperature = _number(changes, "temperature", self._temperature, -40.0, 80.0)
            humidity = _number(changes, "humidity", self._humidity, 0.0, 100.0)
            fault = changes.get("fault", self._fault)
            if fault is not None and fault not in FAULTS:
                raise ValueError(f"Unknown fault {fault!r}. The faults are {', '.join(FAULTS)}.")
            probability = _number(
                changes, "probability", 1.0 if "fault" in changes else self._probability, 0.0, 1.0
            )
            self._temperature, self._humidity = temperature, humidity
            self._fault = None if fault is None else str(fault)
            self._probability = 1.0 if probability is None else probability
            if changes.keys() & {"fault", "probability"}:
                self._end_hang()

    def state(self) -> dict[str, object]:
        """Return what `play` has set, the climate, and the possible faults, as values for JSON."""
        with self._lock:
            climate = self._climate()
            return {
                "temperature": self._temperature,
                "humidity": self._humidity,
                "fault": self._fault,
                "probability": self._probability,
                "climate": {
                    "temperature": round(climate.temperature, 2),
                    "humidity": round(climate.humidity, 2),
                },
                "faults": list(FAULTS),
            }

    def attempt(self) -> tuple[RoomFault | None, Reading, threading.Event]:
        """Return an attempt's fault, its climate with noise, and the event that ends a hang."""
        with self._lock:
            fault = self._draw_fault()
            climate = self._climate()
            if fault is RoomFault.SPIKE:
                jump = self._random.uniform(15.0, 30.0)
                climate = Reading(
                    # Towards the middle, to stay within the range of every model.
                    climate.temperature + (jump if climate.temperature < WARM else -jump),
                    climate.humidity,
                )
                if self._fault == RoomFault.SPIKE and self._probability == 1.0:
                    self._fault = None
            return (
                fault,
                Reading(
                    climate.temperature + self._random.gauss(0.0, 0.04),
                    climate.humidity + self._random.gauss(0.0, 0.15),
                ),
                self._released,
            )

    def end_hang(self) -> None:
        """End an attempt that hangs."""
        with self._lock:
            self._end_hang()

    def _end_hang(self) -> None:
        self._released.set()
        self._released = threading.Event()

    def _draw_fault(self) -> RoomFault | None:
        if self._fault is None or self._random.random() >= self._probability:
            return None
        if self._fault == RANDOM:
            return self._random.choice(list(RoomFault))
        return RoomFault(self._fault)

    def _climate(self) -> Reading:
        now = self._clock()
        temperature = 21.0 + 2.0 * math.cos(math.tau * (now / DAY - 15 / 24))
        for period, amplitude, phase in self._waves:
            temperature += amplitude * math.sin(math.tau * now / period + phase)
        damp = 7.0 * math.sin(math.tau * now / (3.7 * DAY) + self._damp)
        humidity = min(95.0, max(5.0, 46.0 - 2.5 * (temperature - 21.0) + damp))
        return Reading(
            temperature if self._temperature is None else self._temperature,
            humidity if self._humidity is None else self._humidity,
        )


def _number(
    changes: Mapping[str, object], key: str, unchanged: float | None, least: float, most: float
) -> float | None:
    value = changes.get(key, unchanged)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{key} must be a number from {least:g} to {most:g}.")
    return float(value)


class SimulatedSensor(ClimateSensor):
    """A sensor in a simulated room. It returns current values, and can be read at any time.

    `wait(event, seconds)` ends a hang; it returns true as soon as the event is set.
    """

    spacing = 0.0
    deadline = 3.0

    def __init__(
        self,
        room: Room | None = None,
        *,
        model: str = "dht22",
        wait: Wait = threading.Event.wait,
    ) -> None:
        self.room = room or Room()
        self.model = model
        self._wait = wait
        self._stuck: Reading | None = None

    def read(self) -> Reading:
        self._must_be_open()
        fault, reading, released = self.room.attempt()
        if fault is RoomFault.HANG and self._wait(released, self.deadline):
            self._must_be_open()
            fault = None
        if fault in ERRORS:
            kind, sentence = ERRORS[fault]
            raise SensorError(f"Simulated fault: {sentence}.", fault=kind)
        if fault is RoomFault.IMPLAUSIBLE:
            return Reading(3276.7, reading.humidity)
        if fault is RoomFault.GHOST:
            return Reading(0.0, 0.0)
        if fault is RoomFault.STUCK and self._stuck is not None:
            return self._stuck
        reading = self._quantised(reading)
        if fault in {None, RoomFault.STUCK}:
            self._stuck = reading
        return reading

    def close(self) -> None:
        self._closed = True
        self.room.end_hang()

    def _quantised(self, reading: Reading) -> Reading:
        if self.model == "dht11":  # Some send whole units only.
            return Reading(
                float(round(max(-20.0, reading.temperature))),
                float(round(min(100.0, max(0.0, reading.humidity)))),
            )
        return Reading(
            round(reading.temperature, 1), round(min(100.0, max(0.0, reading.humidity)), 1)
        )
