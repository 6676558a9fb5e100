"""What the daemon does when readings cross a limit: the LED, the report, the journal, a restart."""

import json
from dataclasses import astuple

import pytest
from fakes import HandClock
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values

from agent.daemon.limit_watch import LimitWatch, choice_before, outside_before
from agent.device.led_order import OFF, ON, SIGNALS, LedChoice, Order
from agent.device.limits import NO_LIMITS
from agent.logs.events import LogEvent
from hw import LedState, Reading, SensorStatus, SensorWarning

OK, NONE = SensorStatus.OK, SensorWarning.NONE
BLINK = SIGNALS["blink"]
LIMITS = {**NO_LIMITS, "temperatureHigh": 25.0, "humidityHigh": 80.0}


class PlainLed:
    """An LED that obeys at once."""

    def __init__(self, choice, on_choice):
        self.choice = choice
        self.on_choice = on_choice
        self.repairs = 0

    def signal(self, signal):
        self.choice = self.choice.with_signal(signal)
        self.on_choice()

    def repair(self):
        self.repairs += 1


class Rig:
    def __init__(self, values=LIMITS, *, look="blink", kept=None, clock=None):
        self.clock = clock or HandClock()
        self.led = PlainLed(choice_before(kept, values, look), self.save)
        self.reported: list[str] = []
        self.kept = [kept]
        self.watch = LimitWatch(
            values=values,
            look=look,
            led=self.led,
            clock=self.clock,
            report=lambda properties: self.reported.append(properties["limitStatus"]),
            keep=lambda state: self.kept.append(json.loads(json.dumps(state))),
            kept=kept,
        )

    def read(self, *temperatures, humidity=50.0, warning=NONE):
        for temperature in temperatures:
            self.clock.move(60)
            accepted = [(Reading(temperature, humidity), self.clock.stamp())]
            self.watch.attempted(accepted, OK, warning)
        return self

    def save(self):
        self.watch.save()

    def order(self, order):
        self.led.choice = self.led.choice.after_order(order)
        self.save()

    def restarted(self, values=LIMITS, **options):
        return Rig(values, kept=self.kept[-1], clock=self.clock, **options)


@pytest.fixture
def rig():
    return Rig()


def test_a_crossing_signals_is_reported_and_is_one_line_with_the_time_it_began(rig, caplog):
    caplog.set_level("INFO")
    rig.read(24)
    began = rig.clock.stamp().wall + 60
    rig.read(25.1, 26, 26.5, 27, 27)
    assert rig.reported == ["within", "too_warm"]
    assert rig.led.choice.shown == BLINK
    [line] = caplog.records
    since = rig.clock.true_utc(rig.watch._since["temperatureHigh"])
    assert line.getMessage() == f"Too warm since {since}: 26.5 °C is above the limit of 25 °C."
    assert (line.levelname, line.MESSAGE_ID) == ("WARNING", LogEvent.LIMIT_CROSSED)
    assert (line.LIMIT, line.LIMIT_STATUS) == ("temperatureHigh", "too_warm")
    assert rig.watch._since["temperatureHigh"].wall == began


def test_on_return_the_led_shows_the_last_order(rig, caplog):
    rig.order(ON)
    rig.read(26, 26, 26)
    caplog.clear()
    caplog.set_level("INFO")
    rig.read(24, 24, 24)
    assert rig.reported == ["within", "too_warm", "within"]
    assert rig.led.choice == LedChoice(ON)
    [line] = caplog.messages
    assert line.startswith("No longer too warm: 24 °C. It was too warm since 2023-")
    assert line.endswith("Z.")


def test_a_crossing_is_kept_although_the_leds_driver_hangs(rig, monkeypatch):
    monkeypatch.setattr(rig.led, "signal", lambda _signal: None)  # It never gets to it.
    rig.read(26, 26, 26)
    assert rig.restarted().led.choice.shown == BLINK
    assert rig.restarted().watch.describe().outside
    rig.read(24, 24, 24)
    assert rig.kept[-1] is None


