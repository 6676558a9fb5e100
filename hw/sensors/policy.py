"""What every driver shares, pure: when is the next attempt, is this value true, what failed.

Nothing here reads a clock or a sensor. Every method is told `now`, in monotonic seconds.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import floor, inf, isfinite
from types import MappingProxyType

from hw.contracts import Reading
from hw.errors import Fault

MODELS = {"dht22": (-40.0, 80.0, 0.0, 100.0), "dht11": (0.0, 60.0, 5.0, 95.0)}
"""Model to the range it can measure: degrees Celsius from and to, % relative humidity from and to.

Aosong's data sheets. For the DHT11 the current one (-20..60 degrees, 5..95 %) reaches further than
the old one (0..50, 20..90), and a part of either kind may be there. It is not for frost: the
kernel's driver refuses its frames below zero, and adafruit_dht drops their sign.
"""

GHOSTS = {(0.0, 0.0), (0.0, 1.0), (0.0, 2.0), (0.1, 1.0), (1.0, 1.0)}
"""Frames whose checksum is right and whose values are never: (degrees Celsius, %).

All zeros is a data line that is held low. The others come from sensors that are damaged or asked
too often; ESPHome refuses them too (its dht.cpp).
"""

ATTEMPTS_PER_SLOT = 5
"""A DHT22 read by Linux fails one time in five or so; five in a row are no accident."""

FAILURES_TO_TELL = 5
"""Failed attempts since the last accepted reading before the status says so."""

TELL_AT_ONCE = frozenset({Fault.NO_PERMISSION, Fault.BUSY, Fault.FAILED})
"""Faults that no further attempt will cure by itself."""

FRESH = 12.0
"""Seconds. A DHT answers with the conversion that the attempt before this one started. Up to this
age it is within the sensor's own lag (10 s to follow a step by 63 %) and counts as of now."""

ANSWERED = frozenset({Fault.CHECKSUM, Fault.IMPLAUSIBLE})
"""Faults of an attempt that nevertheless made the sensor measure."""

STEP_CELSIUS, STEP_CELSIUS_PER_MINUTE, STEP_CELSIUS_MOST = 3.0, 2.0, 10.0
STEP_HUMIDITY, STEP_HUMIDITY_PER_MINUTE, STEP_HUMIDITY_MOST = 10.0, 10.0, 40.0
"""The largest steps that need no confirmation: at once, more for each minute since, at most.

A sensor that needs 10 s for 63 % of a step moves 3 degrees in 2 s only if the air moved by 16; a
room with its window thrown open changes by about 2 degrees a minute, and 10 is a winter's day to
and from its night. Humidity moves faster: a breath, a shower. Holding back a true step costs one
more attempt, so the limits may be tight; letting a wild value pass costs a wrong reading.
"""

CONFIRMED_WITHIN = 120.0
"""Seconds, or two slots where these are longer, after which no reading confirms a suspect any more:
the air may have moved to near a wild value by then. The next attempt is in this slot or the next.
"""

TIMER_SLACK = 0.05
"""Seconds by which an attempt may come before its slot and still be that slot's. Timers round."""


class SensorStatus(StrEnum):
    """How the sensor is. The values are those of the property `sensorStatus`."""

    STARTING = "starting"  # No reading accepted yet, and not enough failed attempts to judge.
    OK = "ok"
    NO_ANSWER = Fault.NO_ANSWER.value
    CHECKSUM = Fault.CHECKSUM.value
    IMPLAUSIBLE = Fault.IMPLAUSIBLE.value
    NO_PERMISSION = Fault.NO_PERMISSION.value
    BUSY = Fault.BUSY.value
    FAILED = Fault.FAILED.value


@dataclass(frozen=True, slots=True)
class Accepted:
    """A reading that is believed, with the offsets added.

    `at` is when its attempt began (monotonic seconds): that is on the schedule, and does not move
    with how long the driver took. The air was so at most `FRESH` seconds before.
    """

    reading: Reading
    at: float


@dataclass(frozen=True, slots=True)
class _Sample:
    reading: Reading  # Not calibrated: offsets must not move a value across a limit.
    at: float


