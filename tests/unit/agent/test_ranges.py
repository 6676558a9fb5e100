"""Each range is defined in `agent.ranges`. What states it elsewhere is compared here."""

import pytest

from agent import ranges
from agent.config.schema import KEYS
from agent.device.limits import LIMITS, RANGES, in_unit
from agent.device.model import CELSIUS, FAHRENHEIT, interface
from agent.device.validation import CHECKS
from hw.gpio import LINES
from hw.leds.led import DUTY


@pytest.mark.parametrize("model", [CELSIUS, FAHRENHEIT])
def test_the_device_model_states_the_ranges(model):
    contents = {content["name"]: content for content in interface(model)["contents"]}
    interval, blink = ranges.INTERVAL, ranges.BLINK_PERIOD
    levels = "1 (high), 2 (medium) or 3 (low)"
    assert f"{interval.low} to {interval.high}" in contents["telemetryInterval"]["description"]
    assert f"{blink.low} to {blink.high}" in contents["blink"]["request"]["description"]
    assert levels in contents["brightness"]["description"]
    assert f"at most {ranges.NAME_LENGTH} characters" in contents["name"]["description"]


@pytest.mark.parametrize(("model", "unit"), [(CELSIUS, "celsius"), (FAHRENHEIT, "fahrenheit")])
def test_the_device_model_states_the_ranges_of_the_limits_in_its_unit(model, unit):
    contents = {content["name"]: content for content in interface(model)["contents"]}
    for name, limit in LIMITS.items():
        low, high = (in_unit(name, end, unit) for end in RANGES[limit.quantity])
        assert f"{low:g} to {high:g}" in contents[name]["description"]
        assert in_unit(name, limit.end, unit) == (low if limit.is_low else high)


@pytest.mark.parametrize(
    ("section", "key", "allowed"),
    [
        ("sensor", "interval", ranges.INTERVAL),
        ("sensor", "pin", ranges.GPIO),
        ("sensor", "power_pin", ranges.GPIO),
        ("led", "pin", ranges.GPIO),
        *(("limits", limit.key, RANGES[limit.quantity]) for limit in LIMITS.values()),
    ],
)
def test_the_configuration_has_the_ranges(section, key, allowed):
    rule = KEYS[section][key].rule
    assert (rule.low, rule.high) == allowed


def test_the_drivers_have_the_ranges():
    assert (min(DUTY), max(DUTY)) == ranges.BRIGHTNESS
    assert (LINES.start, LINES.stop - 1) == ranges.GPIO


@pytest.mark.parametrize(
    ("name", "allowed"), [("brightness", ranges.BRIGHTNESS), ("telemetryInterval", ranges.INTERVAL)]
)
def test_the_writable_properties_have_the_ranges(name, allowed):
    check = CHECKS[name]
    assert (check(allowed.low), check(allowed.high)) == allowed
    for outside in (allowed.low - 1, allowed.high + 1):
        with pytest.raises(ValueError, match=f"from {allowed.low} to {allowed.high}"):
            check(outside)


@pytest.mark.parametrize(
    "name",
    [
        *("raspberrypi", "RaspberryPi", "DietPi", "ubuntu", "debian", "localhost", "armbian"),
        *("RetroPie", "LibreELEC", "OSMC", "octopi", "homeassistant", "kali-raspberry-pi", "alarm"),
        *(
            "orangepi",
            "orangepizero3",
            "orangepi5-plus",
            "orangepi3-lts",
            "bananapim5",
            "nanopineo",
        ),
        *("raspberrypi.local", "DietPi.lan", "localhost.localdomain", "ubuntu.home.arpa"),
    ],
)
def test_host_names_that_every_image_has(name):
    assert ranges.is_image_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("pi-1", "raspberrypi-attic", "raspberrypi2", "my-ubuntu", "ubuntu.example.org", ""),
        *("orangepi-kitchen", "debian-12-server", "greenhouse-1", "pi.local.example", "localhosts"),
    ],
)
def test_host_names_that_a_person_has_chosen(name):
    assert not ranges.is_image_name(name)
