"""A day of the daemon's parts, put together as the service does, on a clock that is set by hand."""

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fakes import FakeHub, FakeSession, open_outbox, running, until
from operated import limit_properties
from rigs import Rig

from agent.device.commands import Commands
from agent.device.led import AsyncLed
from agent.device.properties import Properties
from agent.logs.events import LogEvent
from agent.readings.sampler import Sampler
from hw import Policy, SensorStatus
from hw.leds.fake_led import SimulatedLed
from hw.sensors.fake import Room, SimulatedSensor

INTERVAL = 60.0  # Seconds: the default.
DAY = 86400


class Day(Rig):
    """The daemon's parts with a hub made of a list; time is what the sampler waits for."""

    def __init__(self, outbox, hub):
        super().__init__(outbox, hub)
        self.led = AsyncLed(SimulatedLed(), on_change=lambda _: None)
        parts: Any = self  # The daemon and the store, as far as these use them.
        self.commands = Commands(parts)
        self.properties = Properties(
            parts,
            parts,
            defaults={"name": "", "brightness": 1, "telemetryInterval": 60},
            stored={},
            limits=limit_properties(),
            property_format="plug-and-play",
        )
        self.sensor = SimulatedSensor(Room(seed=1, clock=lambda: self.clock.up))
        self.sensor.spacing = 2.1
        self.sampler = Sampler(
            sensor=self.sensor,
            policy=Policy(
                model="dht22",
                spacing=2.1,
                interval=INTERVAL,
                now=self.clock.up,
            ),
            clock=self.clock,
            sink=self.uplink,
            wait=self.wait,
        )

    def report(self, properties):
        self.uplink.report(properties)

    async def wait(self, _event, seconds):
        self.clock.move(seconds)
        await asyncio.sleep(0)

    async def execute(self, name, payload):
        return await self.commands.execute(name, payload)

    async def apply_twin(self, twin):
        await self.properties.apply_twin(twin)

    async def apply_patch(self, patch):
        await self.properties.apply_patch(patch)

    @asynccontextmanager
    async def running(self):
        async with super().running(), running(self.sampler.run()):
            yield self
        await self.led.close()


@pytest.fixture
async def day(caplog):
    caplog.set_level(logging.DEBUG)
    hub = FakeHub(*(FakeSession(twin=TWIN) for _ in range(30)))
    day = Day(await open_outbox(), hub)
    async with day.running():
        yield day


TWIN = {"desired": {"$version": 2, "brightness": 9, "fan": True}, "reported": {}}


def told(caplog):
    """What a person sees at the default level."""
    return [record for record in caplog.records if record.levelno >= logging.INFO]


async def test_a_day_on_which_all_is_well_is_told_in_a_few_lines(day, caplog):
    await until(lambda: day.clock.up > 1000 + DAY)
    assert day.sampler.policy.counters["accepted"] >= DAY / INTERVAL
    lines = [record.getMessage() for record in told(caplog)]
    assert len(lines) < 50
    # Connected, and two wrong properties in the twin.
    assert len(lines) == 3, lines


async def test_a_bad_day_is_told_in_a_few_lines_too(day, caplog):
    for hour in range(1, 24):
        await until(lambda hour=hour: day.clock.up > 1000 + hour * 3600)
        match hour % 6:
            case 1:
                day.sensor.room.play({"fault": "no_answer"})
            case 2:
                day.sensor.room.play({"fault": "checksum"})
            case 3:
                day.sensor.room.play({"fault": "no_answer"})
            case 4:
                day.sensor.room.play({"fault": None})
    await until(lambda: day.clock.up > 1000 + DAY)
    kinds = [record.MESSAGE_ID for record in told(caplog)]
    # Twice in each of four troubles, and once when it is over; a repeat is no news.
    assert kinds.count(LogEvent.SENSOR_FAILED) == 8
    assert kinds.count(LogEvent.SENSOR_RECOVERED) == 4
    assert len(kinds) < 50
    faults = {r.FAULT for r in told(caplog) if r.MESSAGE_ID == LogEvent.SENSOR_FAILED}
    assert faults == {SensorStatus.NO_ANSWER, SensorStatus.CHECKSUM}


async def test_what_is_debug_has_the_values(day, caplog):
    await until(lambda: day.sampler.policy.counters["accepted"] >= 3)
    readings = [r for r in caplog.records if getattr(r, "MESSAGE_ID", None) == LogEvent.READING]
    assert readings
    for record in readings:
        assert record.levelno == logging.DEBUG
        assert record.getMessage() == f"{record.TEMPERATURE} °C, {record.HUMIDITY} %."