class Policy:
    """The schedule, judgement and record of one sensor.

    The caller waits until `next_attempt()`, calls `began`, asks the sensor once, and calls
    `succeeded` or `failed`; then again. The schedule is slots of `interval` seconds, the first
    beginning at once. In a slot there are up to five attempts, `spacing` from the end of one to
    the start of the next, until a reading is accepted; a retry that would delay the next slot is
    not made. An attempt that comes late does not shift the slots, and slots slept through are not
    made up.

    `interval` may be set at any time: the next slot then begins that long after the current one
    did. `spacing` 0 is a sensor that may be asked at any time and answers with the present.
    """

    def __init__(
        self,
        *,
        model: str,
        spacing: float,
        interval: float,
        temperature_offset: float = 0.0,
        humidity_offset: float = 0.0,
        now: float,
    ) -> None:
        if model not in MODELS:
            raise ValueError(f"There is no sensor model {model!r}: choose 'dht22' or 'dht11'.")
        if not (isfinite(spacing) and spacing >= 0.0):
            raise ValueError(f"spacing must be 0 seconds or more, not {spacing!r}.")
        if not (isfinite(temperature_offset) and isfinite(humidity_offset)):
            raise ValueError("Offsets must be finite numbers.")
        self._range = MODELS[model]
        self._spacing = spacing
        self._offsets = (temperature_offset, humidity_offset)

        self._origin = now  # Slot k begins at origin + k * interval, so that no rounding adds up.
        self._slot = 0
        self._slot_done = False
        self._attempts_in_slot = 0
        self._interval = 0.0
        self.interval = interval
        self._began = -inf
        self._ended = -inf
        self._answered = -inf  # When the last attempt began that the sensor answered.

        self._reference: _Sample | None = None  # What a step is measured from.
        self._suspect: _Sample | None = None
        self._last: Accepted | None = None
        self._failures: deque[Fault] = deque(maxlen=FAILURES_TO_TELL)  # Since it was accepted.
        self._status = SensorStatus.STARTING
        self._status_since = now
        self._counters = dict.fromkeys(["attempts", "accepted", "suspect", "warm_up"], 0)
        self._counters |= {fault.value: 0 for fault in Fault}

    @property
    def interval(self) -> float:
        """Seconds from slot to slot. `ValueError` unless it is a time."""
        return self._interval

    @interval.setter
    def interval(self, seconds: float) -> None:
        if not (isfinite(seconds) and seconds > 0.0):
            raise ValueError(f"interval must be more than 0 seconds, not {seconds!r}.")
        self._origin += self._slot * self._interval
        self._slot = 0
        self._interval = seconds

    @property
    def status(self) -> SensorStatus:
        """`starting` until the first verdict; a fault until the next accepted reading."""
        return self._status

    @property
    def status_since(self) -> float:
        """When the status became what it is, in monotonic seconds."""
        return self._status_since

    @property
    def counters(self) -> Mapping[str, int]:
        """What was counted since the start.

        `attempts`, `accepted`, `suspect` (readings held because of their step), `warm_up`
        (readings discarded because they were old, or the first of all), and each fault by its
        value. A suspect that the next reading did not confirm counts as `implausible` too.
        """
        return MappingProxyType(self._counters)

    @property
    def last(self) -> Accepted | None:
        """The newest accepted reading, however old."""
        return self._last

    @property
    def earliest(self) -> float:
        """From when the sensor may be asked again, were it out of turn."""
        # From its end: when in an attempt the sensor was asked, only the driver knows. One that has
        # to start a child first asks last of all; the kernel's remembers for 2 s from its end.
        return max(self._began, self._ended) + self._spacing

    def next_attempt(self) -> float:
        """When the next attempt must begin; a time that has passed means at once."""
        slot_start = self._origin + self._slot * self._interval
        next_slot = self._origin + (self._slot + 1) * self._interval
        earliest = self.earliest
        exhausted = self._slot_done or self._attempts_in_slot >= ATTEMPTS_PER_SLOT
        if exhausted or earliest + self._spacing > next_slot:
            return max(next_slot, earliest)
        return max(slot_start, earliest)

    def began(self, now: float) -> None:
        """Note that an attempt begins."""
        slack = min(TIMER_SLACK, self._interval / 10)
        slot = floor((now + slack - self._origin) / self._interval)
        if slot > self._slot:
            self._slot = slot
            self._slot_done = False
            self._attempts_in_slot = 0
        self._attempts_in_slot += 1
        self._began = now
        self._counters["attempts"] += 1

    def succeeded(self, reading: Reading, now: float) -> list[Accepted]:
        """Judge what the attempt gave, and return the readings that are believed, oldest first.

        Usually that is this one. It is none if the value cannot be true (the attempt has failed,
        as `implausible`), if it is an old conversion, or if its step is held as suspect; and both
        when this reading confirms a suspect.
        """
        self._ended = now
        is_old = self._spacing > 0.0 and self._began - self._answered > max(
            FRESH, 2 * self._spacing
        )
        self._answered = self._began
        reading = Reading(_tidy(reading.temperature), _tidy(reading.humidity))
        if not self._can_be_true(reading):
            self._fail(Fault.IMPLAUSIBLE, now)
            return []
        if self._spacing > 0.0 and self._reference is None:
            # The first of all, which no step tells to be wild, guards the next instead. Nobody
            # knows how old it is: the widest step is allowed from it.
            self._reference = _Sample(reading, -inf)
            is_old = True
        if is_old:
            self._counters["warm_up"] += 1
            return []
        believed = self._judge_step(_Sample(reading, self._began), now)
        if not believed:
            return []
        self._slot_done = True
        self._reference = believed[-1]
        self._failures.clear()
        self._become(SensorStatus.OK, now)
        accepted = [self._calibrated(sample) for sample in believed]
        self._last = accepted[-1]
        self._counters["accepted"] += len(accepted)
        return accepted

    def failed(self, fault: Fault, now: float) -> None:
        """Note that the attempt gave no reading."""
        self._ended = now
        if fault in ANSWERED:
            self._answered = self._began
        self._fail(fault, now)

    def _can_be_true(self, reading: Reading) -> bool:
        coldest, hottest, driest, wettest = self._range
        return (  # A comparison with NaN is false, so NaN is out of range too.
            coldest <= reading.temperature <= hottest
            and driest <= reading.humidity <= wettest
            and (reading.temperature, reading.humidity) not in GHOSTS
        )

    def _judge_step(self, sample: _Sample, now: float) -> list[_Sample]:
        """Hold back a step that is too large until the next reading agrees with it.

        A true step is confirmed by that reading, so it is never locked out; a wild value is not,
        and never becomes what the next is measured from.
        """
        suspect, self._suspect = self._suspect, None
        step = _step(self._reference, sample)
        if (
            suspect is not None
            and sample.at - suspect.at <= max(CONFIRMED_WITHIN, 2 * self._interval)
            and _step(suspect, sample) <= min(1.0, step)
        ):
            return [suspect, sample]
        if step <= 1.0:
            if suspect is not None:
                self._counters[Fault.IMPLAUSIBLE.value] += 1
            return [sample]
        self._suspect = sample
        self._counters["suspect"] += 1
        if suspect is not None:
            self._fail(Fault.IMPLAUSIBLE, now)
        return []

    def _calibrated(self, sample: _Sample) -> Accepted:
        temperature_offset, humidity_offset = self._offsets
        humidity = _tidy(sample.reading.humidity + humidity_offset)
        return Accepted(
            Reading(
                _tidy(sample.reading.temperature + temperature_offset),
                min(100.0, max(0.0, humidity)),
            ),
            sample.at,
        )

    def _fail(self, fault: Fault, now: float) -> None:
        self._counters[fault.value] += 1
        self._failures.append(fault)
        if fault in TELL_AT_ONCE:
            self._become(SensorStatus(fault.value), now)
        elif len(self._failures) == FAILURES_TO_TELL:
            # The commonest of them, so that a mix of faults does not flicker; else the newest.
            commonest, _ = Counter(reversed(self._failures)).most_common(1)[0]
            self._become(SensorStatus(commonest.value), now)

    def _become(self, status: SensorStatus, now: float) -> None:
        if status is not self._status:
            self._status = status
            self._status_since = now


def _step(since: _Sample | None, sample: _Sample) -> float:
    """How large a step is, where 1.0 is the largest that needs no confirmation."""
    if since is None:
        return 0.0
    minutes = (sample.at - since.at) / 60.0
    temperature = abs(sample.reading.temperature - since.reading.temperature)
    humidity = abs(sample.reading.humidity - since.reading.humidity)
    return max(
        temperature / min(STEP_CELSIUS + minutes * STEP_CELSIUS_PER_MINUTE, STEP_CELSIUS_MOST),
        humidity / min(STEP_HUMIDITY + minutes * STEP_HUMIDITY_PER_MINUTE, STEP_HUMIDITY_MOST),
    )


def _tidy(value: float) -> float:
    """Drop the dust of binary arithmetic, and the sign of -0.0."""
    return round(value, 3) + 0.0
