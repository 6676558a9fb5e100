"""Judges what is recorded of devices by the rules, and records the alerts.

Messages and reported properties are judged after they are recorded and acknowledged, in the order
of their arrival and in another thread, from one committed state of the database. Alerts, states and
how far was judged are then stored in one transaction. So a central that is killed continues from
there: it neither loses an alert nor makes one twice.
"""

import asyncio
import heapq
import itertools
import json
import logging
import math
import sqlite3
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path

from central.errors import StoreError, UnknownDevice
from central.events import Events
from central.protocol.twins import Document, parse_json
from central.records import (
    Device,
    Event,
    MissingReadings,
    PropertyValue,
    Rule,
    Silence,
    Threshold,
)
from central.rules import conditions
from central.rules.conditions import Fired, Outcome, Reading, Returned, State, Value
from central.storage import devices, fleet, rules
from central.storage.rules import Ended, Judged, Opened
from central.storage.store import Store
from central.storage.telemetry import MAX_FIELDS

DAY = 86400.0
CHECKED = 5.0  # Seconds between two checks of what only time changes.
SUSPENDED = 30.0  # Seconds between two checks from which on central is taken to have been absent.
SAVED = 60.0  # Seconds after which progress is stored without an alert, too.
GATHERED = 0.25  # Seconds for which new messages are gathered.
AT_ONCE = 1000  # Messages judged in one go.
MOST_REPORTED = 100  # Different sentences about defects.
COMPONENT = '"component"'  # Only a message with this is from a component.
AHEAD = 60.0  # Seconds by which a device's clock may be ahead; else the time of receipt counts.

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Watch:
    """A rule that is judged for a device."""

    rule: Rule
    device_id: str
    state: State
    value: Value = None  # Of the property, if the rule is about one.


@dataclass(slots=True)
class Track:
    """A number that a device sends, and the rules about it."""

    watches: list[tuple[Threshold, Watch]] = field(default_factory=list)
    newest: float | None = None  # Time of the newest reading; None if it was not looked up yet.
    floor: float = -math.inf  # Numbers from floor to ceiling are inside of all limits and margins.
    ceiling: float = math.inf
    is_calm: bool = False  # No limit is exceeded, and no alert is open.

    def add(self, condition: Threshold, watch: Watch) -> None:
        """Add a rule about this number."""
        self.watches.append((condition, watch))
        if condition.above:
            self.ceiling = min(self.ceiling, conditions.end_of(condition))
        else:
            self.floor = max(self.floor, conditions.end_of(condition))

    def is_inside(self, value: float) -> bool:
        """Return whether a number is inside of all limits and margins."""
        return self.floor <= value <= self.ceiling


@dataclass
class Watches:
    """The rules of all devices. Lists are by device."""

    tracks: dict[str, dict[str, dict[str, Track]]]  # By device, component and name.
    properties: dict[str, list[tuple[PropertyValue, Watch]]] = field(default_factory=dict)
    silence: list[tuple[Silence, Watch]] = field(default_factory=list)
    missing: list[tuple[MissingReadings, Watch]] = field(default_factory=list)
    heard: dict[str, float] = field(default_factory=dict)  # Before central was started.


@dataclass
class Batch:
    """What was found out and is not stored yet."""

    changed: dict[int, Watch] = field(default_factory=dict)
    outcomes: list[Opened | Ended] = field(default_factory=list)
    devices: set[str] = field(default_factory=set)  # Those of the outcomes.
    failures: list[tuple[Watch, Exception]] = field(default_factory=list)
    report: int = 0

    def apply(self, watch: Watch, judge: Callable[[State], Outcome]) -> None:
        """Judge with the state of a watch, and note what is another than before.

        A rule that cannot be judged is left as it was, and the others are judged.
        """
        state = watch.state
        since, fired, base = state.since, state.fired, state.base
        try:
            outcome = judge(state)
        except sqlite3.Error:
            raise  # All is tried again.
        except Exception as error:  # noqa: BLE001 - whatever a message leads to
            state.since, state.fired, state.base = since, fired, base
            self.failures.append((watch, error))
            return
        if outcome is not None or state.since != since or state.base != base:
            self.note(watch, outcome)

    def note(self, watch: Watch, outcome: Outcome) -> None:
        """Note that a state has changed, and perhaps an alert."""
        self.changed[id(watch)] = watch
        if outcome is None:
            return
        self.devices.add(watch.device_id)
        if isinstance(outcome, Fired):
            self.outcomes.append(
                Opened(watch.rule, watch.device_id, outcome.value, outcome.at, outcome.returned)
            )
        else:
            self.outcomes.append(Ended(watch.rule, watch.device_id, outcome.fired, outcome.at))