@pytest.mark.parametrize(("temperature", "outside"), [(24, set()), (26, {"temperatureHigh"})])
def test_while_all_readings_are_doubted_it_is_unknown_whether_they_are_within(
    rig, temperature, outside
):
    rig.read(*[temperature] * 3)
    before = rig.led.choice
    rig.read(temperature, warning=SensorWarning.UNCHANGING)
    assert rig.reported[-1] == "unknown"
    assert rig.watch.describe().outside.keys() == outside
    assert rig.led.choice == before
    rig.read(temperature, warning=SensorWarning.HUMIDITY_SATURATED)
    assert rig.reported[-1] == ("too_warm" if outside else "within")


def test_a_silent_signal_can_be_seen_after_a_change_of_the_look():
    rig = Rig(look="none").read(26, 26, 26)
    assert rig.restarted(look="blink").led.choice.shown == BLINK
    rig.watch.set_look("blink")
    assert rig.led.choice.shown == BLINK
    rig.watch.set_look("none")
    assert rig.led.choice.shown == OFF
    rig.order(ON)
    rig.watch.set_look("blink")
    assert rig.led.choice.shown == ON  # The order has won.
    assert rig.restarted(look="blink").led.choice.shown == ON


def test_an_order_wins_until_the_next_crossing(rig):
    rig.read(26, 26, 26)
    rig.order(ON)
    rig.read(26, 26, 26)
    assert rig.led.choice.shown == ON
    rig.read(26, 26, 26, humidity=90)
    assert rig.led.choice.shown == BLINK
    assert rig.reported[-1] == "too_warm"


def test_with_one_of_two_limits_left_the_signal_goes_on(rig):
    rig.read(26, 26, 26, humidity=90)
    rig.read(24, 24, 24, humidity=90)
    assert (rig.reported[-1], rig.led.choice.shown) == ("too_humid", BLINK)
    rig.read(24, 24, 24)
    assert (rig.reported[-1], rig.led.choice.shown) == ("within", OFF)


def test_an_order_that_won_still_wins_when_one_of_two_limits_is_left(rig):
    rig.read(26, 26, 26, humidity=90)
    rig.order(ON)
    rig.read(24, 24, 24, humidity=90)
    assert rig.led.choice.shown == ON


@pytest.mark.parametrize(("look", "shown"), [("on", ON), ("none", OFF)])
def test_the_signal_is_the_configured_one(look, shown):
    rig = Rig(look=look).read(26, 26, 26)
    assert rig.reported[-1] == "too_warm"
    assert rig.led.choice.shown == shown


def test_a_changed_signal_is_shown_at_once_unless_an_order_won(rig):
    rig.read(26, 26, 26)
    rig.watch.set_look("on")
    assert rig.led.choice.shown == ON
    rig.order(OFF)
    rig.watch.set_look("blink")
    assert rig.led.choice.shown == OFF


def test_a_value_that_flaps_fills_neither_the_journal_nor_the_card(rig, caplog):
    caplog.set_level("INFO")
    for _ in range(1000):
        rig.read(25.1, 24.4)
    assert (caplog.messages, rig.kept, rig.reported) == ([], [None], ["within"])


@pytest.mark.parametrize("warning", [SensorWarning.UNCHANGING, *SensorWarning])
def test_doubtful_readings_cross_no_limit(warning):
    rig = Rig().read(20, *[26] * 9, humidity=90, warning=warning)
    status = {NONE: "too_warm", SensorWarning.HUMIDITY_SATURATED: "too_warm"}
    assert rig.watch.status == status.get(warning, "unknown")
    assert "humidityHigh" not in rig.watch._since or warning is NONE


def test_a_failed_sensor_makes_the_status_unknown_and_the_signal_stays(rig):
    assert rig.watch.status == "unknown"  # Nothing has been read yet.
    rig.read(26, 26, 26)
    rig.watch.attempted([], SensorStatus.NO_ANSWER, NONE)
    assert rig.reported[-1] == "unknown"
    assert rig.led.choice.shown == BLINK
    assert list(rig.watch.describe().outside) == ["temperatureHigh"]
    rig.read(26)
    assert rig.reported[-1] == "too_warm"


def test_single_failed_attempts_change_nothing(rig):
    for _ in range(3):
        rig.read(26)
        rig.watch.attempted([], OK, NONE)
    assert rig.reported == ["within", "too_warm"]
    assert rig.led.repairs == 6


def test_a_limit_removed_while_outside_ends_the_signal_and_is_logged(rig, caplog):
    caplog.set_level("INFO")
    rig.read(26, 26, 26)
    rig.watch.set_values(NO_LIMITS)
    assert rig.led.choice.shown == OFF
    assert rig.reported[-1] == "off"
    assert "No longer too warm: the limit was removed." in caplog.messages[-1]
    assert rig.kept[-1] is None


