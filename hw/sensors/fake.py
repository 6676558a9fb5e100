"""A room with weather and faults, its sensor, and an LED that remembers what it showed.

They obey the same contracts as the real drivers, and are held to them by the same tests.
"""

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
    """What a DHT22 and its driver are known to do wrong."""

    NO_ANSWER = "no_answer"
    CHECKSUM = "checksum"
    IMPLAUSIBLE = "implausible"  # 3276.7 degrees, with a right checksum.
    GHOST = "ghost"  # A frame of zeros, with a right checksum.
    STUCK = "stuck"  # The last value, whatever the room does.
    SPIKE = "spike"  # One value far from the truth, within the range.
    HANG = "hang"  # No return until the fault is taken away, or the deadline passes.
    NO_PERMISSION = "no_permission"
    BUSY = "busy"
    FAILED = "failed"


RANDOM = "random"
"""Not one fault: any of them, chosen anew for each attempt."""

FAULTS = (*(fault.value for fault in RoomFault), RANDOM)

ERRORS = {
    RoomFault.NO_ANSWER: (Fault.NO_ANSWER, "The fake sensor did not answer"),
    RoomFault.CHECKSUM: (Fault.CHECKSUM, "The fake sensor's frame was damaged"),
    RoomFault.NO_PERMISSION: (Fault.NO_PERMISSION, "The fake sensor's line may not be used"),
    RoomFault.BUSY: (Fault.BUSY, "Another program holds the fake sensor's line"),
    RoomFault.FAILED: (Fault.FAILED, "The fake sensor's driver broke"),
    RoomFault.HANG: (Fault.FAILED, "The fake sensor's driver hung until its deadline"),
}
"""Those of the faults that give no reading, and what `read` raises for them."""


class Room:
    """A room whose weather follows from a seed and the time, and whose player may interfere.

    It is 21 degrees Celsius on average, warmest at 15 o'clock (UTC), with slower weather and a
    heating that comes and goes on top; humidity moves against temperature. `clock` is seconds
    since 1970. Every method may be called from any thread.
    """

    def __init__(self, *, seed: int | None = None, clock: Clock = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._random = random.Random(seed)  # noqa: S311 - weather, not secrets
        # Period in seconds, amplitude in degrees, phase: 26 minutes of heating, then weather.
        self._waves = [
            (period, amplitude, self._random.uniform(0, math.tau))
            for period, amplitude in [(1560.0, 0.2), (31 * 3600.0, 0.8), (5.3 * DAY, 1.5)]
        ]
        self._damp = self._random.uniform(0, math.tau)
        self._temperature: float | None = None
        self._humidity: float | None = None
        self._fault: str | None = None
        self._probability = 1.0
        self._told = threading.Event()

    def climate(self) -> Reading:
        """Tell the truth: what the player holds, else the weather."""
        with self._lock:
            return self._climate()

    def play(self, changes: Mapping[str, object]) -> None:
        """Change what is named, and nothing else.

        `temperature` (degrees Celsius, -40..80) and `humidity` (%, 0..100) are held there; None
        lets go. `fault` is a `RoomFault`, `random` or None; `probability` (0..1) is that of each
        attempt to meet it, 1 unless given. Raise `ValueError`, with nothing changed, for the rest.
        """
        unknown = changes.keys() - {"temperature", "humidity", "fault", "probability"}
        if unknown:
            raise ValueError(
                f"A room has no {', '.join(sorted(map(str, unknown)))}: "
                "it has temperature, humidity, fault and probability."
            )
        with self._lock:
            temperature = _number(changes, "temperature", self._temperature, -40.0, 80.0)
            humidity = _number(changes, "humidity", self._humidity, 0.0, 100.0)
            fault = changes.get("fault", self._fault)
            if fault is not None and fault not in FAULTS:
                raise ValueError(
                    f"A room has no fault {fault!r}: choose {', '.join(FAULTS)}, or none."
                )
            probability = _number(
                changes, "probability", 1.0 if "fault" in changes else self._probability, 0.0, 1.0
            )
            self._temperature, self._humidity = temperature, humidity
            self._fault = None if fault is None else str(fault)
            self._probability = 1.0 if probability is None else probability
            if changes.keys() & {"fault", "probability"}:
                self._end_hang()

    def state(self) -> dict[str, object]:
        """Tell what `play` may change (None: not held, no fault), and the climate; fit for JSON."""
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
        """Toss for one attempt: the fault it meets, the noisy truth, the event that ends a hang."""
        with self._lock:
            fault = self._toss()
            climate = self._climate()
            if fault is RoomFault.SPIKE:
                jump = self._random.uniform(15.0, 30.0)
                climate = Reading(
                    # Towards the far end, so that it stays within the range of every model.
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
                self._told,
            )

    def end_hang(self) -> None:
        """Let an attempt that hangs go on."""
        with self._lock:
            self._end_hang()

    def _end_hang(self) -> None:
        self._told.set()
        self._told = threading.Event()

    def _toss(self) -> RoomFault | None:
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
        raise ValueError(f"A room's {key} must be a number from {least:g} to {most:g}.")
    return float(value)


class FakeSensor(ClimateSensor):
    """The sensor in a room. It answers at once, with the present, as often as it is asked.

    `wait` is for a hang: true as soon as the event is set.
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
        self._closed = False

    def read(self) -> Reading:
        self._must_be_open()
        fault, reading, told = self.room.attempt()
        if fault is RoomFault.HANG and self._wait(told, self.deadline):
            self._must_be_open()
            fault = None
        if fault in ERRORS:
            kind, sentence = ERRORS[fault]
            raise SensorError(f"{sentence}, as its room was told.", fault=kind)
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
        if self.model == "dht11":  # Whole degrees, and no sign in its frame.
            return Reading(
                float(round(max(0.0, reading.temperature))),
                float(round(min(100.0, max(0.0, reading.humidity)))),
            )
        return Reading(
            round(reading.temperature, 1), round(min(100.0, max(0.0, reading.humidity)), 1)
        )

    def _must_be_open(self) -> None:
        if self._closed:
            raise SensorError("The sensor is closed.", fault=Fault.FAILED)
