"""Checks of the values that an operator sets."""

from http import HTTPStatus
from typing import Any

from agent.errors import quote
from agent.ranges import BRIGHTNESS, INTERVAL, NAME_LENGTH, Range


class RefusedError(ValueError):
    """A command or a value is refused. `str()` is the reason, and `status` is as in HTTP."""

    def __init__(self, reason: str, *, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(reason)
        self.status = status


def check_name(value: Any) -> str:
    """Return a customer's name: a string of at most 256 characters."""
    if not isinstance(value, str):
        raise RefusedError(f"name must be a string, not {quote(value)}.")
    if len(value) > NAME_LENGTH:
        raise RefusedError(
            f"name must have at most {NAME_LENGTH} characters, and this one has {len(value)}."
        )
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise RefusedError(f"name must be valid Unicode, and {quote(value)} has half a character.")
    return value


def check_brightness(value: Any) -> int:
    """Return a brightness: 1 (high), 2 (medium) or 3 (low)."""
    return whole_number("brightness", value, BRIGHTNESS)


def check_interval(value: Any) -> int:
    """Return an interval between readings: 5 to 86400 seconds."""
    return whole_number("telemetryInterval", value, INTERVAL)


def whole_number(name: str, value: Any, allowed: Range) -> int:
    """Return `value` as an int if it is a whole number in this range. Raises RefusedError."""
    # JSON has one kind of number, so 5.0 is 5. In Python, unlike in JSON, true is a number.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not allowed.low <= value <= allowed.high:
        raise RefusedError(
            f"{name} must be a whole number from {allowed.low} to {allowed.high}, "
            f"not {quote(value)}."
        )
    return int(value)


CHECKS = {
    "name": check_name,
    "brightness": check_brightness,
    "telemetryInterval": check_interval,
}
"""The check of each writable property."""
