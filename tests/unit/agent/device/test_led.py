import asyncio
import threading
from typing import Any

import pytest
from fakes import until

from agent.device import led as led_module
from agent.device.led import AsyncLed
from hw import DriverError, LedError
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
    def __init__(self, simulated=None):
        self.simulated: Any = simulated or SimulatedLed(wait=lambda event, seconds: event.wait(10))
        self.reported: list[object] = []
        self.led = AsyncLed(self.simulated, on_change=self.reported.append)

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
