"""Limits of temperature and humidity: when readings cross them, and whose limits are in force.

Everything here is pure. `agent.daemon.limit_watch` acts on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from agent.device import units
from agent.device.validation import RefusedError
from agent.errors import quote
from agent.ranges import (
    HUMIDITY_LIMIT,
    HUMIDITY_MARGIN,
    TEMPERATURE_LIMIT,
    TEMPERATURE_MARGIN,
    is_low_enough,
)

IN_A_ROW = 3  # Readings that enter or leave the region outside a limit.


class LimitStatus(StrEnum):
    """The values of the property `limitStatus`."""

    OFF = "off"  # No limit is set.
    WITHIN = "within"
    TOO_COLD = "too_cold"
    TOO_WARM = "too_warm"
    TOO_DRY = "too_dry"
    TOO_HUMID = "too_humid"
    UNKNOWN = "unknown"  # The sensor gives no readings, or none that are believed.


class Quantity(StrEnum):
    """What a limit applies to."""

    TEMPERATURE = "temperature"
    HUMIDITY = "humidity"


@dataclass(frozen=True, slots=True)
class Limit:
    """One of the four limits: the names of its key and its property, and what it limits.

    `end` is the end of the range, where there is no limit. Readings enter the region outside
    beyond the limit, and leave it `margin` inside. Both are in degrees Celsius or percent.
    """

    key: str
    name: str
    quantity: Quantity
    is_low: bool
    end: float
    margin: float
    status: LimitStatus


LIMITS = {
    limit.name: limit
    for limit in (
        Limit(
            "temperature_low",
            "temperatureLow",
            Quantity.TEMPERATURE,
            True,
            TEMPERATURE_LIMIT.low,
            TEMPERATURE_MARGIN,
            LimitStatus.TOO_COLD,
        ),
        Limit(
            "temperature_high",
            "temperatureHigh",
            Quantity.TEMPERATURE,
            False,
            TEMPERATURE_LIMIT.high,
            TEMPERATURE_MARGIN,
            LimitStatus.TOO_WARM,
        ),
        Limit(
            "humidity_low",
            "humidityLow",
            Quantity.HUMIDITY,
            True,
            HUMIDITY_LIMIT.low,
            HUMIDITY_MARGIN,
            LimitStatus.TOO_DRY,
        ),
        Limit(
            "humidity_high",
            "humidityHigh",
            Quantity.HUMIDITY,
            False,
            HUMIDITY_LIMIT.high,
            HUMIDITY_MARGIN,
            LimitStatus.TOO_HUMID,
        ),
    )
}
"""The limits by property. If several are crossed, `limitStatus` names the first."""

RANGES = {Quantity.TEMPERATURE: TEMPERATURE_LIMIT, Quantity.HUMIDITY: HUMIDITY_LIMIT}

PAIRS = (("temperatureLow", "temperatureHigh"), ("humidityLow", "humidityHigh"))

Values = Mapping[str, float]
"""Limits by property, in degrees Celsius and percent."""

NO_LIMITS: Values = {name: limit.end for name, limit in LIMITS.items()}


class Bounds(Protocol):
    """The limits of the configuration."""

    @property
    def temperature_low(self) -> float: ...

    @property
    def temperature_high(self) -> float: ...

    @property
    def humidity_low(self) -> float: ...

    @property
    def humidity_high(self) -> float: ...


def configured(bounds: Bounds) -> Values:
    """Return the limits of the configuration by property."""
    return {name: float(getattr(bounds, limit.key)) for name, limit in LIMITS.items()}


def in_force(file: Values, operator: Values) -> Values:
    """Return the limits in force: the operator's, otherwise the configuration's (`file`).

    A limit of the configuration that contradicts the operator's is not in force.
    """
    values = {**file, **operator}
    for low, high in PAIRS:
        if not is_low_enough(values[low], values[high], LIMITS[low].margin):
            values |= {name: LIMITS[name].end for name in (low, high) if name not in operator}
    return values


# The operator's limits, which come and go in the model's unit.


def in_unit(name: str, value: float, unit: str) -> float:
    """Return a limit in `unit`: `celsius` or `fahrenheit`. Humidity is in percent."""
    if LIMITS[name].quantity is Quantity.TEMPERATURE:
        value = round(units.in_unit(value, unit), 9)  # 77.3 degrees Fahrenheit stay 77.3.
    return value


def check_limit(name: str, value: Any, unit: str) -> float:
    """Return a limit in degrees Celsius or percent. Raises RefusedError."""
    first, last = RANGES[LIMITS[name].quantity]
    low, high = in_unit(name, first, unit), in_unit(name, last, unit)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise RefusedError(f"{name} must be a number from {low:g} to {high:g}, not {quote(value)}.")
    if LIMITS[name].quantity is Quantity.TEMPERATURE and unit == "fahrenheit":
        value = round((value - 32) * 5 / 9, 12)
    return float(value)


def accept(
    desired: Mapping[str, Any], operator: Values, file: Values, unit: str
) -> tuple[dict[str, float], dict[str, RefusedError]]:
    """Return the operator's limits with the desired ones, and those that are refused.

    `desired` is judged as a whole. `operator` are the operator's limits without it.
    """
    after, refused = dict(operator), {}
    for name, value in desired.items():
        try:
            after[name] = check_limit(name, value, unit)
        except RefusedError as error:
            refused[name] = error
    values = {**in_force(file, operator), **after}
    for low, high in PAIRS:
        if is_low_enough(values[low], values[high], LIMITS[low].margin):
            continue
        least = _distance(LIMITS[low], unit)
        shown = [f"{name} ({in_unit(name, values[name], unit):g})" for name in (low, high)]
        for name in {low, high} & desired.keys() - refused.keys():
            refused[name] = RefusedError(f"{shown[0]} must be more than {least} below {shown[1]}.")
            del after[name]
            if name in operator:
                after[name] = operator[name]
    return after, refused


def believable(stored: Any) -> dict[str, float]:
    """Return the operator's limits that an earlier run has stored, without what is not possible."""
    found = stored if isinstance(stored, Mapping) else {}
    given = {name: found[name] for name in LIMITS if name in found}
    limits, _ = accept(given, {}, NO_LIMITS, "celsius")
    return limits


