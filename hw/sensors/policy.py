"""When to read a sensor, and which of its values to accept: the same rules for every driver.

Nothing here reads a clock or a sensor. The caller passes `now`, in monotonic seconds.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import floor, inf, isfinite
from types import MappingProxyType

from hw.contracts import Reading
from hw.errors import Fault
from hw.sensors.models import MODELS
from hw.sensors.steadiness import SensorWarning, Steadiness

ATTEMPTS_PER_SLOT = 5
"""On Linux, about one attempt in five to read a DHT22 fails. Five in a row are not by chance."""

FAILURES_TO_REPORT = 5
"""Failed attempts since the last accepted reading that change the status."""

REPORT_AT_ONCE = frozenset({Fault.NO_PERMISSION, Fault.BUSY, Fault.FAILED})
"""Faults that another attempt is unlikely to cure."""

FRESH = 12.0
"""Seconds. A DHT answers with the conversion that the previous attempt started. A conversion of up
to this age is within the sensor's response time (10 s for 63 % of a step) and counts as current."""

ANSWERED = frozenset({Fault.CHECKSUM, Fault.IMPLAUSIBLE})
"""Faults of attempts that started a conversion."""

STEP_CELSIUS, STEP_CELSIUS_PER_MINUTE, STEP_CELSIUS_MOST = 3.0, 2.0, 10.0
STEP_HUMIDITY, STEP_HUMIDITY_PER_MINUTE, STEP_HUMIDITY_MOST = 10.0, 10.0, 40.0
"""The largest steps (degrees Celsius, percent) that need no confirmation: immediate, in addition
for each minute since the last reading, and at most.

With a response time of 10 s, a sensor moves by 3 degrees in 2 s only if the air moves by 16. A room
with an open window changes by about 2 degrees a minute. Humidity moves faster, for example in a
bathroom. The limits are tight because confirming a true step costs only one more attempt.
"""

UNCHECKED = 0.5
"""The part of each limit that applies if no checksum recognizes a value damaged on the wire."""

CONFIRMED_WITHIN = 120.0
"""The time in seconds (at least two slots) within which a reading can confirm a suspect. Later the
air may have moved close to a wrong value.
"""

DRY = 20.0
"""Percent. Air that was drier does not come to exactly 100 % without a value in between."""

TIMER_SLACK = 0.05
"""The time in seconds by which an attempt may begin before its slot, because timers round."""


CHECK_MODEL = "This is outside its range: check driver and model in [sensor]."
CHECK_WIRES = "This is outside its range: check its wires, and model in [sensor]."
REPLACE = "If it happens always, replace the sensor."
JUMPS = "The sensor's values jump, and no two agree. Check its cable and its supply."
"""Why an attempt gave no reading although its value is possible: nothing confirmed its step."""


class SensorStatus(StrEnum):
    """The sensor's status. The values are those of the property `sensorStatus`."""

    STARTING = "starting"  # No accepted reading yet, and too few failures to report a fault.
    OK = "ok"
    NO_ANSWER = Fault.NO_ANSWER.value
    CHECKSUM = Fault.CHECKSUM.value
    IMPLAUSIBLE = Fault.IMPLAUSIBLE.value
    NO_PERMISSION = Fault.NO_PERMISSION.value
    BUSY = Fault.BUSY.value
    FAILED = Fault.FAILED.value


@dataclass(frozen=True, slots=True)
class Accepted:
    """A plausible reading, with the offsets added."""

    reading: Reading

    at: float
    """The start of its attempt in monotonic seconds. The value is at most `FRESH` seconds older."""


@dataclass(frozen=True, slots=True)
class _Sample:
    reading: Reading  # Without the offsets, which must not move a value out of the range.
    at: float