class Alerts:
    """The rules at work.

    `last_seen` returns when a device was last heard from since central was started, or None.
    """

    def __init__(
        self,
        store: Store,
        events: Events,
        *,
        clock: Callable[[], float],
        last_seen: Callable[[str], float | None],
        keep_days: float,
    ) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._last_seen = last_seen
        self._keep = keep_days * DAY
        self._woken = asyncio.Event()
        self._stale = True  # Rules or devices were changed.
        self._reported: set[tuple[object, ...]] = set()
        # The rest belongs to the thread that judges.
        self._watches = Watches({})
        self._revisions: dict[int, int] = {}
        self._message = 0
        self._is_new = True
        self._checked: float | None = None
        self._saved = 0.0
        self._alerted: set[str] = set()  # Devices that have alerts, of whatever time.
        self._received: set[str] = set()  # Devices whose missing readings are to be counted again.

    async def run(self) -> None:
        """Judge whatever is recorded, until cancelled."""
        self._events.listen(self._on_event)
        try:
            while True:
                self._woken.clear()
                if not await self.judge():
                    with suppress(TimeoutError):  # Silence of a device makes no event.
                        async with asyncio.timeout(CHECKED):
                            await self._woken.wait()
                    await asyncio.sleep(GATHERED)
        finally:
            self._events.unlisten(self._on_event)

    def changed(self) -> None:
        """Read the rules again: they were changed."""
        self._stale = True
        self._woken.set()
        self._events.publish(Event("alerts", ""))

    def _on_event(self, event: Event) -> None:
        if event.kind == "device":
            self._stale = True
        self._woken.set()

    async def judge(self) -> bool:
        """Judge what was recorded since the last time; return whether there is more."""
        stale, self._stale = self._stale, False
        try:
            judged, more = await asyncio.to_thread(
                self._store.read, self._judge, self._clock(), stale=stale
            )
            if judged is None:
                return more
            if not await self._store.run(rules.save, judged):
                self._stale = True
                return True
        except (StoreError, UnknownDevice) as error:
            log.warning("Cannot judge the rules: %s It is tried again.", error)
            self._stale = True  # What is in memory may be more than what is stored.
            return False
        except Exception as error:  # noqa: BLE001 - the task goes on
            self._report("Cannot judge the rules: %s. It is tried again.", _place_of(error))
            self._stale = True
            return False
        self._is_new = False
        if judged.outcomes:
            self._events.publish(Event("alerts", ""))
        return more

    def _judge(
        self, db: sqlite3.Connection, now: float, *, stale: bool
    ) -> tuple[Judged | None, bool]:
        batch = Batch()
        if stale:
            self._load(db, batch, now)
        self._judge_reports(db, batch)
        if stale:
            self._judge_twins(db, batch, now)
        more = self._judge_messages(db, batch, now)
        if stale or self._checked is None or not 0 <= now - self._checked < CHECKED:
            self._judge_time(db, batch, now)
        for watch, error in batch.failures:
            why = _place_of(error)
            self._report("Cannot judge the rule %r: %s. Others are judged.", watch.rule.name, why)
        if not (batch.changed or batch.outcomes or batch.report or now - self._saved >= SAVED):
            return None, more
        self._saved = now
        self._alerted |= batch.devices
        states = tuple(
            (each.rule, each.device_id, each.state.since, each.state.base)
            for each in batch.changed.values()
        )
        outcomes = tuple(batch.outcomes)
        return Judged(now, self._revisions, self._message, batch.report, states, outcomes), more

    def _report(self, text: str, *about: object) -> None:
        """Log what a defect of the rules led to, once: it may be so for each message."""
        if (text, about) not in self._reported and len(self._reported) < MOST_REPORTED:
            self._reported.add((text, about))
            log.error(text, *about)

    @contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        """Report whatever is raised, and go on; a failing database ends the batch."""
        try:
            yield
        except sqlite3.Error:  # All is tried again.
            raise
        except Exception as error:  # noqa: BLE001 - nothing that arrives ends the task
            self._report(
                "Cannot judge %s by the rules: %s. The rest is judged.", what, _place_of(error)
            )

    # Rules and devices

    def _load(self, db: sqlite3.Connection, batch: Batch, now: float) -> None:
        """Read rules and states, and where judging continues."""
        progress = rules.progress(db)
        self._message = progress.message
        if self._is_new:
            self._checked = progress.at
        everything = rules.all_rules(db)
        self._revisions = {rule.number: rule.revision for rule in everything}
        known = {device.id: device for device in devices.get_all(db)}
        states: dict[tuple[int, str], State] = {}
        for stored in rules.stored_states(db):
            state = states.setdefault((stored.rule, stored.device_id), State())
            if stored.fired is None:
                state.since, state.base = stored.since, stored.base
            else:
                state.fired = stored.fired
        watches = Watches({device_id: {} for device_id in known})
        for rule in everything:
            if not rule.enabled:
                continue
            for device_id in _devices_of(db, rule, known):
                state = states.pop((rule.number, device_id), State())
                if isinstance(rule.condition, Silence) and not known[device_id].enabled:
                    states[rule.number, device_id] = state
                else:
                    _watch(watches, Watch(rule, device_id, state))
        by_number = {rule.number: rule for rule in everything}
        for (number, device_id), state in states.items():  # The rule is no longer for the device.
            watch = Watch(by_number[number], device_id, State())
            fired = state.fired
            batch.note(watch, None if fired is None else Returned(fired, max(now, fired)))
        if watches.silence:
            watches.heard = rules.last_heard(db)
        self._watches = watches
        self._alerted = rules.devices_with_alerts(db)
        self._received = set(known)

    # Messages

    def _judge_messages(self, db: sqlite3.Connection, batch: Batch, now: float) -> bool:
        """Judge the messages that follow, and return whether there may be more."""
        horizon = now - self._keep
        count = 0
        for number, device_id, received, created, body, system in db.execute(
            "SELECT number, device_id, received, created, body, system FROM messages"
            " WHERE number > ? ORDER BY number LIMIT ?",
            (self._message, AT_ONCE),
        ):
            components = self._watches.tracks.get(device_id)
            if components is None:  # The device was added a moment ago.
                self._stale = True
                return True
            count += 1
            if components:
                time = received if created is None or created > received + AHEAD else created
                component = json.loads(system).get("component", "") if COMPONENT in system else ""
                message = Arrived(number, device_id, component, time)
                with self._reporting("a message"):
                    readings = _readings(body, components.get(component))
                    if not self._judge_readings(db, batch, message, readings, horizon):
                        return True
            self._received.add(device_id)
            self._message = number
        return count == AT_ONCE

    def _judge_readings(
        self,
        db: sqlite3.Connection,
        batch: Batch,
        message: "Arrived",
        readings: list[tuple[str, Track, float]],
        horizon: float,
    ) -> bool:
        """Judge the numbers in a message. Return False if the batch must be stored before."""
        time = message.time
        for name, track, _ in readings:
            if track.newest is None:
                track.newest = _newest_before(db, message, name)
            if time <= track.newest and message.device_id in batch.devices:
                return False  # A late reading is compared with the alerts that are stored.
        for name, track, value in readings:
            newest = track.newest if track.newest is not None else -math.inf
            if time > newest:
                track.newest = time
                if not (track.is_calm and track.floor <= value <= track.ceiling):
                    _judge_newest(batch, track, time, value)
            elif time < newest and time >= horizon:
                self._judge_late(db, batch, message, name, track, value)
        return True

    def _judge_late(
        self,
        db: sqlite3.Connection,
        batch: Batch,
        message: "Arrived",
        name: str,
        track: Track,
        value: float,
    ) -> None:
        around = Readings(db, message, name)
        if around.has_same_time():
            return
        if track.is_calm and message.device_id not in self._alerted and track.is_inside(value):
            before = next(around.earlier(), None)
            if before is None or track.is_inside(before[1]):
                return  # As almost always. The rules need not be asked one by one.
        track.is_calm = False
        for condition, watch in track.watches:
            if message.time >= watch.rule.since:
                history = WatchHistory(around, watch.rule)
                judge = partial(
                    conditions.judge_late,
                    condition,
                    time=message.time,
                    value=value,
                    history=history,
                )
                batch.apply(watch, judge)

    # Properties

    def _judge_reports(self, db: sqlite3.Connection, batch: Batch) -> None:
        for number, device_id, at, change in rules.reported_changes(db):
            batch.report = number
            for condition, watch in self._watches.properties.get(device_id, ()):
                with self._reporting("what a device reported"):
                    if _mentions(change, condition.property):
                        self._judge_property(batch, condition, watch, change, at)

    def _judge_twins(self, db: sqlite3.Connection, batch: Batch, now: float) -> None:
        """Judge the present properties by rules that are new."""
        for device_id, watches in self._watches.properties.items():
            twin = devices.get_twin(db, device_id)
            for condition, watch in watches:
                place = condition.property.partition("*")[0]
                at = min(now, twin.reported_times.get(place, now))
                self._judge_property(batch, condition, watch, twin.reported, at)

    def _judge_property(
        self,
        batch: Batch,
        condition: PropertyValue,
        watch: Watch,
        document: Document,
        at: float,
    ) -> None:
        watch.value = value = _value_in(document, condition.property)
        batch.apply(watch, partial(conditions.judge_property, condition, value=value, at=at))

    # What only time changes

    def _judge_time(self, db: sqlite3.Connection, batch: Batch, now: float) -> None:
        away = 0.0 if self._checked is None else now - self._checked
        absent = away if self._is_new or away > SUSPENDED else 0.0
        self._checked = now
        for silence, watch in self._watches.silence:
            self._judge_silence(batch, silence, watch, now, absent)
        for watches in self._watches.properties.values():
            for value, watch in watches:
                if watch.state.since is not None:
                    judge = partial(conditions.judge_property, value, value=watch.value, at=now)
                    batch.apply(watch, judge)
        counts: dict[str, int] = {}
        for missing, watch in self._watches.missing:
            device_id = watch.device_id
            if device_id in self._received or watch.state.since is not None:
                if device_id not in counts:
                    counts[device_id] = rules.missing_readings(db, device_id)
                _judge_missing(batch, missing, watch, counts[device_id], now)
        self._received.clear()

    def _judge_silence(
        self, batch: Batch, condition: Silence, watch: Watch, now: float, absent: float
    ) -> None:
        """Judge how long a device has been silent.

        The seconds in which central itself was `absent` do not count: it did not run, was
        suspended, or its clock was set.
        """
        before, seen = self._watches.heard.get(watch.device_id), self._last_seen(watch.device_id)
        heard = max((at for at in (before, seen) if at is not None), default=None)
        if heard is None:
            return  # It has never connected.
        if absent and watch.state.fired is None:
            watch.state.base = max(heard, watch.state.base or heard) + absent
            batch.note(watch, None)
        batch.apply(watch, partial(conditions.judge_silence, condition, heard=heard, now=now))


