import threading
from itertools import pairwise

import pytest

from hw import LightState
from hw.errors import LightError
from hw.leds.fake_led import FakeLight


class Turns:
    """Time for a blink: so many turns pass in no time, then it stands still until a command."""

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


def light_with(*lateness):
    turns = Turns(*lateness)
    return FakeLight(clock=turns.clock, wait=turns.wait), turns


def shown(light):
    return [level for _, level in light.changes]


def blink_threads():
    return [thread for thread in threading.enumerate() if thread.name == "light-blink"]


def test_it_starts_dark():
    light = FakeLight()
    assert (light.state, light.brightness, shown(light)) == (LightState.OFF, 1, [0.0])


def test_on_and_off():
    with FakeLight() as light:
        light.on()
        assert light.state is LightState.ON
        light.off()
        assert light.state is LightState.OFF
        assert shown(light) == [0.0, 1.0, 0.0]


def test_the_same_command_again_is_no_change():
    with FakeLight() as light:
        light.on()
        light.on()
        assert shown(light) == [0.0, 1.0]


def test_a_blink_is_on_for_half_its_period_and_starts_with_on():
    light, turns = light_with(0, 0, 0, 0)
    with light:
        light.blink(3.0)
        assert light.state is LightState.BLINKING
        turns.pass_()
        assert light.changes == [
            (100.0, 0.0),
            (100.0, 1.0),
            (101.5, 0.0),
            (103.0, 1.0),
            (104.5, 0.0),
            (106.0, 1.0),
        ]


def test_a_late_turn_does_not_shift_a_blink():
    light, turns = light_with(0.2, 0.9, 0)
    with light:
        light.blink(2.0)
        turns.pass_()
        times = [time for time, _ in light.changes[1:]]
        assert times == pytest.approx([100.0, 101.2, 102.9, 103.0])


def test_turns_slept_through_are_not_made_up():
    light, turns = light_with(0, 1000.0, 0)
    with light:
        light.blink(2.0)
        turns.pass_()
        # Turn 1002 came instead of turn 2, both lit, and the next a second later.
        assert light.changes[-2:] == [(1102.0, 1.0), (1103.0, 0.0)]


@pytest.mark.parametrize("command", ["on", "off", "blink"])
def test_the_newest_command_wins_over_a_blink(command):
    light, turns = light_with(0)
    with light:
        light.blink(2.0)
        turns.pass_()
        getattr(light, command)(*([4.0] if command == "blink" else []))
        assert light.state == {"on": "on", "off": "off", "blink": "blinking"}[command]
        assert len(blink_threads()) == (command == "blink")


def test_the_thread_of_a_blink_exists_only_while_it_blinks():
    light, _ = light_with()
    assert blink_threads() == []
    light.blink(2.0)
    assert len(blink_threads()) == 1
    light.off()
    assert blink_threads() == []
    light.blink(2.0)
    light.close()
    assert blink_threads() == []


def test_commands_from_many_threads_leave_one_owner():
    light = FakeLight()
    commands = [light.on, light.off, lambda: light.blink(0.05), lambda: light.set_brightness(2)]

    def press(first):
        for n in range(100):
            commands[(first + n) % 4]()

    with light:
        threads = [threading.Thread(target=press, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30.0)
        assert len(blink_threads()) == (light.state is LightState.BLINKING)
        light.off()
        assert blink_threads() == []
        assert light.changes[-1][1] == 0.0
        # Nothing was shown twice in a row, and nothing after the last command.
        assert all(before != after for before, after in pairwise(shown(light)))


def test_brightness_applies_at_once_when_lit_and_is_kept_for_later_when_dark():
    with FakeLight() as light:
        light.set_brightness(3)
        assert shown(light) == [0.0]
        light.on()
        light.set_brightness(2)
        light.set_brightness(1)
        assert light.brightness == 1
        assert shown(light) == [0.0, 0.1, 0.3, 1.0]


def test_brightness_applies_to_a_blink():
    light, turns = light_with(0, 0)
    with light:
        light.set_brightness(2)
        light.blink(2.0)
        turns.pass_()
        light.set_brightness(3)
        assert light.state is LightState.BLINKING
        assert shown(light) == [0.0, 0.3, 0.0, 0.3, 0.1]


def test_brightness_in_the_dark_half_of_a_blink_waits_for_the_lit_half():
    light, turns = light_with(0)
    with light:
        light.blink(2.0)
        turns.pass_()
        light.set_brightness(3)
        assert shown(light) == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("level", [0, 4, -1, True, 2.5, "2", None])
def test_no_other_brightness_is_taken(level):
    with FakeLight() as light:
        light.on()
        with pytest.raises(ValueError, match="brightness"):
            light.set_brightness(level)
        assert light.brightness == 1


@pytest.mark.parametrize(
    "period", [0.0, -1.0, 0.01, float("nan"), float("inf"), True, 86401, 10**400]
)
def test_no_blink_without_a_time_and_the_light_stays_as_it_was(period):
    with FakeLight() as light:
        light.on()
        with pytest.raises(ValueError, match="period"):
            light.blink(period)
        assert light.state is LightState.ON


def test_a_command_that_fails_says_so_and_the_state_stays_what_was_last_shown():
    with FakeLight() as light:
        light.on()
        light.broken = "The line is gone."
        with pytest.raises(LightError, match="gone"):
            light.off()
        assert light.state is LightState.ON
        assert str(light.fault) == "The line is gone."
        light.broken = None
        light.off()
        assert light.fault is None


def test_a_blink_that_cannot_begin_does_not_begin():
    with FakeLight() as light:
        light.broken = "The line is gone."
        with pytest.raises(LightError, match="gone"):
            light.blink(1.0)
        assert light.state is LightState.OFF
        assert blink_threads() == []
        light.broken = None


def test_a_blink_that_fails_midway_ends_and_is_told():
    light = FakeLight(wait=lambda event, _: event.is_set() or breaks())

    def breaks():
        light.broken = "The line is gone."
        return False

    light.blink(1.0)
    for thread in blink_threads():
        thread.join(10.0)
    assert light.state is LightState.ON  # What was last shown.
    assert str(light.fault) == "The line is gone."
    light.broken = None
    light.close()


def test_brightness_that_cannot_be_shown_is_not_taken():
    with FakeLight() as light:
        light.on()
        light.broken = "The line is gone."
        with pytest.raises(LightError):
            light.set_brightness(2)
        assert light.brightness == 1
        light.broken = None


def test_close_leaves_it_dark_and_again_is_harmless():
    light = FakeLight()
    light.on()
    light.close()
    light.close()
    assert (light.state, shown(light)) == (LightState.OFF, [0.0, 1.0, 0.0])


def test_a_closed_light_takes_no_command():
    light = FakeLight()
    light.close()
    for command in (light.on, light.off, lambda: light.blink(1.0), lambda: light.set_brightness(2)):
        with pytest.raises(LightError, match="closed"):
            command()


def test_a_close_that_cannot_go_dark_releases_nevertheless_and_says_so():
    released = []
    light = FakeLight()
    light._release = lambda: released.append(True)
    light.on()
    light.broken = "The line is gone."
    with pytest.raises(LightError, match="gone"):
        light.close()
    light.close()
    assert released == [True]
