"""Rules over an hour of simulated time, compared with a reference that sees all readings at once.

Short here; `make soak` takes 1,000 devices at one message a second for an hour. Some devices lose
their connection for a while and send what they kept beside their new readings, in order or not,
and some of it twice. Central is killed now and then. Everything follows from a seed.
"""

import asyncio
import itertools
import json
import os
import random
import resource
import time
from array import array
from dataclasses import dataclass, field

import pytest

from central.events import Events
from central.records import Condition, Message, PropertyValue, Rule, Silence, Threshold
from central.rules.alerts import Alerts
from central.storage import rules, telemetry
from central.storage.registry import Registry
from central.storage.store import Store

DEVICES = int(os.environ.get("RULES_DEVICES", "40"))
SECONDS = int(os.environ.get("RULES_SECONDS", "600"))
SEED = int(os.environ.get("SOAK_SEED") or "1")
START = 1_800_000_000
NONE = -32768  # In the place of a reading that has not arrived.
SILENT = 30, 90  # Seconds of the rules about silence.
CHECKS = 70  # Seconds by which an alert about silence may be late: central was killed.
FAULT = PropertyValue("sensorStatus", ("ok",), negated=True, seconds=20.0)
GROUP_KEY = "QSBncm91cCBrZXkgb2Ygc29tZSBsZW5ndGg="

# Values are multiples of a half, so that many are exactly at a limit or a margin.
THRESHOLDS = [
    Threshold("temp", above=above, limit=limit, margin=margin, seconds=seconds)
    for above, limit in [(True, 30.0), (True, 33.0), (False, 0.0), (False, -4.0)]
    for margin, seconds in [(0.0, 0.0), (0.0, 30.0), (2.0, 0.0), (1.5, 60.0)]
] + [Threshold("humid", above=True, limit=70.0, margin=5.0, seconds=10.0)]


