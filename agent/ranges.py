"""The ranges of values that operators can set. Each is defined here once.

Tests hold the device model and the table of configuration keys to these ranges.
"""

from typing import NamedTuple


class Range(NamedTuple):
    """The lowest and the highest value, both allowed."""

    low: int
    high: int


INTERVAL = Range(5, 86400)  # Seconds between two readings.
BLINK_PERIOD = Range(1, 3600)  # Seconds.
BRIGHTNESS = Range(1, 3)  # 1 is high, 3 is low.
GPIO = Range(0, 27)  # BCM numbers.
NAME_LENGTH = 256  # Characters at most, of the customer's name.
