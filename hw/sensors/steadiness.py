"""Recognizes readings that stay the same for longer than air does."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hw.contracts import Reading
from hw.sensors.models import HOUR, Model

SATURATED_AFTER = 48 * HOUR
"""Fog lasts for a night or two. A DHT22 that was wet for long stays at 99.9 % for days or for ever:
https://github.com/opendata-stuttgart/sensors-software/issues/170,
https://github.com/opendata-stuttgart/sensors-software/issues/848."""

FEWEST = 60
"""Readings. At long intervals, a few that happen to be equal mean nothing."""

TIMES_LONGER = 10
"""A sensor in a still cellar repeats its values for hours, and has done so before. So a repetition
is only reported if it is that much longer than every earlier one."""


class SensorWarning(StrEnum):
    """Why accepted readings may not be true. The values are those of property `sensorWarning`."""

    NONE = "none"

    HUMIDITY_SATURATED = "humidity_saturated"
    """Humidity has been at the end of its scale for two days."""

    UNCHANGING = "unchanging"
    """The same values, to the last digit, for hours. A DHT's values must have changed before.
    Sensors that hang repeat their last value: https://github.com/arendst/Tasmota/issues/852."""


ADVICE: Mapping[str, str] = {
    SensorWarning.HUMIDITY_SATURATED: "Humidity has been at the end of the sensor's scale for two "
    "days. If the air is not that damp, dry or replace the sensor.",
    SensorWarning.UNCHANGING: "The sensor has repeated the same values for hours. Compare them "
    "with another instrument; if they are wrong, cut the sensor's power or replace it.",
}
"""What each warning means, and what to do, in at most two sentences."""


@dataclass(slots=True)
class _Run:
    """Consecutive readings that have something in common."""

    since: float
    readings: int = 0

    def lasts(self, at: float, seconds: float) -> bool:
        return self.readings >= FEWEST and at - self.since >= seconds


class Steadiness:
    """Judges a sequence of readings of one sensor. It remembers nothing across restarts."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._wet: _Run | None = None
        self._same = _Run(0.0)
        self._last: Reading | None = None
        # Seconds, of earlier runs. None: it never changed, as a DHT in a still cellar. The others
        # resolve hundredths, so that they change even there.
        self._longest: float | None = None if model.chip is None else 0.0

    def judge(self, reading: Reading, at: float) -> SensorWarning:
        """Return the warning that applies after this reading, made `at` monotonic seconds."""
        if reading != self._last:
            if self._last is not None:
                self._longest = max(self._longest or 0.0, at - self._same.since)
            self._last, self._same = reading, _Run(at)
        self._same.readings += 1
        if reading.humidity < self._model.saturated:
            self._wet = None
            if self._longest is not None and self._same.lasts(
                at, max(self._model.still, TIMES_LONGER * self._longest)
            ):
                return SensorWarning.UNCHANGING
        else:  # At the end of the scale, humidity cannot change even if the sensor works.
            self._wet = self._wet or _Run(at)
            self._wet.readings += 1
            if self._wet.lasts(at, SATURATED_AFTER):
                return SensorWarning.HUMIDITY_SATURATED
        return SensorWarning.NONE
