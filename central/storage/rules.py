"""Rules, their states and their alerts, in SQL. Each function is a query for `Store`."""

import json
import math
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from central.errors import UnknownAlert, UnknownRule
from central.records import (
    Alert,
    Condition,
    MissingReadings,
    PropertyValue,
    Rule,
    Silence,
    Threshold,
)
from central.storage import completeness, deliveries

MOST_ALERTS = 100_000  # Beyond them, the oldest that have ended are deleted.
KINDS: dict[str, type[Condition]] = {
    "telemetry": Threshold,
    "silence": Silence,
    "property": PropertyValue,
    "missing": MissingReadings,
}


def condition_body(condition: Condition) -> dict[str, Any]:
    """Return a condition as a JSON object with its `kind`."""
    kind = next(kind for kind, each in KINDS.items() if isinstance(condition, each))
    return {"kind": kind, **asdict(condition)}


def _to_condition(text: str) -> Condition:
    body = json.loads(text)
    kind = KINDS[body.pop("kind")]
    for name in ("values", "templates"):
        if name in body:
            body[name] = tuple(body[name])
    return kind(**body)


# Rules


def all_rules(db: sqlite3.Connection) -> list[Rule]:
    """Return all rules, in the order in which they were made."""
    return [_to_rule(row) for row in db.execute("SELECT * FROM rules ORDER BY number")]