def test_a_restart_outside_goes_on_signalling_without_another_line(rig, caplog):
    rig.order(ON)
    rig.read(26, 26, 26)
    since = rig.watch.describe().outside
    caplog.clear()
    caplog.set_level("INFO")
    again = rig.restarted()
    assert again.led.choice == LedChoice(ON, BLINK)
    assert again.watch.status == "unknown"
    again.read(26)
    assert again.reported == ["too_warm"]
    assert again.watch.describe().outside == since
    assert caplog.messages == []
    again.read(24, 24, 24)
    assert again.led.choice.shown == ON
    assert again.kept[-1] is None


def test_what_is_kept_of_a_crossing_is_kept_once(rig):
    """A power cut between two writes must not keep a crossing without its signal."""
    rig.read(26, 26, 26)
    assert [state and state["signals"] for state in rig.kept] == [None, True]
    rig.read(26, 26, 26, humidity=90)
    rig.read(24, 24, 24, humidity=90)
    rig.read(24, 24, 24)
    kept = [state and sorted(state["outside"]) for state in rig.kept[2:]]
    assert kept == [["humidityHigh", "temperatureHigh"], ["humidityHigh"], None]


def test_a_restart_remembers_that_an_order_won(rig):
    rig.read(26, 26, 26)
    rig.order(Order(LedState.BLINKING, 5.0))
    again = rig.restarted().read(26, 26, 26)
    assert again.led.choice == LedChoice(Order(LedState.BLINKING, 5.0))


def test_a_restart_within_the_limits_forgets_the_order(rig):
    rig.read(20, 20, 20)
    rig.order(ON)
    assert rig.kept == [None]
    assert rig.restarted().led.choice == LedChoice()


def test_after_a_restart_the_limit_may_be_gone_or_the_signal_another(rig):
    rig.read(26, 26, 26)
    assert rig.restarted(look="on").led.choice.shown == ON
    gone = rig.restarted(NO_LIMITS)
    assert gone.led.choice == LedChoice()
    gone.watch.save()
    assert gone.kept[-1] is None


def test_the_time_of_a_crossing_is_corrected_when_the_clock_is_set():
    rig = Rig(clock=HandClock(wall=1_000_000.0, known=False))
    rig.read(26, 26, 26)
    wrong = rig.watch.describe().outside["temperatureHigh"]
    rig.clock.time, rig.clock.known = 1_700_000_000.0, True
    for watch in (rig.watch, rig.restarted().watch):
        right = watch.describe().outside["temperatureHigh"]
        assert wrong.startswith("1970-")
        assert right.startswith("2023-11-14T22:11:20")


def test_the_status_has_the_limits_that_are_set(rig):
    part = rig.read(20).watch.describe()
    assert part.in_force == {"temperatureHigh": 25.0, "humidityHigh": 80.0}
    assert (part.status, part.outside) == ("within", {})


STAMP = astuple(HandClock().stamp())


@pytest.mark.parametrize(
    "stamp",
    [
        None,
        [],
        ["yesterday", 1.0, "boot", True],
        [float("nan"), 1.0, "boot", True],
        [-1.0, 1.0, "boot", True],
        [10**400, 1.0, "boot", True],
        [1.0, 10**400, "boot", True],
        [1.0, float("inf"), "boot", True],
        [1.0, 1.0, 7, True],
        [1.0, 1.0, "boot", 1],
        [*STAMP, 1],
    ],
)
def test_a_damaged_time_is_left_out(stamp):
    assert outside_before({"outside": {"temperatureHigh": stamp}}, LIMITS) == {}
    assert "temperatureHigh" in outside_before({"outside": {"temperatureHigh": STAMP}}, LIMITS)


@given(
    json_values
    | st.fixed_dictionaries(
        {
            "outside": json_values | st.just({"temperatureHigh": STAMP}),
            "ordered": json_values,
            "signals": json_values,
        }
    )
)
def test_whatever_was_kept_the_daemon_goes_on(kept):
    rig = Rig(kept=kept)
    rig.read(20, 20, 20)
    assert rig.watch.status == "within"
    assert rig.led.choice.signal is None
