import asyncio
import threading

import pytest
from fakes import until

from agent.device import led as lamp_module
from agent.device.led import Lamp
from hw.errors import LightError
from hw.leds.fake_led import FakeLight


class Rig:
    def __init__(self):
        self.told = []
        self.looks = asyncio.Queue()
        self.light = FakeLight(wait=lambda event, seconds: event.wait(10))
        self.busy = None
        self.lamp = Lamp(
            self.open_light, brightness=2, on_change=self.told.append, sleep=self.sleep
        )

    def open_light(self):
        if self.busy:
            raise LightError(self.busy)
        return self.light

    async def sleep(self, _seconds):
        await self.looks.get()


@pytest.fixture
async def rig():
    rig = Rig()
    yield rig
    await rig.lamp.close()


async def test_each_change_is_told_once(rig):
    await rig.lamp.on()
    await rig.lamp.on()
    await rig.lamp.blink(2)
    await rig.lamp.off()
    assert rig.told == ["on", "blinking", "off"]
    assert [level for _, level in rig.light.changes][-1] == 0.0


async def test_a_light_that_breaks_raises_and_is_named(rig):
    rig.light.broken = "The line is busy."
    with pytest.raises(LightError, match="busy"):
        await rig.lamp.on()
    assert rig.lamp.state == "off"
    assert rig.lamp.fault == "The line is busy."
    rig.light.broken = None


async def test_a_light_that_goes_out_by_itself_is_noticed(rig, caplog):
    await rig.lamp.on()
    watching = asyncio.create_task(rig.lamp.watch())
    rig.light.broken = "The line is gone."
    with pytest.raises(LightError):
        rig.light.off()
    rig.light.broken = None
    rig.light._lit = False
    rig.light._note_state()
    rig.looks.put_nowait(None)
    await until(lambda: rig.told[-1] == "off")
    assert "The LED went out: The line is gone." in caplog.text
    watching.cancel()


async def test_a_driver_that_hangs_is_not_waited_for(rig, monkeypatch):
    monkeypatch.setattr(lamp_module, "DEADLINE", 0.01)
    release = threading.Event()
    monkeypatch.setattr(rig.light, "on", lambda: release.wait(10))
    with pytest.raises(LightError, match="did not return within"):
        await rig.lamp.on()
    release.set()
    await rig.lamp.off()


async def test_the_first_opening_has_longer_than_a_command(rig, monkeypatch):
    monkeypatch.setattr(lamp_module, "DEADLINE", 0.0)
    await rig.lamp.open()
    assert rig.lamp.fault is None
    monkeypatch.undo()


async def test_an_opening_that_is_too_slow_is_waited_for_and_not_made_twice(monkeypatch):
    monkeypatch.setattr(lamp_module, "OPENING", 0.01)
    light, openings, release = FakeLight(), [], threading.Event()

    def open_light():
        openings.append(1)
        release.wait(10)
        return light

    lamp = Lamp(open_light, brightness=1, on_change=lambda state: None)
    await lamp.open()
    turning_on = asyncio.create_task(lamp.on())
    release.set()
    await turning_on
    assert openings == [1]
    assert lamp.state == "on"
    await lamp.close()


async def test_a_command_that_waited_too_long_for_the_opening_is_not_carried_out_later(monkeypatch):
    monkeypatch.setattr(lamp_module, "DEADLINE", 0.01)
    light, opening, release = FakeLight(), threading.Event(), threading.Event()

    def open_light():
        opening.set()
        release.wait(10)
        return light

    lamp = Lamp(open_light, brightness=1, on_change=lambda state: None)
    at_start = asyncio.create_task(lamp.open())
    await until(opening.is_set)
    for _ in range(3):  # Behind the opening in its thread, and beside it in another.
        with pytest.raises(LightError, match="did not return within"):
            await lamp.on()
    release.set()
    monkeypatch.undo()
    await at_start
    await until(lambda: not lamp._worker._abandoned)
    await lamp.off()
    assert [level for _, level in light.changes if level > 0.0] == []
    await lamp.close()


async def test_a_line_that_hangs_holds_up_nobody_who_asks_for_the_state(rig, monkeypatch):
    monkeypatch.setattr(lamp_module, "DEADLINE", 0.01)
    release = threading.Event()
    monkeypatch.setattr(rig.light, "_drive", lambda _level: release.wait(10))
    with pytest.raises(LightError, match="did not return within"):
        await rig.lamp.on()
    assert rig.lamp.state == "off"
    release.set()
    monkeypatch.setattr(lamp_module, "DEADLINE", 10)
    await rig.lamp.off()


async def test_a_light_that_is_retired_stays_dark(rig):
    await rig.lamp.on()
    await rig.lamp.retire()
    for command in (rig.lamp.on(), rig.lamp.blink(2)):
        with pytest.raises(LightError, match="The daemon is stopping"):
            await command
    await rig.lamp.set_brightness(3)
    assert (rig.lamp.state, rig.told[-1]) == ("off", "off")


async def test_closing_tells_when_the_light_cannot_be_turned_off(caplog):
    rig = Rig()
    await rig.lamp.on()
    rig.light.broken = "The line is busy."
    await rig.lamp.close()
    assert "could not be turned off: The line is busy." in caplog.text


async def test_a_line_that_is_busy_is_told_and_tried_again(rig, caplog):
    rig.busy = "GPIO 17 is held by another program."
    await rig.lamp.open()
    assert "The LED cannot be driven: GPIO 17 is held" in caplog.text
    assert (rig.lamp.state, rig.lamp.fault) == ("off", rig.busy)
    with pytest.raises(LightError, match="GPIO 17 is held"):
        await rig.lamp.on()
    rig.busy = None
    await rig.lamp.on()
    assert (rig.lamp.state, rig.lamp.fault) == ("on", None)
    assert rig.light.brightness == 2


async def test_a_light_that_was_never_had_need_not_be_closed():
    rig = Rig()
    rig.busy = "GPIO 17 is held by another program."
    await rig.lamp.close()