class Policy:
    """The schedule, plausibility checks and statistics of one sensor.

    The caller waits until `next_attempt()`, calls `began`, reads the sensor once, calls `succeeded`
    or `failed`, and repeats. The schedule consists of slots of `interval` seconds; the first begins
    now. A slot has up to five attempts, until a reading is accepted, each at least `spacing`
    seconds after the end of the previous one. An attempt that would delay the next slot is left
    out. A late attempt does not shift the slots, and missed slots are skipped.

    `interval` may be set at any time. The next slot then begins that long after the start of the
    current one. With `spacing` 0, the sensor can be read at any time and its values are current.

    A model without a checksum needs a confirmation for steps of half the size.

    Offsets are in degrees Celsius and percentage points. An accepted temperature is within the
    model's range with and without its offset; humidity is cut off at 0 and 100 %. Raise
    `ValueError` for an unknown model, a negative spacing, an interval of 0 or less, or an offset
    that is not finite.
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
            raise ValueError(f"Unknown sensor model {model!r}. Choose {', '.join(MODELS)}.")
        if not (isfinite(spacing) and spacing >= 0.0):
            raise ValueError(f"spacing must be 0 seconds or more, not {spacing!r}.")
        self._model = MODELS[model]
        self._spacing = spacing
        self.set_offsets(temperature_offset, humidity_offset)

        self._origin = now  # Slot k begins at origin + k * interval. So rounding does not add up.
        self._slot = 0
        self._slot_done = False
        self._attempts_in_slot = 0
        self._interval = 0.0
        self.interval = interval
        self._began = -inf
        self._ended = -inf
        self._answered = -inf  # The start of the last attempt that the sensor answered.

        self._reference: _Sample | None = None  # Steps are measured from here.
        self._suspect: _Sample | None = None
        self._is_dry = False  # Whether the last humidity below 100 % was below `DRY`.
        self._last: Accepted | None = None
        # Since the last accepted reading.
        self._failures: deque[Fault] = deque(maxlen=FAILURES_TO_REPORT)
        self._status = SensorStatus.STARTING
        self._status_since = now
        self._steadiness = Steadiness(self._model)
        self._warning = SensorWarning.NONE
        self._why = ""
        self._counters = dict.fromkeys(["attempts", "accepted", "suspect", "warm_up"], 0)
        self._counters |= {fault.value: 0 for fault in Fault}

    @property
    def interval(self) -> float:
        """The length of a slot in seconds."""
        return self._interval

    @interval.setter
    def interval(self, seconds: float) -> None:
        if not (isfinite(seconds) and seconds > 0.0):
            raise ValueError(f"interval must be more than 0 seconds, not {seconds!r}.")
        self._origin += self._slot * self._interval
        self._slot = 0
        self._interval = seconds

    def set_offsets(self, temperature: float, humidity: float) -> None:
        """Add these to later readings. Raises ValueError if one is not finite."""
        if not (isfinite(temperature) and isfinite(humidity)):
            raise ValueError("Offsets must be finite numbers.")
        self._offsets = (temperature, humidity)

    @property
    def status(self) -> SensorStatus:
        """`starting` until the first verdict. A fault lasts until the next accepted reading."""
        return self._status

    @property
    def status_since(self) -> float:
        """The time of the last change of `status`, in monotonic seconds."""
        return self._status_since

    @property
    def warning(self) -> SensorWarning:
        """Why the accepted readings may not be true, although each is plausible by itself."""
        return self._warning

    @property
    def why(self) -> str:
        """Why the last attempt's value was refused, in two sentences; empty if it was not."""
        return self._why

    @property
    def counters(self) -> Mapping[str, int]:
        """Counts since the start: `attempts`, `accepted`, `suspect`, `warm_up` and each `Fault`.

        `suspect` readings were held back because of their step. Those that the next reading did not
        confirm also count as `implausible`. `warm_up` readings were discarded because they were old
        or the first of all.
        """
        return MappingProxyType(self._counters)

    @property
    def last(self) -> Accepted | None:
        """The last accepted reading, of any age."""
        return self._last

    @property
    def earliest(self) -> float:
        """The earliest time for an attempt outside the schedule, in monotonic seconds."""
        # From the end of the last attempt, because only the driver knows when it asked the sensor.
        # A driver that starts a child asks at the end. The kernel's caches for 2 s from the end.
        return max(self._began, self._ended) + self._spacing

    def next_attempt(self) -> float:
        """Return when the next attempt must begin, in monotonic seconds. The past means now."""
        slot_start = self._origin + self._slot * self._interval
        next_slot = self._origin + (self._slot + 1) * self._interval
        earliest = self.earliest
        exhausted = self._slot_done or self._attempts_in_slot >= ATTEMPTS_PER_SLOT
        if exhausted or earliest + self._spacing > next_slot:
            return max(next_slot, earliest)
        return max(slot_start, earliest)

    def began(self, now: float) -> None:
        """Record the start of an attempt."""
        slack = min(TIMER_SLACK, self._interval / 10)
        slot = floor((now + slack - self._origin) / self._interval)
        if slot > self._slot:
            self._slot = slot
            self._slot_done = False
            self._attempts_in_slot = 0
        self._attempts_in_slot += 1
        self._began = now
        self._why = ""
        self._counters["attempts"] += 1

    def succeeded(self, reading: Reading, now: float) -> list[Accepted]:
        """Record the value of an attempt, and return the accepted readings, oldest first.

        Usually this is one. The list is empty if the value is implausible (the attempt then counts
        as failed), is an old conversion, or is held back as a suspect. If the value confirms a
        suspect, the list has both.
        """
        self._ended = now
        is_old = (
            self._model.answers_previous
            and self._spacing > 0.0
            and self._began - self._answered > max(FRESH, 2 * self._spacing)
        )
        self._answered = self._began
        reading = Reading(_tidy(reading.temperature), _tidy(reading.humidity))
        why = self._implausible(reading)
        if reading.humidity < self._model.wettest:
            self._is_dry = reading.humidity < DRY
        if why:
            self._refuse(why, now)
            return []
        if self._spacing > 0.0 and self._reference is None:
            # The first value has nothing to be compared with, and its age is unknown. Use it only
            # as the reference for the next one, with the largest step allowed.
            self._reference = _Sample(reading, -inf)
            is_old = True
        if is_old:
            self._counters["warm_up"] += 1
            return []
        plausible = self._check_step(_Sample(reading, self._began), now)
        if not plausible:
            return []
        self._slot_done = True
        self._reference = plausible[-1]
        self._failures.clear()
        self._become(SensorStatus.OK, now)
        for sample in plausible:
            self._warning = self._steadiness.judge(sample.reading, sample.at)
        accepted = [self._calibrated(sample) for sample in plausible]
        self._last = accepted[-1]
        self._counters["accepted"] += len(accepted)
        return accepted

    def failed(self, fault: Fault, now: float) -> None:
        """Record that the attempt gave no reading."""
        self._ended = now
        if fault in ANSWERED:
            self._answered = self._began
        self._fail(fault, now)

    def _implausible(self, reading: Reading) -> str | None:
        """Return why this value cannot be true. None: it can."""
        model = self._model
        coldest, hottest, driest = model.coldest, model.hottest, model.driest
        temperature, humidity = reading.temperature, reading.humidity
        values = f"{temperature:g} °C and {humidity:g} %"
        # Comparisons with NaN are false, so NaN is outside, too.
        can_be_humidity = min(0.0, driest) <= humidity <= model.wettest
        if not (coldest <= temperature <= hottest and can_be_humidity):
            return f"The sensor reports {values}. {CHECK_WIRES if model.chip else CHECK_MODEL}"
        if temperature == humidity == 0.0:
            return "The sensor sends only zeros. Its data wire may be shorted to ground."
        if why := self._implausible_humidity(humidity):
            return why
        both_ends = temperature in {coldest, hottest} and humidity >= model.saturated
        if both_ends or reading in model.ghosts:
            return f"The sensor reports {values}, as damaged sensors do. {REPLACE}"
        offset = self._offsets[0]
        if not coldest <= _tidy(temperature + offset) <= hottest:
            return (
                f"temperature_offset = {offset:g} moves {temperature:g} °C out of the sensor's "
                "range. Correct it in [sensor]."
            )
        return None

    def _implausible_humidity(self, humidity: float) -> str | None:
        """Return why a humidity on the scale cannot be true. None: it can."""
        model = self._model
        if humidity < model.driest:
            return (
                f"The sensor reports {humidity:g} % humidity, but it measures from "
                f"{model.driest:g} %. {model.dry_advice}"
            )
        if model.wraps_humidity and self._is_dry and humidity == model.wettest:
            return (
                f"The sensor reports {humidity:g} % humidity after a value below {DRY:g} %, as its "
                "driver does in air that is too dry for it. If the air really is damp, restart "
                "sensor-agent."
            )
        return None

    def _check_step(self, sample: _Sample, now: float) -> list[_Sample]:
        """Hold back a sample after a large step until the next one confirms it.

        So a true step is never locked out, and a wrong value never becomes the reference.
        """
        suspect, self._suspect = self._suspect, None
        step = self._step(self._reference, sample)
        if (
            suspect is not None
            and sample.at - suspect.at <= max(CONFIRMED_WITHIN, 2 * self._interval)
            and self._step(suspect, sample) <= min(1.0, step)
        ):
            return [suspect, sample]
        if step <= 1.0:
            if suspect is not None:
                self._counters[Fault.IMPLAUSIBLE.value] += 1
            return [sample]
        self._suspect = sample
        self._counters["suspect"] += 1
        if suspect is not None:
            self._refuse(JUMPS, now)
        return []

    def _step(self, since: _Sample | None, sample: _Sample) -> float:
        """Return the size of a step. 1.0 is the largest that needs no confirmation."""
        step = _step(since, sample)
        return step if self._model.is_checked else step / UNCHECKED

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

    def _refuse(self, why: str, now: float) -> None:
        self._why = why
        self._fail(Fault.IMPLAUSIBLE, now)

    def _fail(self, fault: Fault, now: float) -> None:
        self._counters[fault.value] += 1
        self._failures.append(fault)
        if fault in REPORT_AT_ONCE:
            self._become(SensorStatus(fault.value), now)
        elif len(self._failures) == FAILURES_TO_REPORT:
            # The most common one, so that a mix of faults does not flicker. On a tie, the newest.
            most_common, _ = Counter(reversed(self._failures)).most_common(1)[0]
            self._become(SensorStatus(most_common.value), now)

    def _become(self, status: SensorStatus, now: float) -> None:
        if status is not self._status:
            self._status = status
            self._status_since = now


def _step(since: _Sample | None, sample: _Sample) -> float:
    """Return the size of a step. 1.0 is the largest of a sensor with a checksum."""
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
    """Remove rounding errors of binary arithmetic, and the sign of -0.0."""
    return round(value, 3) + 0.0
