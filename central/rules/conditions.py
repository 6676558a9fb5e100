"""Judges whether a device fulfils the condition of a rule. No clock and no I/O: times are given.

There is a `State` for each rule and device, which may be stored and loaded at any time. Each
function changes it, and returns what happened: an alert is made (Fired), or one ends (Returned).
An alert lasts from `fired` to `returned`; the alerts of one rule and device do not
overlap.

Readings are judged by their own time, in whatever order they arrive. Two readings of one time are
one, and the first that arrived counts. An event is a stretch of time, in all readings sorted by
their time, from where the condition is fulfilled to the next reading inside of limit and margin.

What a late reading, one older than the newest, can do:

 - It can show an event that no alert overlaps. Then an alert is made, dated in the past. If the
   event was over before the newest reading, the alert has ended already.
 - It can end an alert at its own time, if no later reading of that alert is beyond the limit.
 - It can shorten or extend the time for which the limit has been exceeded so far.

What it cannot do: It makes no second alert for an event that has one, even if it shows that the
event began earlier or was several. It neither removes an alert nor changes when it was fired.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from central.records import MissingReadings, PropertyValue, Silence, Threshold

Value = str | float | bool | None
Reading = tuple[float, float]  # Time and value.


@dataclass(slots=True)
class State:
    """What is known of one rule and device."""

    since: float | None = None  # From when on the condition is fulfilled, until an alert is made.
    fired: float | None = None  # When the open alert was fired.
    base: float | None = None  # Silence: counted from then. Missing readings: the number accepted.


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert is made. With `returned`, it has ended already."""

    at: float
    value: Value
    returned: float | None = None


@dataclass(frozen=True, slots=True)
class Returned:
    """The alert that was fired at `fired` ends. If it had an end, this is an earlier one."""

    fired: float
    at: float


Outcome = Fired | Returned | None


class History(Protocol):
    """Around one late reading: the readings that arrived before it, and the alerts of the rule."""

    def earlier(self) -> Iterator[Reading]:
        """Return the readings that are older, newest first."""
        ...

    def later(self) -> Iterator[Reading]:
        """Return the readings that are newer, oldest first."""
        ...

    def has_alert(self, first: float, end: float) -> bool:
        """Return whether there is an alert at any time from `first` until before `end`."""
        ...

    def alert_at_reading(self) -> tuple[float, float] | None:
        """Return the alert at the time of the reading: when it was fired, and its end.

        The end is infinity if it is open.
        """
        ...

    def next_alert(self) -> float:
        """Return when the first alert after the reading was fired; infinity if there is none."""
        ...


# Numbers in readings


def is_beyond(condition: Threshold, value: float) -> bool:
    """Return whether a number exceeds the limit."""
    return value > condition.limit if condition.above else value < condition.limit


def is_back(condition: Threshold, value: float) -> bool:
    """Return whether a number is inside of limit and margin. It may be neither this nor beyond."""
    return value <= end_of(condition) if condition.above else value >= end_of(condition)


def end_of(condition: Threshold) -> float:
    """Return the number at which an alert ends: the margin inside of the limit."""
    margin = -condition.margin if condition.above else condition.margin
    return float(f"{condition.limit + margin:.15g}")  # 0.1 + 0.2 is 0.3, as it was entered.


def has_lasted(condition: Threshold, since: float, time: float) -> bool:
    """Return whether the time from one reading to another is long enough for an alert."""
    # Times of today are exact to a quarter of a microsecond: 60 s may be computed as 59.9999998.
    return round(time - since, 6) >= condition.seconds


def judge(condition: Threshold, state: State, time: float, value: float) -> Outcome:
    """Judge a reading that is newer than all before it."""
    if is_beyond(condition, value):
        if state.fired is not None:
            return None
        if state.since is None:
            state.since = time
        if not has_lasted(condition, state.since, time):
            return None
        state.since, state.fired = None, time
        return Fired(time, value)
    state.since = None
    if state.fired is None or not is_back(condition, value):
        return None
    fired, state.fired = state.fired, None
    return Returned(fired, time)


def judge_late(
    condition: Threshold, state: State, time: float, value: float, history: History
) -> Outcome:
    """Judge a reading that is older than the newest, and of another time than all others."""
    if is_beyond(condition, value):
        return _judge_late_beyond(condition, state, time, value, history)
    if state.since is not None and state.since < time:
        # They are all beyond the limit. There is none if they were deleted meanwhile.
        state.since = next((at for at, _ in history.later()), None)
    if not is_back(condition, value):
        return None
    alert = history.alert_at_reading()
    if alert is None:
        return _separate(condition, time, history)
    return _end_earlier(condition, state, time, alert, history)


