import asyncio
import threading
from typing import Any

import pytest
from fakes import until

from agent.device import led as led_module
from agent.device.led import AsyncLed
from agent.device.led_order import OFF, ON, SIGNALS, LedChoice, Order
from hw import DriverError, LedError, LedState
from hw.leds.fake_led import SimulatedLed


class HangingLed(SimulatedLed):
    """Its driver hangs until `release` is set."""

    def __init__(self):
        super().__init__()
        self.driving, self.release = threading.Event(), threading.Event()

    def _drive(self, level):
        self.driving.set()
        self.release.wait(10)
        super()._drive(level)


class Rig:
    def __init__(self, simulated=None, choice=LedChoice()):  # noqa: B008 - it is immutable.
        self.simulated: Any = simulated or SimulatedLed(wait=lambda event, seconds: event.wait(10))
        self.reported: list[object] = []
        self.choices: list[LedChoice] = []
        self.led = AsyncLed(
            self.simulated,
            on_change=self.reported.append,
            on_choice=lambda: self.choices.append(self.led.choice),
            choice=choice,
        )

    def shown(self):
        return [level for _, level in self.simulated.changes]


@pytest.fixture(autouse=True)
def _unlimited_time(monkeypatch):
    """Let a busy machine stall for longer than the deadlines. Tests of a deadline set their own."""
    monkeypatch.setattr(led_module, "DEADLINE", 1000.0)
    monkeypatch.setattr(led_module, "OPENING", 1000.0)


@pytest.fixture
async def rig():
    rig = Rig()
    yield rig
    rig.simulated.broken = None
    await rig.led.close()


async def test_each_change_of_state_is_reported_once(rig):
    await rig.led.open()
    await rig.led.on()
    await rig.led.on()
    await rig.led.blink(2)
    await rig.led.off()
    assert rig.reported == ["on", "blinking", "off"]
    assert rig.shown()[-1] == 0.0


async def test_a_command_that_fails_raises_and_leaves_a_fault(rig):
    rig.simulated.broken = "The line is busy."
    with pytest.raises(LedError, match="busy"):
        await rig.led.on()
    assert (rig.led.state, rig.led.status("fake").fault) == ("off", "The line is busy.")


async def test_a_blink_that_fails_is_reported_and_logged(caplog):
    tick = threading.Event()
    rig = Rig(SimulatedLed(wait=lambda event, seconds: tick.wait(10) and event.is_set()))
    await rig.led.blink(2)
    rig.simulated.broken = "The line is gone."
    tick.set()
    await until(lambda: rig.reported == ["blinking", "on"])
    assert "The LED stopped blinking: The line is gone." in caplog.text
    rig.simulated.broken = None
    await rig.led.close()


async def test_a_busy_line_is_logged_at_the_start_and_each_command_tries_again(rig, caplog):
    caplog.set_level("INFO")
    await rig.led.set_brightness(2)
    rig.simulated.broken = "GPIO 17 is held by another program."
    await rig.led.open()
    assert "The LED cannot be driven: GPIO 17 is held" in caplog.text
    with pytest.raises(LedError, match="GPIO 17 is held"):
        await rig.led.on()
    rig.simulated.broken = None
    await rig.led.on()
    assert (rig.led.state, rig.led.status("fake").fault, rig.led.brightness) == ("on", None, 2)
    assert "The LED can be driven again." in caplog.text


async def test_a_driver_that_cannot_work_here_is_raised_at_the_start():
    class NoDriver(SimulatedLed):
        def _drive(self, level):
            raise DriverError("The package lgpio is not installed.")

    with pytest.raises(DriverError, match="lgpio"):
        await Rig(NoDriver()).led.open()


async def test_a_hanging_driver_blocks_neither_commands_nor_the_state(monkeypatch):
    rig = Rig(HangingLed())
    first = asyncio.create_task(rig.led.on())
    await until(rig.simulated.driving.is_set)
    monkeypatch.setattr(led_module, "DEADLINE", 0.01)
    for _ in range(2):
        with pytest.raises(LedError, match="did not return within"):
            await rig.led.blink(1)
    assert rig.led.state == "off"
    rig.simulated.release.set()
    monkeypatch.setattr(led_module, "DEADLINE", 1000.0)
    await first
    await rig.led.off()
    # The commands that were reported as failed are never carried out.
    assert rig.shown() == [0.0, 1.0, 0.0]
    await until(lambda: rig.reported == ["on", "off"])
    await rig.led.close()


async def test_the_first_command_has_a_longer_deadline(rig, monkeypatch):
    monkeypatch.setattr(led_module, "DEADLINE", 0.0)
    await rig.led.open()
    assert rig.simulated.fault is None
    monkeypatch.setattr(led_module, "DEADLINE", 1000.0)


async def test_a_command_waits_for_an_opening_that_missed_its_deadline(monkeypatch, caplog):
    monkeypatch.setattr(led_module, "OPENING", 0.01)
    rig = Rig(HangingLed())
    await rig.led.open()
    assert "did not return within 0.01 s" in caplog.text
    rig.simulated.release.set()
    await rig.led.on()
    assert rig.led.state == "on"
    await rig.led.close()


async def test_a_closed_led_is_off_and_refuses_commands(rig):
    await rig.led.on()
    await rig.led.close()
    await rig.led.close()
    for command in (rig.led.on(), rig.led.blink(2), rig.led.set_brightness(3)):
        with pytest.raises(LedError, match="closed"):
            await command
    assert (rig.led.state, rig.reported) == ("off", ["on", "off"])