def get_rule(db: sqlite3.Connection, number: int) -> Rule:
    """Return a rule. Raise UnknownRule."""
    row = db.execute("SELECT * FROM rules WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise UnknownRule(number)
    return _to_rule(row)


def add_rule(db: sqlite3.Connection, new: Rule) -> Rule:
    """Add a rule; return it numbered."""
    number = db.execute(
        "INSERT INTO rules (revision, name, enabled, since, condition, tags, devices, webhook)"
        " VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
        _columns(new),
    ).lastrowid
    return get_rule(db, number or 0)


def change_rule(db: sqlite3.Connection, new: Rule) -> Rule:
    """Replace a rule, as of `new.since`. Raise UnknownRule.

    It starts from the beginning, and its open alerts end, unless only its name or its webhook is
    another one.
    """
    old = get_rule(db, new.number)
    same = _judged(old) == _judged(new)
    if not same:
        _start_again(db, new.number, new.since)
    columns = _columns(new)
    since = old.since if same else new.since
    db.execute(
        "UPDATE rules SET revision = revision + 1, name = ?, enabled = ?, since = ?,"
        " condition = ?, tags = ?, devices = ?, webhook = ? WHERE number = ?",
        (*columns[:2], since, *columns[3:], new.number),
    )
    return get_rule(db, new.number)


def delete_rule(db: sqlite3.Connection, number: int, now: float) -> None:
    """Delete a rule. Its alerts end, and stay in the history. Raise UnknownRule."""
    get_rule(db, number)
    _start_again(db, number, now)
    db.execute("DELETE FROM rules WHERE number = ?", (number,))


def _judged(rule: Rule) -> tuple[object, ...]:
    return rule.enabled, rule.condition, rule.tags, rule.devices


def _start_again(db: sqlite3.Connection, number: int, now: float) -> None:
    rule = get_rule(db, number)
    db.execute("DELETE FROM rule_states WHERE rule = ?", (number,))
    for row in db.execute(
        "UPDATE alerts SET returned = max(?, fired) WHERE rule = ? AND returned IS NULL"
        " RETURNING number",
        (now, number),
    ).fetchall():
        deliveries.enqueue(db, row["number"], "returned", rule.webhook, now)


def _columns(rule: Rule) -> tuple[object, ...]:
    return (
        rule.name,
        rule.enabled,
        rule.since,
        json.dumps(condition_body(rule.condition)),
        json.dumps(rule.tags),
        json.dumps(rule.devices),
        rule.webhook,
    )


def _to_rule(row: sqlite3.Row) -> Rule:
    return Rule(
        row["number"],
        row["revision"],
        row["name"],
        bool(row["enabled"]),
        row["since"],
        _to_condition(row["condition"]),
        tuple(json.loads(row["tags"])),
        tuple(json.loads(row["devices"])),
        row["webhook"],
    )


# What was judged


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored of the state of a rule and a device."""

    rule: int
    device_id: str
    since: float | None
    base: float | None
    fired: float | None  # When the open alert was fired.


@dataclass(frozen=True, slots=True)
class Opened:
    """A new alert, which may have ended already."""

    rule: Rule
    device_id: str
    value: str | float | bool | None
    fired: float
    returned: float | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The alert of a rule and a device that was fired then ends."""

    rule: Rule
    device_id: str
    fired: float
    returned: float


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found out, to be stored at once."""

    at: float
    revisions: dict[int, int]  # Of the rules, by their numbers.
    message: int  # The number of the last message that was judged.
    report: int  # The number of the last reported change that was judged.
    states: tuple[tuple[Rule, str, float | None, float | None], ...]  # Device, `since`, `base`.
    outcomes: tuple[Opened | Ended, ...]  # In their order.


@dataclass(frozen=True, slots=True)
class Progress:
    """The number of the last message that was judged, and when; None: no rule was judged yet."""

    message: int
    at: float | None


def stored_states(db: sqlite3.Connection) -> list[Stored]:
    """Return the states that are not those of the beginning."""
    rows = db.execute(
        "SELECT rule, device_id, since, base, NULL AS fired FROM rule_states UNION ALL"
        " SELECT rule, device_id, NULL, NULL, fired FROM alerts WHERE returned IS NULL"
    )
    return [Stored(*row) for row in rows]


def progress(db: sqlite3.Connection) -> Progress:
    """Return how far the rules were judged."""
    row = db.execute("SELECT value FROM settings WHERE name = 'judged'").fetchone()
    if row is None:
        newest = db.execute("SELECT ifnull(max(number), 0) FROM messages").fetchone()
        return Progress(newest[0], None)
    return Progress(*json.loads(row["value"]))


def save(db: sqlite3.Connection, judged: Judged) -> bool:
    """Store states and alerts, and how far the rules were judged, at once.

    Return False, and store nothing, if a rule was changed meanwhile. What belongs to a deleted
    device is dropped.
    """
    if dict(db.execute("SELECT number, revision FROM rules").fetchall()) != judged.revisions:
        return False
    for rule, device_id, since, base in judged.states:
        db.execute(
            "DELETE FROM rule_states WHERE rule = ? AND device_id = ?", (rule.number, device_id)
        )
        if since is not None or base is not None:
            db.execute(
                "INSERT INTO rule_states SELECT ?, id, ?, ? FROM devices WHERE id = ?",
                (rule.number, since, base, device_id),
            )
    for outcome in judged.outcomes:
        if isinstance(outcome, Opened):
            _open(db, outcome, judged.at)
        else:
            _end(db, outcome, judged.at)
    db.execute("DELETE FROM reported_changes WHERE number <= ?", (judged.report,))
    text = json.dumps([judged.message, judged.at])
    db.execute("INSERT OR REPLACE INTO settings VALUES ('judged', ?)", (text,))
    return True


def _open(db: sqlite3.Connection, new: Opened, now: float) -> None:
    rule = new.rule
    for row in db.execute(
        "INSERT INTO alerts (rule, rule_name, device_id, condition, value, fired, recorded,"
        " returned) SELECT ?, ?, id, ?, ?, ?, ?, ? FROM devices WHERE id = ? RETURNING number",
        (
            rule.number,
            rule.name,
            json.dumps(condition_body(rule.condition)),
            json.dumps(new.value),
            new.fired,
            now,
            new.returned,
            new.device_id,
        ),
    ).fetchall():
        deliveries.enqueue(db, row["number"], "fired", rule.webhook, now)


def _end(db: sqlite3.Connection, ended: Ended, now: float) -> None:
    for row in db.execute(
        "UPDATE alerts SET returned = ? WHERE rule = ? AND device_id = ? AND fired = ?"
        " RETURNING number",
        (ended.returned, ended.rule.number, ended.device_id, ended.fired),
    ).fetchall():
        deliveries.enqueue(db, row["number"], "returned", ended.rule.webhook, now)


def has_alert(db: sqlite3.Connection, rule: int, device_id: str, first: float, end: float) -> bool:
    """Return whether a rule has an alert for a device at any time from `first` to before `end`."""
    row = db.execute(
        "SELECT 1 FROM alerts WHERE rule = ? AND device_id = ? AND fired < ?"
        " AND (returned IS NULL OR returned > ?) LIMIT 1",
        (rule, device_id, end, first),
    ).fetchone()
    return row is not None


def alert_at(
    db: sqlite3.Connection, rule: int, device_id: str, time: float
) -> tuple[float, float] | None:
    """Return the alert of a rule for a device at a time: when it was fired, and its end.

    The end is infinity if it is open.
    """
    row = db.execute(
        "SELECT fired, returned FROM alerts WHERE rule = ? AND device_id = ? AND fired <= ?"
        " ORDER BY fired DESC LIMIT 1",
        (rule, device_id, time),
    ).fetchone()
    if row is None or (row["returned"] is not None and row["returned"] <= time):
        return None
    return row["fired"], math.inf if row["returned"] is None else row["returned"]


def next_alert(db: sqlite3.Connection, rule: int, device_id: str, after: float) -> float | None:
    """Return when the first alert of a rule for a device after a time was fired."""
    row = db.execute(
        "SELECT min(fired) AS fired FROM alerts WHERE rule = ? AND device_id = ? AND fired > ?",
        (rule, device_id, after),
    ).fetchone()
    fired: float | None = row["fired"]
    return fired


def devices_with_alerts(db: sqlite3.Connection) -> set[str]:
    """Return the ids of the devices that have alerts, open or not."""
    return {str(row[0]) for row in db.execute("SELECT DISTINCT device_id FROM alerts")}


def last_heard(db: sqlite3.Connection) -> dict[str, float]:
    """Return when each device sent its newest message, or was last connected if that is later."""
    rows = db.execute(
        "SELECT id, max(ifnull((SELECT received FROM messages WHERE device_id = id"
        "  ORDER BY number DESC LIMIT 1), 0), ifnull((SELECT at FROM connections"
        "  WHERE device_id = id AND event IN ('connected', 'disconnected')"
        "  ORDER BY number DESC LIMIT 1), 0)) AS heard FROM devices"
    )
    return {row["id"]: row["heard"] for row in rows if row["heard"]}


def reported_changes(db: sqlite3.Connection) -> list[tuple[int, str, float, dict[str, Any]]]:
    """Return what devices reported and is not judged yet: number, device, time and patch."""
    rows = db.execute("SELECT * FROM reported_changes ORDER BY number")
    return [(row[0], row[1], row[2], json.loads(row[3])) for row in rows]


def add_reported_change(
    db: sqlite3.Connection, device_id: str, at: float, change: dict[str, Any]
) -> None:
    """Record what a device reports, to be judged."""
    db.execute(
        "INSERT INTO reported_changes (device_id, at, change) VALUES (?, ?, ?)",
        (device_id, at, json.dumps(change)),
    )


# Alerts

SELECT = """
    SELECT alerts.*, display_name FROM alerts JOIN devices ON devices.id = device_id
"""


def alerts(
    db: sqlite3.Connection,
    *,
    acknowledged: bool | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Alert]:
    """Return alerts numbered below `before`, the newest first."""
    rows = db.execute(
        f"{SELECT} WHERE alerts.number < ?1"
        " AND (?2 IS NULL OR (acknowledged IS NOT NULL) = ?2)"
        " ORDER BY alerts.number DESC LIMIT ?3",
        (2**62 if before is None else before, acknowledged, limit),
    )
    return [_to_alert(row) for row in rows]


def get_alert(db: sqlite3.Connection, number: int) -> Alert:
    """Return an alert. Raise UnknownAlert."""
    row = db.execute(f"{SELECT} WHERE alerts.number = ?", (number,)).fetchone()
    if row is None:
        raise UnknownAlert(number)
    return _to_alert(row)


def unacknowledged(db: sqlite3.Connection) -> int:
    """Return how many alerts nobody has acknowledged."""
    row = db.execute("SELECT count(*) FROM alerts WHERE acknowledged IS NULL").fetchone()
    return int(row[0])


def acknowledge(db: sqlite3.Connection, numbers: Iterable[int], *, who: str, now: float) -> None:
    """Acknowledge alerts. Raise UnknownAlert, and change nothing then.

    An open alert about missing readings ends with that: the missing ones are accepted.
    """
    for number in numbers:
        alert = get_alert(db, number)
        db.execute(
            "UPDATE alerts SET acknowledged = ?, acknowledged_by = ?"
            " WHERE number = ? AND acknowledged IS NULL",
            (now, who, number),
        )
        if alert.returned is None and isinstance(alert.condition, MissingReadings):
            _accept_missing(db, alert, now)


def _accept_missing(db: sqlite3.Connection, alert: Alert, now: float) -> None:
    count = missing_readings(db, alert.device_id)
    db.execute(
        "INSERT OR REPLACE INTO rule_states VALUES (?, ?, NULL, ?)",
        (alert.rule, alert.device_id, count),
    )
    rule = get_rule(db, alert.rule)
    _end(db, Ended(rule, alert.device_id, alert.fired, max(now, alert.fired)), now)
    db.execute("UPDATE rules SET revision = revision + 1 WHERE number = ?", (alert.rule,))


def missing_readings(db: sqlite3.Connection, device_id: str) -> int:
    """Return how many messages of a device were not received, for whatever reason."""
    return sum(completeness.completeness(db, device_id, most=1).lost.values())


def forget(db: sqlite3.Connection, before: float) -> None:
    """Delete the alerts that ended before then, and the oldest of too many."""
    db.execute(
        "DELETE FROM alerts WHERE returned < ? AND fired < ? AND recorded < ?", (before,) * 3
    )
    db.execute(
        "DELETE FROM alerts WHERE returned IS NOT NULL AND number <="
        " (SELECT number FROM alerts ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (MOST_ALERTS,),
    )


def _to_alert(row: sqlite3.Row) -> Alert:
    return Alert(
        number=row["number"],
        rule=row["rule"],
        rule_name=row["rule_name"],
        device_id=row["device_id"],
        device_name=row["display_name"],
        condition=_to_condition(row["condition"]),
        value=json.loads(row["value"]),
        fired=row["fired"],
        recorded=row["recorded"],
        returned=row["returned"],
        acknowledged=row["acknowledged"],
        acknowledged_by=row["acknowledged_by"],
    )
