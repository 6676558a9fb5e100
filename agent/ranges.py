"""The ranges and forms of values that come from outside. Each is defined here once.

Tests hold the device model and the table of configuration keys to these ranges.
"""

import re
from typing import NamedTuple


class Range(NamedTuple):
    """The lowest and the highest value, both allowed."""

    low: int
    high: int


def is_low_enough(low: float, high: float, margin: float) -> bool:
    """Return whether a low limit is below a high one by more than both margins.

    Without that distance no reading would be within both limits again.
    """
    # Rounded: 71.8 and 70 degrees Fahrenheit are 1 degree Celsius apart, and not a little more.
    return round(high - low, 9) > 2 * margin


INTERVAL = Range(5, 86400)  # Seconds between two readings.
BLINK_PERIOD = Range(1, 3600)  # Seconds.
BRIGHTNESS = Range(1, 3)  # 1 is high, 3 is low.
GPIO = Range(0, 27)  # BCM numbers.
TEMPERATURE_LIMIT = Range(-40, 125)  # Degrees Celsius: what the sensors measure.
HUMIDITY_LIMIT = Range(0, 100)  # Percent.
TEMPERATURE_MARGIN = 0.5  # Degrees Celsius inside a limit at which readings are within it again.
HUMIDITY_MARGIN = 2.0  # Percent.
NAME_LENGTH = 256  # Characters at most, of the customer's name.

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# RFC 1123 section 2.1. An IPv4 address has this form, too.
HOST_NAME = rf"(?=[A-Za-z0-9.-]{{1,253}}(?![A-Za-z0-9.-])){_LABEL}(?:\.{_LABEL})*"
# What IoT Hub allows, except # and +, which MQTT does not allow in a topic:
# https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-identity-registry
HUB_DEVICE_ID = r"[A-Za-z0-9.:%_*?!(),=@;$'-]{1,128}"
# A registration id of the provisioning service, and so the id of a device that it creates:
# https://learn.microsoft.com/azure/iot-dps/concepts-service#registration-id
DPS_DEVICE_ID = r"[A-Za-z0-9._:-]{0,127}[A-Za-z0-9-]"
ID_SCOPE = r"[A-Za-z0-9_-]{1,128}"  # Of a provisioning service.

# The host names of new images: of distributions, of what is made of them for one purpose, and of
# boards, after which Armbian names its hosts. With the domains that a local network adds.
_IMAGE_NAMES = re.compile(
    r"""(?xi)
    (?: raspberrypi | raspberry | raspbian | dietpi
    | localhost (?: -live )? | alarm | alarmpi | alpine | arch | archlinux | armbian | box
    | buildroot | debian | fedora | kali (?: -raspberry-?pi )? | linux | manjaro (?: -arm )?
    | nixos | opensuse | suse | ubuntu | yocto
    | batocera | homeassistant | hassio | lakka | libreelec | moode | octopi | openwrt | osmc
    | picoreplayer | pihole | recalbox | retropie | volumio
    | (?: orangepi | bananapi | nanopi | rockpi | odroid | radxa ) [a-z0-9]*
      (?: - (?: lts | plus | pro | max | ultra | mini | zero | lite ) )?
    )
    (?: \. (?: local | localdomain | lan | home | home\.arpa ) )?
    """
)


def is_image_name(name: str) -> bool:
    """Return whether every machine with a new image has this host name, so that no id is it."""
    return _IMAGE_NAMES.fullmatch(name) is not None
