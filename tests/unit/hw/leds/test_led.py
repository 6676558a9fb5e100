import threading
from itertools import pairwise

import pytest

from hw import LedState
from hw.errors import LedError
from hw.leds.fake_led import SimulatedLed


class Turns:
    """A clock for blinks. It skips a number of turns, then stands still until a command."""

    def __init__(self, *lateness):
        self.now = 100.0
        self._lateness = list(lateness)
        self._done = threading.Event()

    def clock(self):
        return self.now

    def wait(self, event, seconds):
        if self._lateness:
            self.now += seconds + self._lateness.pop(0)
            return event.is_set()
        self._done.set()
        return event.wait(10.0)

    def pass_(self):
        assert self._done.wait(10.0)


def led_with(*lateness):
    turns = Turns(*lateness)
    return SimulatedLed(clock=turns.clock, wait=turns.wait), turns


def shown(led):
    return [level for _, level in led.changes]


def blink_threads():
    return [thread for thread in threading.enumerate() if thread.name == "led-blink"]


def test_on_and_off():
    with SimulatedLed() as led:
        assert (led.state, led.brightness, shown(led)) == (LedState.OFF, 1, [0.0])
        led.on()
        led.on()
        assert led.state == "on"
        led.off()
        assert led.state is LedState.OFF
        assert shown(led) == [0.0, 1.0, 0.0]


def test_a_blink_starts_with_on_and_is_on_for_half_its_period():
    led, turns = led_with(0, 0, 0, 0)
    with led:
        led.blink(3.0)
        assert led.state is LedState.BLINKING
        turns.pass_()
        assert led.changes == [
            (100.0, 0.0),
            (100.0, 1.0),
            (101.5, 0.0),
            (103.0, 1.0),
            (104.5, 0.0),
            (106.0, 1.0),
        ]


def test_a_late_change_does_not_shift_a_blink():
    led, turns = led_with(0.2, 0.9, 0)
    with led:
        led.blink(2.0)
        turns.pass_()
        times = [time for time, _ in led.changes[1:]]
        assert times == pytest.approx([100.0, 101.2, 102.9, 103.0])


def test_changes_missed_during_suspend_are_skipped():
    led, turns = led_with(0, 1000.0, 0)
    with led:
        led.blink(2.0)
        turns.pass_()
        # Turn 1002 follows turn 1. Both 2 and 1002 are lit.
        assert led.changes[-2:] == [(1102.0, 1.0), (1103.0, 0.0)]


@pytest.mark.parametrize("command", ["on", "off", "blink"])
def test_a_new_command_ends_a_blink(command):
    led, turns = led_with(0)
    with led:
        led.blink(2.0)
        turns.pass_()
        getattr(led, command)(*([4.0] if command == "blink" else []))
        assert led.state == {"on": "on", "off": "off", "blink": "blinking"}[command]
        assert len(blink_threads()) == (command == "blink")


def test_a_blink_has_a_thread_only_while_it_lasts():
    led, _ = led_with()
    assert blink_threads() == []
    led.blink(2.0)
    assert len(blink_threads()) == 1
    led.off()
    assert blink_threads() == []
    led.blink(2.0)
    led.close()
    assert blink_threads() == []


def test_commands_from_many_threads_do_not_interfere():
    led = SimulatedLed()
    commands = [led.on, led.off, lambda: led.blink(0.05), lambda: led.set_brightness(2)]

    def press(first):
        for n in range(100):
            commands[(first + n) % 4]()

    with led:
        threads = [threading.Thread(target=press, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30.0)
        assert len(blink_threads()) == (led.state is LedState.BLINKING)
        led.off()
        assert blink_threads() == []
        assert led.changes[-1][1] == 0.0
        # No level was shown twice in a row, and none after the last command.
        assert all(before != after for before, after in pairwise(shown(led)))


def test_brightness_applies_at_once_if_lit_and_later_if_off():
    with SimulatedLed() as led:
        led.set_brightness(3)
        assert shown(led) == [0.0]
        led.on()
        led.set_brightness(2)
        led.set_brightness(1)
        assert led.brightness == 1
        assert shown(led) == [0.0, 0.1, 0.3, 1.0]


def test_brightness_applies_to_a_blink():
    led, turns = led_with(0, 0)
    with led:
        led.set_brightness(2)
        led.blink(2.0)
        turns.pass_()
        led.set_brightness(3)
        assert led.state is LedState.BLINKING
        assert shown(led) == [0.0, 0.3, 0.0, 0.3, 0.1]


def test_brightness_set_while_a_blink_is_off_applies_to_the_next_on():
    led, turns = led_with(0)
    with led:
        led.blink(2.0)
        turns.pass_()
        led.set_brightness(3)
        assert shown(led) == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("level", [0, 4, -1, True, 2.5, "2", None])
def test_any_other_brightness_is_refused(level):
    with SimulatedLed() as led:
        led.on()
        with pytest.raises(ValueError, match="brightness"):
            led.set_brightness(level)
        assert led.brightness == 1


@pytest.mark.parametrize(
    "period", [0.0, -1.0, 0.01, float("nan"), float("inf"), True, 86401, 10**400]
)
def test_an_invalid_period_is_refused_and_changes_nothing(period):
    with SimulatedLed() as led:
        led.on()
        with pytest.raises(ValueError, match="period"):
            led.blink(period)
        assert led.state is LedState.ON


def test_after_a_failed_command_the_state_is_what_the_led_last_showed():
    with SimulatedLed() as led:
        led.on()
        led.broken = "The line is gone."
        with pytest.raises(LedError, match="gone"):
            led.off()
        assert led.state is LedState.ON
        assert str(led.fault) == "The line is gone."
        led.broken = None
        led.off()
        assert led.fault is None


def test_a_blink_that_fails_at_once_has_no_thread():
    with SimulatedLed() as led:
        led.broken = "The line is gone."
        with pytest.raises(LedError, match="gone"):
            led.blink(1.0)
        assert led.state is LedState.OFF
        assert blink_threads() == []
        led.broken = None


def test_a_blink_that_fails_later_ends_and_leaves_a_fault():
    led = SimulatedLed(wait=lambda event, _: event.is_set() or breaks())

    def breaks():
        led.broken = "The line is gone."
        return False

    led.blink(1.0)
    for thread in blink_threads():
        thread.join(10.0)
    assert led.state is LedState.ON  # The last level that was shown.
    assert str(led.fault) == "The line is gone."
    led.broken = None
    led.close()


def test_the_brightness_is_unchanged_if_driving_fails():
    with SimulatedLed() as led:
        led.on()
        led.broken = "The line is gone."
        with pytest.raises(LedError):
            led.set_brightness(2)
        assert led.brightness == 1
        led.broken = None


def test_a_closed_led_is_off_and_refuses_commands():
    led = SimulatedLed()
    led.on()
    led.close()
    led.close()
    assert (led.state, shown(led)) == (LedState.OFF, [0.0, 1.0, 0.0])
    for command in (led.on, led.off, lambda: led.blink(1.0), lambda: led.set_brightness(2)):
        with pytest.raises(LedError, match="closed"):
            command()


def test_close_releases_and_raises_if_turning_off_fails(monkeypatch):
    released = []
    led = SimulatedLed()
    monkeypatch.setattr(led, "_release", lambda: released.append(True))
    led.on()
    led.broken = "The line is gone."
    with pytest.raises(LedError, match="gone"):
        led.close()
    led.close()
    assert released == [True]
