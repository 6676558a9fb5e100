import asyncio
import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, cast

import pytest
from fakes import HandClock, running, until

from agent.daemon import systemd as watchdog
from agent.daemon.systemd import LONGEST_PAUSE, Watch, notify_systemd, status_line
from agent.logs import journal
from agent.readings.sampler import ADD_DEADLINE, SLACK, Sampler
from agent.status import CloudPart
from hw import ClimateSensor, Policy, Reading


class Systemd:
    """What systemd hears, and when, on a clock that moves only while nobody has news."""

    def __init__(self, monkeypatch, *, limit=None):
        self.clock = HandClock()
        self.heard = []  # The time of each notice, and the notice.
        self.ready, self.changed = asyncio.Event(), asyncio.Event()
        self.watch = Watch(now=lambda: self.clock.up)
        self.line = "fine"
        self.at = {}  # What happens, by the second at which it does.
        self.start = self.clock.up
        monkeypatch.setattr(journal, "notify", self.notify)
        monkeypatch.setattr(journal, "watchdog_seconds", lambda: limit)

    def notify(self, **state):
        self.heard.append((self.now, state))

    @property
    def now(self):
        return round(self.clock.up - self.start, 3)

    async def sleep(self, seconds):
        await self.wait(asyncio.Event(), seconds)

    async def wait(self, event, seconds):
        end = self.now + seconds
        while not event.is_set():
            due = min([one for one in self.at if one <= end], default=None)
            if due is None:
                self.clock.move(end - self.now)
                break
            self.clock.move(due - self.now)
            self.at.pop(due)()
        await asyncio.sleep(0)

    def change(self, line):
        self.line = line
        self.changed.set()

    async def run(self, *, until):
        """Listen until this second."""
        self.ready.set()
        task = asyncio.create_task(self.notices())
        self.at[until] = task.cancel
        await asyncio.wait({task})

    def notices(self):
        return notify_systemd(
            ready=self.ready,
            changed=self.changed,
            watch=self.watch,
            status=lambda: self.line,
            wait=self.wait,
            sleep=self.sleep,
        )

    def lines(self):
        return [(at, state["STATUS"]) for at, state in self.heard if "STATUS" in state]

    def fed(self):
        return [at for at, state in self.heard if "WATCHDOG" in state]


@pytest.fixture
def systemd(monkeypatch):
    return Systemd(monkeypatch)


async def test_ready_is_sent_once_and_not_before_the_daemon_is_ready(systemd):
    task = asyncio.create_task(systemd.notices())
    await asyncio.sleep(0)
    assert systemd.heard == []
    task.cancel()
    await asyncio.wait({task})
    await systemd.run(until=50)
    ready, *others = [state for _, state in systemd.heard]
    assert ready == {"READY": "1", "WATCHDOG": "1", "STATUS": "fine"}
    assert others == [{"WATCHDOG": "1"}] * 2


@pytest.mark.parametrize(
    ("limit", "pause"), [(None, LONGEST_PAUSE), (30.0, 10.0), (600.0, 20.0), (1.5, 0.5)]
)
async def test_the_watchdog_is_fed_three_times_within_its_limit(monkeypatch, limit, pause):
    systemd = Systemd(monkeypatch, limit=limit)
    await systemd.run(until=3 * pause - 0.1)
    assert systemd.fed() == [0, pause, 2 * pause]


@pytest.mark.parametrize("limit", [0.5, 1.5, 60.0])
async def test_a_change_just_before_the_watchdog_is_due_does_not_delay_it_too_long(
    monkeypatch, limit
):
    systemd = Systemd(monkeypatch, limit=limit)
    systemd.at[limit / 3 - 0.01] = lambda: systemd.change("not connected")
    await systemd.run(until=2 * limit)
    assert max(later - earlier for earlier, later in pairwise(systemd.fed())) < 0.7 * limit


async def test_the_status_line_follows_a_change_within_a_second(systemd):
    systemd.at[7.3] = lambda: systemd.change("not connected")
    await systemd.run(until=29)
    assert systemd.lines() == [(0, "fine"), (8.3, "not connected")]
    # The next notice without a change comes after the usual pause.
    assert systemd.fed() == [0, 8.3, 28.3]


async def test_many_changes_make_one_notice_a_second_and_the_last_one_wins(systemd):
    for number in range(30):
        systemd.at[5 + number / 10] = lambda number=number: systemd.change(f"{number} waiting")
    await systemd.run(until=20)
    assert systemd.lines() == [
        (0, "fine"),
        (6, "10 waiting"),
        (7.1, "21 waiting"),
        (8.2, "29 waiting"),
    ]