def _distance(limit: Limit, unit: str) -> str:
    least = 2 * limit.margin
    if limit.quantity is Quantity.HUMIDITY:
        return f"{least:g} %"
    if unit == "fahrenheit":
        return f"{least * 9 / 5:g} degrees Fahrenheit"
    return f"{least:g} degree Celsius"


# Readings that cross limits.


@dataclass(frozen=True, slots=True)
class Side:
    """On which side of a limit the readings are.

    `opposed` counts the last readings in a row that were on the other side.
    """

    is_outside: bool = False
    opposed: int = 0


Sides = Mapping[str, Side]
"""The side of each limit, by property."""

ALL_WITHIN: Sides = {name: Side() for name in LIMITS}


@dataclass(frozen=True, slots=True)
class Crossing:
    """The readings have left the region within a limit (`is_outside`), or have returned."""

    limit: Limit
    is_outside: bool


def judge(
    sides: Sides, values: Values, reading: Mapping[Quantity, float]
) -> tuple[Sides, list[Crossing]]:
    """Return the sides after a reading, and the limits that it crosses.

    `reading` has the quantities that may be believed. Limits of another quantity stay as they are.
    """
    after = {
        name: _next(side, LIMITS[name], values[name], reading.get(LIMITS[name].quantity))
        for name, side in sides.items()
    }
    return after, _crossings(sides, after)


def change_limits(sides: Sides, before: Values, after: Values) -> tuple[Sides, list[Crossing]]:
    """Return the sides after the limits were changed, and those that this makes readings cross.

    Readings are within a limit that was removed. For one that was moved, the next ones decide.
    """
    moved = dict(sides)
    for name, side in sides.items():
        if after[name] == LIMITS[name].end:
            moved[name] = Side()
        elif after[name] != before[name]:
            moved[name] = replace(side, opposed=0)
    return moved, _crossings(sides, moved)


def limit_status(sides: Sides, values: Values, *, is_reading: bool = True) -> LimitStatus:
    """Return the `limitStatus`. `is_reading` is whether the sensor gives readings."""
    if all(values[name] == limit.end for name, limit in LIMITS.items()):
        return LimitStatus.OFF
    if not is_reading:
        return LimitStatus.UNKNOWN
    outside = (LIMITS[name].status for name, side in sides.items() if side.is_outside)
    return next(outside, LimitStatus.WITHIN)


def _next(side: Side, limit: Limit, value: float, measured: float | None) -> Side:
    if value == limit.end:
        return Side()
    if measured is None:
        return side
    # Turned round for a low limit, so that outside is always above.
    distance = round(value - measured if limit.is_low else measured - value, 9)
    is_opposed = distance <= -limit.margin if side.is_outside else distance > 0
    if not is_opposed:
        return replace(side, opposed=0)
    if side.opposed + 1 < IN_A_ROW:
        return replace(side, opposed=side.opposed + 1)
    return Side(not side.is_outside)


def _crossings(before: Sides, after: Sides) -> list[Crossing]:
    return [
        Crossing(LIMITS[name], side.is_outside)
        for name, side in after.items()
        if side.is_outside is not before[name].is_outside
    ]