def _place_of(error: Exception) -> str:
    """Return where a defect is, for the log, without anything that a device sent."""
    *_, frame = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"


def _judge_newest(batch: Batch, track: Track, time: float, value: float) -> None:
    """Judge a reading that is newer than all before it."""
    is_calm = True
    for condition, watch in track.watches:
        if time >= watch.rule.since:
            state = watch.state
            batch.apply(watch, partial(conditions.judge, condition, time=time, value=value))
            is_calm = is_calm and state.since is None and state.fired is None
    track.is_calm = is_calm


def _judge_missing(
    batch: Batch, condition: MissingReadings, watch: Watch, count: int, now: float
) -> None:
    batch.apply(watch, partial(conditions.judge_missing, condition, count=count, now=now))


def _devices_of(db: sqlite3.Connection, rule: Rule, known: Mapping[str, Device]) -> Iterable[str]:
    """Return the devices that a rule is for."""
    found: Iterable[str] = known
    if rule.tags or rule.devices:
        chosen = {device_id for tag in rule.tags for device_id in fleet.tagged(db, tag)}
        found = [each for each in known if each in chosen or each in rule.devices]
    condition = rule.condition
    if isinstance(condition, Threshold) and condition.templates:
        return [each for each in found if known[each].template in condition.templates]
    return found


