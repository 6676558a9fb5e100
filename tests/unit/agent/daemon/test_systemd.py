import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from fakes import HandClock, until

from agent.daemon import systemd as watchdog
from agent.daemon.systemd import LONGEST_PAUSE, Watch, in_words, tell_systemd
from agent.logs import journal
from agent.readings.sampler import KEPT_WITHIN, SLACK, Sampler
from hw import ClimateSensor, Reading
from hw.sensors.policy import Policy, SensorStatus


class Systemd:
    """What systemd would hear, and when."""

    def __init__(self, monkeypatch, *, limit=None):
        self.clock = HandClock()
        self.heard = []
        self.pauses = []
        self.ready = asyncio.Event()
        self.watch = Watch(now=lambda: self.clock.up)
        monkeypatch.setattr(journal, "notify", lambda **state: self.heard.append(state))
        monkeypatch.setattr(journal, "watchdog_seconds", lambda: limit)

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        self.clock.move(seconds)
        await asyncio.sleep(0)

    @asynccontextmanager
    async def listening(self):
        task = asyncio.create_task(
            tell_systemd(ready=self.ready, watch=self.watch, words=lambda: "well", sleep=self.sleep)
        )
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    def fed(self):
        return sum("WATCHDOG" in state for state in self.heard)


async def test_ready_is_said_once_and_not_before_it_is_so(monkeypatch):
    systemd = Systemd(monkeypatch)
    async with systemd.listening():
        await asyncio.sleep(0.01)
        assert systemd.heard == []
        systemd.ready.set()
        await until(lambda: systemd.fed() >= 3)
    assert systemd.heard[0] == {"READY": "1", "STATUS": "well"}
    assert systemd.heard[1] == {"WATCHDOG": "1", "STATUS": "well"}
    assert sum("READY" in state for state in systemd.heard) == 1


@pytest.mark.parametrize(("limit", "pause"), [(None, LONGEST_PAUSE), (30.0, 10.0), (600.0, 20.0)])
async def test_it_is_told_three_times_within_its_limit(monkeypatch, limit, pause):
    systemd = Systemd(monkeypatch, limit=limit)
    systemd.ready.set()
    async with systemd.listening():
        await until(lambda: systemd.pauses)
    assert systemd.pauses[0] == pause


async def test_readings_that_are_stuck_stop_the_feeding_and_are_told_once(monkeypatch, caplog):
    caplog.set_level("INFO")
    systemd = Systemd(monkeypatch)
    systemd.ready.set()
    systemd.watch.expect(50.0)
    async with systemd.listening():
        await until(lambda: len(systemd.pauses) >= 6)
        fed = systemd.fed()
        assert fed == 3  # At 0, 20 and 40 seconds.
        assert systemd.heard[-1] == {"STATUS": "Stuck: no reading moves any more"}
        assert caplog.text.count("Nothing is heard") == 1
        systemd.watch.expect(1e9)
        await until(lambda: systemd.fed() > fed)
    assert caplog.text.count("Readings move again.") == 1


class Rig:
    """A sampler whose every step can be made to hang, watched."""

    def __init__(self, *, interval=60.0):
        self.clock = HandClock()
        self.watch = Watch(now=lambda: self.clock.up)
        self.longest = 0.0
        self.hang_in = None
        self.hanging = asyncio.Event()
        self.kept = 0

        class Sensor(ClimateSensor):
            model, spacing, deadline = "dht22", 2.1, 3.0

            def read(self):
                return Reading(21.0, 45.0)

            def close(self):
                pass

        self.sampler = Sampler(
            sensor=Sensor(),
            policy=Policy(model="dht22", spacing=2.1, interval=interval, now=self.clock.up),
            clock=self.clock,
            on_reading=self.keep,
            on_status=lambda *_: None,
            expect=self.expect,
            wait=self.wait,
        )

    def expect(self, seconds):
        assert not self.watch.stuck
        self.longest = max(self.longest, seconds)
        self.watch.expect(seconds)

    async def keep(self, _reading, _taken):
        await self.step("keep")
        self.kept += 1

    async def wait(self, _event, seconds):
        await self.step("wait")
        self.clock.move(seconds)

    async def step(self, name):
        if self.hang_in == name:
            self.hanging.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    @asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.sampler.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait({task})


@pytest.mark.parametrize("interval", [5.0, 60.0, 86400.0])
async def test_a_sampler_that_works_never_counts_as_stuck(interval):
    async with Rig(interval=interval).running() as rig:
        await until(lambda: rig.kept >= 50)


@pytest.mark.parametrize(("step", "within"), [("keep", KEPT_WITHIN), ("wait", 60.0 + SLACK)])
async def test_a_sampler_that_hangs_is_noticed(step, within):
    async with Rig().running() as rig:
        await until(lambda: rig.kept)
        rig.hang_in = step
        await rig.hanging.wait()
        rig.clock.move(within + 0.1)
        assert rig.watch.stuck


async def test_the_first_attempt_is_said_whatever_came_of_it():
    rig = Rig()
    assert not rig.sampler.attempted.is_set()
    async with rig.running():
        await rig.sampler.attempted.wait()
    assert rig.kept == 0  # The first answer of a DHT22 is not believed.


USUAL = {
    "sensor": SensorStatus.OK,
    "last": Reading(21.44, 48.21),
    "taken": time.mktime((2026, 11, 24, 14, 5, 0, 0, 0, -1)),
    "has_cloud": True,
    "hub": "hub.test",
    "waiting": 0,
}


@pytest.mark.parametrize(
    ("different", "words"),
    [
        ({}, "21.4 °C, 48.2 % at 14:05; connected to hub.test; 0 waiting"),
        (
            {"hub": None, "waiting": 12},
            "21.4 °C, 48.2 % at 14:05; not connected; 12 waiting",
        ),
        ({"has_cloud": False}, "21.4 °C, 48.2 % at 14:05"),
        (
            {"sensor": SensorStatus.NO_ANSWER, "has_cloud": False},
            "the sensor gives no readings (no_answer); the last was 21.4 °C, 48.2 % at 14:05",
        ),
        (
            {"sensor": SensorStatus.BUSY, "last": None, "taken": None, "has_cloud": False},
            "the sensor gives no readings (busy)",
        ),
        (
            {"sensor": SensorStatus.STARTING, "last": None, "taken": None},
            "no reading yet; connected to hub.test; 0 waiting",
        ),
    ],
)
def test_how_it_is_in_words(different, words):
    assert in_words(**USUAL | different) == words


def test_the_watch_stands_still_while_the_machine_sleeps():
    # systemd's watchdog counts CLOCK_MONOTONIC too.
    assert Watch()._now is time.monotonic
    assert watchdog.LONGEST_PAUSE * 3 <= 60
