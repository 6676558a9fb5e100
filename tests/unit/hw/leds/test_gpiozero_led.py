import os
import sys
import threading
from pathlib import Path

import lgpio_fake
import pytest
from places import ROOT

from hw import LedState, open_led
from hw.errors import DriverError, LedError
from hw.leds.gpiozero_led import GpiozeroLed

gpiozero = pytest.importorskip("gpiozero", reason="gpiozero: no wheel for this Python and machine")
mock = pytest.importorskip("gpiozero.pins.mock")

PI_3B = 0xA02082
REPOSITORY = str(ROOT)


# gpiozero's own mock


@pytest.fixture
def factory():
    factory = mock.MockFactory(pin_class=mock.MockPWMPin)
    yield factory
    factory.reset()


def states(pin):
    return [state.state for state in pin.states]


def test_on_off_and_brightness_on_the_mock_pin(factory):
    pin = factory.pin("GPIO17")
    with GpiozeroLed(17, factory=factory) as led:
        led.on()
        led.off()
        led.set_brightness(2)
        led.on()
        led.set_brightness(3)
        assert states(pin) == [0.0, 1.0, 0.0, 0.3, 0.1]
        assert pin.frequency == 100
        led.set_brightness(1)
        assert pin.frequency is None  # Full brightness needs no PWM.
        assert pin.state == 1.0


def test_a_blink_switches_the_mock_pin_on_time_and_close_makes_it_an_input(factory):
    pin = factory.pin("GPIO17")
    now, seen, done = [0.0], [], threading.Event()

    def wait(event, seconds):
        seen.append((now[0], pin.state))
        if len(seen) == 6:
            done.set()
            return event.wait(10.0)
        now[0] += seconds
        return event.is_set()

    with GpiozeroLed(17, factory=factory, clock=lambda: now[0], wait=wait) as led:
        led.set_brightness(2)
        led.blink(3.0)
        assert done.wait(10.0)
        led.off()
        assert pin.state == 0.0
    assert seen == [(0.0, 0.3), (1.5, 0.0), (3.0, 0.3), (4.5, 0.0), (6.0, 0.3), (7.5, 0.0)]
    assert pin.function == "input"


def test_a_pin_used_by_another_device_of_this_process_is_busy(factory):
    with (
        gpiozero.LED(17, pin_factory=factory),
        pytest.raises(LedError, match="in use by something"),
    ):
        GpiozeroLed(17, factory=factory).off()


# The real LGPIOFactory with a simulated lgpio


@pytest.fixture
def lgpio(monkeypatch):
    lgpio_fake.reset()
    monkeypatch.setitem(sys.modules, "lgpio", lgpio_fake)
    monkeypatch.delitem(sys.modules, "gpiozero.pins.lgpio", raising=False)
    monkeypatch.setattr("gpiozero.pins.local.get_pi_revision", lambda: PI_3B)
    yield lgpio_fake
    sys.modules.pop("gpiozero.pins.lgpio", None)


def driven(lgpio):
    return [call for call in lgpio.calls if call[0] in {"output", "write", "pwm"}]


def test_the_first_command_claims_the_line_with_the_led_off(lgpio):
    with GpiozeroLed(17) as led:
        assert lgpio.calls == []
        led.off()
        assert lgpio.levels == {17: 0}
        led.on()
        assert lgpio.levels == {17: 1}
        led.off()
        assert lgpio.levels == {17: 0}
    assert lgpio.levels == {}
    assert lgpio.handles == {}


def test_an_active_low_led_does_not_flash_before_it_is_turned_on(lgpio):
    with GpiozeroLed(17, active_high=False) as led:
        led.off()
        # The first claim as output has the right level. lgpio ignores gpiozero's later one.
        assert driven(lgpio)[0] == ("output", 17, 1)
        assert ("write", 17, 0) not in lgpio.calls
        assert lgpio.levels == {17: 1}
        led.on()
        assert lgpio.levels == {17: 0}
        led.off()
        assert lgpio.levels == {17: 1}


@pytest.mark.parametrize(("active_high", "duties"), [(True, (30, 10)), (False, (70, 90))])
def test_only_medium_and_low_brightness_use_pwm(lgpio, active_high, duties):
    with GpiozeroLed(17, active_high=active_high) as led:
        led.on()
        assert lgpio.pwm == {}
        led.set_brightness(2)
        assert lgpio.pwm == {17: (100, duties[0])}
        led.set_brightness(3)
        assert lgpio.pwm == {17: (100, duties[1])}
        led.off()
        assert lgpio.pwm == {}
        assert lgpio.levels == {17: int(not active_high)}
        led.on()
        assert lgpio.pwm == {17: (100, duties[1])}
        led.set_brightness(1)
        assert lgpio.pwm == {}
        assert lgpio.levels == {17: int(active_high)}


def test_close_turns_the_led_off_before_it_releases_the_line(lgpio):
    led = GpiozeroLed(17)
    led.set_brightness(2)
    led.on()
    led.close()
    led.close()
    assert led.state is LedState.OFF
    assert lgpio.calls[-5:] == [
        ("pwm", 17, 0, 0),
        ("write", 17, 0),
        ("input", 17),
        ("input", 17),
        ("close",),
    ]