def _watch(watches: Watches, watch: Watch) -> None:
    """Add a watch where it is looked for."""
    condition, device_id = watch.rule.condition, watch.device_id
    if isinstance(condition, Threshold):
        component, _, name = condition.telemetry.rpartition("*")
        tracks = watches.tracks[device_id].setdefault(component, {})
        tracks.setdefault(name, Track()).add(condition, watch)
    elif isinstance(condition, PropertyValue):
        watches.properties.setdefault(device_id, []).append((condition, watch))
    elif isinstance(condition, Silence):
        watches.silence.append((condition, watch))
    else:
        watches.missing.append((condition, watch))


# Readings


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message that is judged, without its body."""

    number: int
    device_id: str
    component: str
    time: float  # When it was created, or else received.


def _readings(body: bytes, tracks: dict[str, Track] | None) -> list[tuple[str, Track, float]]:
    """Return the numbers in a message that there are rules about."""
    if not tracks:
        return []
    try:
        values = parse_json(body)
    except ValueError:
        return []
    if not isinstance(values, dict):
        return []
    if len(values) > MAX_FIELDS:  # The others are not stored, and a late one is not compared.
        values = dict(itertools.islice(values.items(), MAX_FIELDS))
    found = []
    for name, track in tracks.items():
        number = _number(values.get(name))
        if number is not None:
            found.append((name, track, number))
    return found


def _number(value: object) -> float | None:
    """Return a JSON value as a finite number, or None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