async def test_a_change_during_the_first_second_is_not_lost(systemd):
    systemd.at[0.5] = lambda: systemd.change("connected")
    await systemd.run(until=5)
    assert systemd.lines() == [(0, "fine"), (1.5, "connected")]


async def test_stuck_readings_stop_the_feeding_and_are_logged_once(systemd, caplog):
    caplog.set_level("INFO")
    systemd.watch.expect(50.0)
    systemd.at[130.0] = lambda: systemd.watch.expect(1e9)
    await systemd.run(until=150)
    assert systemd.fed() == [0, 20, 40, 140]
    assert systemd.lines()[1:5] == [
        (at, "Stuck: readings are not processed") for at in (60, 80, 100, 120)
    ]
    assert caplog.text.count("has not finished in time") == 1
    assert caplog.text.count("Readings are processed again.") == 1


class Rig:
    """A watched sampler. Each of its steps can be made to hang."""

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
            sink=cast("Any", self),  # The sampler calls two methods of a sink.
            expect=self.expect,
            wait=self.wait,
        )

    def expect(self, seconds):
        assert not self.watch.stuck
        self.longest = max(self.longest, seconds)
        self.watch.expect(seconds)

    async def add(self, _reading, _taken):
        await self.step("keep")
        self.kept += 1

    def report(self, _properties):
        pass

    async def wait(self, _event, seconds):
        await self.step("wait")
        self.clock.move(seconds)

    async def step(self, name):
        if self.hang_in == name:
            self.hanging.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    def running(self):
        return running(self.sampler.run())


@pytest.mark.parametrize("interval", [5.0, 60.0, 86400.0])
async def test_a_working_sampler_never_counts_as_stuck(interval):
    rig = Rig(interval=interval)
    async with rig.running():
        await until(lambda: rig.kept >= 50)


@pytest.mark.parametrize(("step", "within"), [("keep", ADD_DEADLINE), ("wait", 60.0 + SLACK)])
async def test_a_hanging_sampler_counts_as_stuck(step, within):
    rig = Rig()
    async with rig.running():
        await until(lambda: rig.kept)
        rig.hang_in = step
        await rig.hanging.wait()
        rig.clock.move(within + 0.1)
        assert rig.watch.stuck


async def test_the_sampler_is_ready_after_its_first_attempt_even_if_it_failed():
    rig = Rig()
    assert not rig.sampler.attempted.is_set()
    async with rig.running():
        await rig.sampler.attempted.wait()
    assert rig.kept == 0  # The first answer of a DHT22 is not believed.


def test_the_watch_stands_still_while_the_machine_is_suspended():
    # systemd's watchdog counts CLOCK_MONOTONIC too.
    assert Watch()._now is time.monotonic
    assert watchdog.LONGEST_PAUSE * 3 <= 60


@pytest.fixture
def set_zone(monkeypatch):
    """Change the time zone, as the system does."""
    yield lambda zone: monkeypatch.setenv("TZ", zone)
    monkeypatch.undo()
    time.tzset()


CONNECTED = CloudPart(hub="hub.test", attempts=4, connections=3)
OFFLINE = CloudPart(hub=None, attempts=4, connections=3)
READ = Reading(21.5, 45.0), datetime(2026, 11, 22, 10, 1, 59, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("sensor", "last", "cloud", "line"),
    [
        ("ok", READ, CONNECTED, "21.5 °C, 45.0 % at 10:01; connected to hub.test; 12 waiting"),
        ("ok", READ, OFFLINE, "21.5 °C, 45.0 % at 10:01; not connected; 12 waiting"),
        ("ok", READ, None, "21.5 °C, 45.0 % at 10:01"),
        (
            "no_answer",
            READ,
            None,
            "the sensor gives no readings (no_answer); the last was 21.5 °C, 45.0 % at 10:01",
        ),
        ("busy", None, None, "the sensor gives no readings (busy)"),
        ("starting", None, CONNECTED, "no reading yet; connected to hub.test; 12 waiting"),
    ],
)
def test_the_status_line(set_zone, sensor, last, cloud, line):
    set_zone("UTC0")
    assert status_line(sensor, last, cloud, waiting=12, unit="celsius") == line


def test_the_status_line_has_temperatures_in_the_configured_unit(set_zone):
    set_zone("UTC0")
    line = status_line("ok", READ, None, waiting=0, unit="fahrenheit")
    assert line.startswith("70.7 °F, 45.0 % at ")