def test_closing_one_led_does_not_affect_another(lgpio):
    with GpiozeroLed(17) as one:
        two = GpiozeroLed(27)
        one.on()
        two.on()
        two.close()
        assert lgpio.levels == {17: 1}
        one.off()
        assert lgpio.levels == {17: 0}


def test_closing_an_unused_led_does_not_claim_its_line(lgpio):
    GpiozeroLed(17).close()
    assert lgpio.calls == []


def test_a_line_held_by_another_program_is_busy(lgpio):
    with GpiozeroLed(17) as first:
        first.off()
        with pytest.raises(LedError, match="GPIO 17 is in use by something else"):
            GpiozeroLed(17).off()
        assert len(lgpio.handles) == 1
        first.on()
        assert lgpio.levels == {17: 1}


def test_a_failed_command_leaves_the_state_unchanged(lgpio):
    with GpiozeroLed(17) as led:
        led.on()
        lgpio.fails["write"] = "bad gpio"
        with pytest.raises(LedError, match="GPIO 17 could not be driven: bad gpio"):
            led.off()
        assert led.state is LedState.ON
        lgpio.fails.clear()


def test_close_releases_the_line_even_if_turning_off_fails(lgpio):
    led = GpiozeroLed(17)
    led.on()
    lgpio.fails["write"] = "bad gpio"
    with pytest.raises(LedError, match="bad gpio"):
        led.close()
    assert lgpio.handles == {}


def test_a_chip_that_cannot_be_opened_is_explained(lgpio, monkeypatch):
    lgpio.fails["open"] = "can not open gpiochip"
    chips: list[Path] = []
    monkeypatch.setattr(Path, "glob", lambda *_: iter(chips))
    monkeypatch.setattr("hw.gpio.is_raspberry_pi", lambda: False)
    with pytest.raises(DriverError, match="no GPIO pins"):
        GpiozeroLed(17).off()
    monkeypatch.setattr("hw.gpio.is_raspberry_pi", lambda: True)
    with pytest.raises(LedError, match="no GPIO pins"):  # It is tried again.
        GpiozeroLed(17).off()
    chips.append(Path("/dev/gpiochip0"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(LedError, match="usermod -aG gpio"):
        GpiozeroLed(17).off()
    monkeypatch.setattr(os, "access", lambda *_: True)
    with pytest.raises(LedError, match="can not open gpiochip"):
        GpiozeroLed(17).off()


def test_a_board_unknown_to_gpiozero_is_refused(lgpio, monkeypatch):
    def no_pi():
        raise gpiozero.PinUnknownPi("unable to locate Pi revision")

    monkeypatch.setattr("gpiozero.pins.local.get_pi_revision", no_pi)
    with pytest.raises(DriverError, match="not a Raspberry Pi"):
        GpiozeroLed(17).off()


@pytest.mark.parametrize("pin", [28, -1, True, 17.5, "17", None])
def test_an_invalid_gpio_number_is_refused(lgpio, pin):
    with pytest.raises(DriverError, match="0 to 27"):
        GpiozeroLed(pin).off()
    assert lgpio.calls == []


def test_the_empty_placeholder_of_lgpio_is_recognized(lgpio, monkeypatch):
    monkeypatch.setitem(sys.modules, "lgpio", type(sys)("lgpio"))
    with pytest.raises(DriverError, match="empty placeholder"):
        GpiozeroLed(17).off()


@pytest.mark.parametrize(
    ("package", "module"), [("lgpio", "lgpio"), ("gpiozero", "gpiozero.pins.lgpio")]
)
def test_a_missing_package_is_reported(lgpio, monkeypatch, package, module):
    monkeypatch.setitem(sys.modules, module, None)  # Importing it raises ImportError.
    with pytest.raises(DriverError, match=rf"{package} is not installed") as caught:
        open_led("gpiozero").off()
    assert caught.value.packages == (package,)


@pytest.mark.parametrize("package", ["lgpio", "gpiozero"])
def test_a_broken_package_is_reported_with_the_reason(lgpio, monkeypatch, tmp_path, package):
    # For example built for another Python, or gpiozero 1.6 without pkg_resources.
    (tmp_path / f"{package}.py").write_text("import what_it_needs\n")
    monkeypatch.syspath_prepend(tmp_path)
    for module in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(DriverError, match=f"{package} does not work here: No module .*what_it_"):
        GpiozeroLed(17).off()


def test_a_missing_file_is_named(lgpio, monkeypatch):
    def fail(_):
        raise FileNotFoundError(2, "No such file or directory", "/run/sensor-agent")

    monkeypatch.setattr(lgpio, "gpiochip_open", fail)
    with pytest.raises(LedError, match="No such file or directory: '/run/sensor-agent'"):
        GpiozeroLed(17).off()


def test_open_led_returns_the_gpiozero_driver(lgpio):
    with open_led("gpiozero", pin=27, active_high=False) as led:
        assert isinstance(led, GpiozeroLed)
        led.off()
        assert lgpio.levels == {27: 1}