@dataclass
class Device:
    """What a device measures and sends, and what has arrived of it, in half units by second."""

    id: str
    chance: random.Random
    temp: int
    humid: int = 120
    is_restless: bool = False
    away_until: int = -1
    backlog: list[tuple[int, int, int]] = field(default_factory=list)
    shuffles: bool = False
    temps: "array[int]" = field(default_factory=lambda: array("h", [NONE] * SECONDS))
    humids: "array[int]" = field(default_factory=lambda: array("h", [NONE] * SECONDS))
    heard: list[int] = field(default_factory=list)
    reports: list[tuple[int, str]] = field(default_factory=list)
    was_late: bool = False

    def measure(self, second: int) -> tuple[int, int, int]:
        """Return a reading. Most devices measure nothing that a rule is about."""
        step = 3 if self.is_restless else 1
        self.temp += self.chance.randint(-step, step)
        self.humid += self.chance.randint(-step, step)
        low, high = (-14, 70) if self.is_restless else (30, 50)
        self.temp = min(max(self.temp, low), high)
        self.humid = min(max(self.humid, 100), 150 if self.is_restless else 130)
        return second, self.temp, self.humid

    def sent(self, second: int) -> list[tuple[int, int, int]]:
        """Return the readings that arrive in a second, in their order."""
        reading = self.measure(second)
        if second > self.away_until and self.chance.random() < 0.5 / SECONDS:
            self.away_until = second + self.chance.randint(5, SECONDS // 5)
            self.shuffles = self.chance.random() < 0.3
        if second <= self.away_until:
            self.backlog.append(reading)
            return []
        late = []
        for _ in range(min(5, len(self.backlog))):
            place = self.chance.randrange(len(self.backlog)) if self.shuffles else 0
            late.append(self.backlog[place])
            if self.chance.random() > 0.1:  # Else it is sent again later.
                del self.backlog[place]
        self.was_late = self.was_late or bool(late)
        arriving = [reading, *late]
        if self.is_restless and self.chance.random() < 0.01:
            arriving.append(reading)
        for at, temp, humid in arriving:
            self.temps[at], self.humids[at] = temp, humid
        self.heard.append(second)
        return arriving


class Simulation:
    """A central without a network, whose clock is set, and its devices."""

    def __init__(self, path):
        self.now = float(START)
        self.store = Store(path)
        self.registry = Registry(self.store, group_key=GROUP_KEY, clock=lambda: self.now)
        chance = random.Random(SEED)  # noqa: S311 - to be repeated
        self.devices = [
            Device(
                f"pi-{number:04}",
                random.Random(chance.random()),  # noqa: S311 - to be repeated
                temp=chance.randint(30, 50),
                is_restless=number % 10 == 0,
            )
            for number in range(DEVICES)
        ]
        for device in self.devices:
            self.registry.add_device(device.id)
        self.chance = chance
        self.seen = {}
        self.messages = 0
        conditions: list[Condition] = [
            *THRESHOLDS,
            *(Silence(float(seconds)) for seconds in SILENT),
            FAULT,
        ]
        self.rules = [
            self.store.call(rules.add_rule, Rule(0, 0, f"Rule {n}", True, self.now, condition))
            for n, condition in enumerate(conditions)
        ]
        self.restart()

    def restart(self):
        """Go on judging as a central does that was killed before."""
        self.seen = {}
        self.alerts = Alerts(
            self.store,
            Events(),
            clock=lambda: self.now,
            last_seen=self.seen.get,
            keep_days=30.0,
        )

    async def run(self):
        for second in range(SECONDS):
            self.now = float(START + second)
            arriving = [(device, device.sent(second)) for device in self.devices]
            await asyncio.to_thread(self.store.call, self._record, arriving)
            for device in self.devices:
                await self._report(device, second)
            if self.chance.random() < 3 / SECONDS:
                self.restart()
            while await self.alerts.judge():
                pass
        await self._settle()

    async def _settle(self):
        """Let what only time changes be judged a last time."""
        for _ in range(4):
            self.now += 6.0
            for device in self.devices:
                self.seen[device.id] = self.now
            while await self.alerts.judge():
                pass

    def _record(self, db, arriving):
        for device, readings in arriving:
            for at, temp, humid in readings:
                body = json.dumps({"temp": temp / 2, "humid": humid / 2}).encode()
                created = float(START + at)
                telemetry.add_message(db, Message(0, device.id, self.now, created, body, {}, {}))
                self.messages += 1
            if readings:
                self.seen[device.id] = self.now

    async def _report(self, device, second):
        if device.is_restless and second > device.away_until and device.chance.random() < 0.02:
            status = device.chance.choice(["ok", "ok", "failed", "busy"])
            device.reports.append((second, status))
            await self.registry.patch_reported(device.id, {"sensorStatus": status})


def events(condition, values):
    """Return the events in all readings of a device: when each begins, fires and ends."""
    found = []
    since, fired = None, False
    for second, half in enumerate(values):
        if half == NONE:
            continue
        value = half / 2
        distance = value - condition.limit if condition.above else condition.limit - value
        if distance > 0:
            since = second if since is None else since
            if not fired and second - since >= condition.seconds:
                fired = True
                found.append([since, second, None])
        else:
            since = None
            if fired and distance <= -condition.margin:
                fired = False
                found[-1][2] = second
    return found


def property_events(reports):
    """Return when a fault has lasted for its time, and when it is over."""
    found, since = [], None
    for second, status in [*reports, (SECONDS + 20, None)]:
        if since is not None and status in {"ok", None}:
            if second - since >= FAULT.seconds:
                found.append([since + FAULT.seconds, second if status else None])
            since = None
        elif since is None and status not in {"ok", None}:
            since = second
    return found


def end_of(end):
    return float("inf") if end is None else end


def check_threshold(condition, device, alerts):
    values = device.temps if condition.telemetry == "temp" else device.humids
    expected = events(condition, values)
    if not device.was_late:
        assert alerts == [[fired, end] for _, fired, end in expected]
        return
    for (_, end), (start, _) in itertools.pairwise(alerts):
        assert end_of(end) <= start
    for begins, fires, ends in expected:
        around = [a for a in alerts if a[0] < end_of(ends) and fires < end_of(a[1])]
        assert around, "missed"
        fired = [a for a in alerts if begins <= a[0] < end_of(ends)]
        assert len(fired) <= 1, "twice"


def check_silence(seconds, device, alerts):
    heard = [*device.heard, SECONDS + 5]
    gaps = [(a, b) for a, b in itertools.pairwise(heard) if b - a > seconds]
    for start, end in gaps:
        fired = [a for a in alerts if start < a[0] < end]
        assert len(fired) <= 1, "twice"
        assert fired or end - start <= seconds + CHECKS, "missed"
    assert all(any(start < fired < end for start, end in gaps) for fired, _ in alerts)


@pytest.mark.timeout(120 + DEVICES * SECONDS / 600)
async def test_no_event_is_missed_and_none_makes_two_alerts(tmp_path):
    begun = time.monotonic()
    simulation = Simulation(tmp_path / "central.db")
    await simulation.run()
    taken = time.monotonic() - begun
    found: dict[tuple[int, str], list[list[float | None]]] = {}
    rows = simulation.store.read(
        lambda db: db.execute("SELECT rule, device_id, fired, returned FROM alerts").fetchall()
    )
    for rule, device_id, fired, returned in rows:
        end = None if returned is None else returned - START
        found.setdefault((rule, device_id), []).append([fired - START, end])
    for rule in simulation.rules:
        for device in simulation.devices:
            alerts = sorted(found.get((rule.number, device.id), []))
            try:
                if isinstance(rule.condition, Threshold):
                    check_threshold(rule.condition, device, alerts)
                elif isinstance(rule.condition, Silence):
                    check_silence(rule.condition.seconds, device, alerts)
                else:
                    assert alerts == property_events(device.reports)
            except AssertionError as error:
                error.add_note(f"seed {SEED}, {device.id}, {rule.condition}")
                raise
    late = sum(device.was_late for device in simulation.devices)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{DEVICES} devices, {SECONDS} s simulated: {simulation.messages} messages, "
        f"{len(rows)} alerts, {late} devices with late readings; {taken:.0f} s, {peak:.0f} MB"
    )
    assert rows
    simulation.store.close()