# The readings that arrived before a message. The primary key leads to them. 60 is AHEAD.
AROUND = """
    SELECT time, value, number FROM telemetry
    WHERE device_id = ? AND component = ? AND name = ? AND time {0} ? AND number < ?
    AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.number = telemetry.number
     AND created > received + 60)
    ORDER BY time {1}, number {1}
"""
# The same for those from a clock that was ahead. The index `messages_ahead` leads to them.
AROUND_AHEAD = """
    SELECT received, value, number FROM messages JOIN telemetry USING (device_id, number)
    WHERE device_id = ? AND component = ? AND name = ? AND received {0} ? AND number < ?
    AND created > received + 60 AND time = created
    ORDER BY received {1}, number {1}
"""


class Readings:
    """The readings of one name around a message that arrived late."""

    def __init__(self, db: sqlite3.Connection, message: Arrived, name: str) -> None:
        self.db = db
        self.message = message
        self._key = message.device_id, message.component, name, message.time, message.number

    def has_same_time(self) -> bool:
        """Return whether an earlier message has a reading of the same time."""
        return next(self._select("=", ""), None) is not None

    def earlier(self) -> Iterator[Reading]:
        """Return the older readings, newest first."""
        return self._select("<", "DESC")

    def later(self) -> Iterator[Reading]:
        """Return the newer readings, oldest first."""
        return self._select(">", "")

    def _select(self, which: str, order: str) -> Iterator[Reading]:
        """Return one reading of each time: the first number that arrived."""
        found = [
            self.db.execute(query.format(which, order), self._key)
            for query in (AROUND, AROUND_AHEAD)
        ]
        rows = heapq.merge(*found, key=itemgetter(0), reverse=bool(order))
        for time, of_time in itertools.groupby(rows, key=itemgetter(0)):
            for _, text, _ in sorted(of_time, key=itemgetter(2)):
                number = _number(json.loads(text))
                if number is not None:
                    yield time, number
                    break


class WatchHistory:
    """What a rule knows around a late reading: readings since the rule was made, and alerts."""

    def __init__(self, around: Readings, rule: Rule) -> None:
        self._around = around
        self._rule = rule

    def earlier(self) -> Iterator[Reading]:
        since = self._rule.since
        return itertools.takewhile(lambda reading: reading[0] >= since, self._around.earlier())

    def later(self) -> Iterator[Reading]:
        return self._around.later()

    def has_alert(self, first: float, end: float) -> bool:
        device_id = self._around.message.device_id
        return rules.has_alert(self._around.db, self._rule.number, device_id, first, end)

    def alert_at_reading(self) -> tuple[float, float] | None:
        message = self._around.message
        return rules.alert_at(self._around.db, self._rule.number, message.device_id, message.time)

    def next_alert(self) -> float:
        message = self._around.message
        found = rules.next_alert(
            self._around.db, self._rule.number, message.device_id, message.time
        )
        return math.inf if found is None else found


def _newest_before(db: sqlite3.Connection, message: Arrived, name: str) -> float:
    """Return the time of the newest reading that arrived before a message; -infinity if none."""
    until = Arrived(message.number, message.device_id, message.component, math.inf)
    return next((time for time, _ in Readings(db, until, name).earlier()), -math.inf)


# Properties


def _place(name: str) -> tuple[str, str]:
    """Return the component (or an empty text) and the name of a property."""
    component, _, plain = name.rpartition("*")
    return component, plain


def _mentions(change: Document, name: str) -> bool:
    """Return whether a patch changes or removes a property."""
    component, plain = _place(name)
    if not component:
        return plain in change
    if component not in change:
        return False
    part = change[component]
    return not isinstance(part, dict) or plain in part


def _value_in(document: Document, name: str) -> Value:
    """Return the value of a property; None if it has none, or one that is not simple."""
    component, plain = _place(name)
    part = document.get(component) if component else document
    value = part.get(plain) if isinstance(part, dict) else None
    if isinstance(value, dict) and "ac" in value:  # A writable property, as acknowledged.
        value = value.get("value")
    return value if isinstance(value, str | int | float) else None