def _judge_late_beyond(
    condition: Threshold, state: State, time: float, value: float, history: History
) -> Outcome:
    """Find the event that a late reading beyond the limit belongs to, if it has no alert."""
    if history.alert_at_reading() is not None:
        return None
    since = _begin_of_run(condition, time, history)
    fired = Fired(time, value) if has_lasted(condition, since, time) else None
    next_alert = history.next_alert()
    for at, number in history.later():
        if at >= next_alert:
            return None  # The same event: it began earlier than was known.
        if fired is not None:
            if is_back(condition, number):
                return replace(fired, returned=at)
        elif not is_beyond(condition, number):
            return None
        elif has_lasted(condition, since, at):
            fired = Fired(at, number)
    if fired is None:
        state.since = since
        return None
    state.since, state.fired = None, fired.at
    return fired


def _begin_of_run(condition: Threshold, time: float, history: History) -> float:
    """Return from when on all readings up to a late one are beyond the limit, if it matters."""
    since = time
    for at, number in history.earlier():
        # An earlier event in these readings had its alert when they arrived.
        if has_lasted(condition, since, time) or not is_beyond(condition, number):
            break
        since = at
    return since


def _end_earlier(
    condition: Threshold, state: State, time: float, alert: tuple[float, float], history: History
) -> Outcome:
    """End an alert with a late reading, if nothing after that belongs to it."""
    fired, end = alert
    if time == fired:
        return None
    for at, number in history.later():
        if at >= end:
            break
        if is_beyond(condition, number):
            return None
    if end == math.inf:
        state.fired = None
    return Returned(fired, time)


def _separate(condition: Threshold, time: float, history: History) -> Outcome:
    """Find an event that ended with a late reading, and was taken for a part of a later one."""
    readings: list[Reading] = []
    for at, number in history.earlier():
        if is_back(condition, number) or (not readings and history.has_alert(at, time)):
            break
        readings.append((at, number))
    state = State()
    for at, number in reversed(readings):
        found = judge(condition, state, at, number)
        if isinstance(found, Fired):
            if history.has_alert(found.at, time):
                return None
            return Fired(found.at, found.value, returned=time)
    return None


# Silence, properties and missing readings, by the time of receipt


def judge_silence(condition: Silence, state: State, heard: float, now: float) -> Outcome:
    """Judge when a device was last heard from. `state.base` can delay from when it is counted."""
    if state.fired is not None:
        if heard <= state.fired:
            return None
        fired, state.fired, state.base = state.fired, None, None
        return Returned(fired, heard)
    counted = heard if state.base is None else max(heard, state.base)
    if now - counted < condition.seconds:
        return None
    state.fired = counted + condition.seconds
    return Fired(state.fired, None)


def judge_property(condition: PropertyValue, state: State, value: Value, at: float) -> Outcome:
    """Judge a reported property (None: it is not reported) that has this value since `at`.

    To be called at each report, and again with the same arguments but the present time as `at`.
    """
    listed = any(_is_same(value, each) for each in condition.values)
    fulfilled = value is not None and listed != condition.negated
    return _hold(condition.seconds, state, fulfilled=fulfilled, value=value, now=at)


def judge_missing(condition: MissingReadings, state: State, count: int, now: float) -> Outcome:
    """Judge how many readings of a device are missing now."""
    state.base = min(state.base or 0, count)
    fulfilled = count - state.base >= condition.count
    return _hold(condition.seconds, state, fulfilled=fulfilled, value=count, now=now)


def _hold(seconds: float, state: State, *, fulfilled: bool, value: Value, now: float) -> Outcome:
    """Make an alert when something has been fulfilled for so long, and end it when it is not."""
    if state.fired is not None:
        if fulfilled:
            return None
        fired, state.fired = state.fired, None
        return Returned(fired, now)
    if fulfilled and state.since is None:
        state.since = now
    since = state.since
    if not fulfilled:
        state.since = None
    if since is None or now - since < seconds:
        return None
    state.since = None
    if not fulfilled:
        return Fired(since + seconds, None, returned=now)
    state.fired = since + seconds
    return Fired(state.fired, value)


def _is_same(value: Value, other: Value) -> bool:
    """Compare JSON values: true is not 1."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)