async def test_an_led_that_cannot_be_turned_off_at_the_end_is_logged(rig, caplog):
    await rig.led.on()
    rig.simulated.broken = "The line is busy."
    await rig.led.close()
    assert "The LED could not be turned off: The line is busy." in caplog.text


async def test_a_stop_waits_once_for_a_driver_that_hangs(monkeypatch, caplog):
    rig = Rig(HangingLed())
    rig.simulated.release.set()
    await rig.led.on()
    rig.simulated.release.clear()
    rig.simulated.driving.clear()
    late = asyncio.create_task(rig.led.blink(2))
    await until(rig.simulated.driving.is_set)
    monkeypatch.setattr(led_module, "DEADLINE", 0.01)
    await rig.led.close()
    assert "The LED could not be turned off: The LED's driver did not return" in caplog.text
    monkeypatch.setattr(led_module, "DEADLINE", 1000.0)
    await asyncio.wait_for(rig.led.close(), 5)
    rig.simulated.release.set()
    await late
    await until(lambda: rig.led.state == "off")
    assert rig.shown()[-1] == 0.0


async def test_closing_an_led_that_never_had_its_line_logs_nothing(caplog):
    rig = Rig()
    rig.simulated.broken = "The line is busy."
    await rig.led.close()
    assert not caplog.records


SIGNAL = SIGNALS["blink"]


async def test_a_signal_is_shown_until_the_readings_return(rig):
    await rig.led.on()
    rig.led.signal(SIGNAL)
    await until(lambda: rig.led.state == "blinking")
    assert rig.led.status("fake").signals
    rig.led.signal(None)
    await until(lambda: len(rig.choices) == 3)
    assert (rig.led.state, rig.led.status("fake").signals) == ("on", False)
    assert rig.choices == [LedChoice(ON), LedChoice(ON, SIGNAL), LedChoice(ON)]


async def test_an_order_ends_a_signal_and_is_shown_on_return(rig):
    rig.led.signal(SIGNAL)
    await rig.led.off()
    assert rig.led.state == "off"
    rig.led.signal(None)
    await until(lambda: len(rig.choices) == 3)
    assert (rig.led.state, rig.choices[-1]) == ("off", LedChoice())


async def test_a_blink_that_was_ordered_goes_on_while_the_signal_is_none(rig):
    await rig.led.blink(7)
    before = rig.shown()
    rig.led.signal(SIGNALS["none"])
    await until(lambda: len(rig.choices) == 2)
    assert rig.shown() == before


async def test_an_order_that_fails_is_not_the_last_order(rig):
    rig.led.signal(SIGNAL)
    await until(lambda: rig.choices)
    rig.simulated.broken = "The line is busy."
    with pytest.raises(LedError):
        await rig.led.on()
    assert rig.led.choice == LedChoice(OFF, SIGNAL)
    rig.simulated.broken = None
    rig.led.repair()
    await until(lambda: rig.led.state == "blinking")


async def test_a_signal_that_fails_is_logged_once_and_repaired(rig, caplog):
    caplog.set_level("INFO")
    rig.simulated.broken = "The line is busy."
    rig.led.signal(SIGNAL)
    await until(lambda: rig.choices)
    rig.led.repair()
    await until(lambda: len(rig.choices) == 2)
    assert caplog.messages == ["The LED cannot signal: The line is busy."]
    rig.simulated.broken = None
    rig.led.repair()
    await until(lambda: rig.led.state == "blinking")
    await until(lambda: caplog.messages[-1] == "The LED can be driven again.")


async def test_a_return_that_fails_is_repaired(rig):
    rig.led.signal(SIGNAL)
    await until(lambda: rig.choices)
    rig.simulated.broken = "The line is busy."
    rig.led.signal(None)
    await until(lambda: len(rig.choices) == 2)
    rig.simulated.broken = None
    rig.led.repair()
    await until(lambda: len(rig.choices) == 3)
    assert (rig.led.state, rig.shown()[-1]) == ("off", 0.0)


async def test_without_a_fault_there_is_nothing_to_repair(rig):
    await rig.led.on()
    rig.led.repair()
    rig.led.signal(SIGNAL)
    await until(lambda: len(rig.choices) == 2)
    rig.led.repair()
    await rig.led.off()
    assert len(rig.choices) == 3


async def test_a_signal_waits_for_a_driver_that_hangs(caplog):
    rig = Rig(HangingLed())
    rig.led.signal(SIGNAL)
    await until(rig.simulated.driving.is_set)
    rig.led.repair()
    rig.simulated.release.set()
    await until(lambda: rig.choices)
    assert (rig.led.state, len(rig.choices)) == ("blinking", 1)
    await rig.led.close()
    rig.led.signal(None)
    await asyncio.sleep(0)
    assert not caplog.records


async def test_after_a_restart_the_led_shows_the_signal_again():
    rig = Rig(choice=LedChoice(ON, SIGNAL))
    await rig.led.open()
    assert rig.led.state == "blinking"
    rig.led.signal(None)
    await until(lambda: rig.led.state == "on")
    await rig.led.close()


async def test_after_a_restart_an_order_that_won_is_shown_again(caplog):
    rig = Rig(choice=LedChoice(Order(LedState.BLINKING, 5.0)))
    rig.simulated.broken = "The line is busy."
    await rig.led.open()
    rig.simulated.broken = None
    rig.led.repair()
    await until(lambda: rig.led.state == "blinking")
    await rig.led.close()
