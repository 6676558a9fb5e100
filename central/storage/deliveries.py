"""What is to be sent to webhooks, in SQL. Each function is a query for `Store`."""

import json
import sqlite3
from collections.abc import Collection

from central.protocol.sas import new_key
from central.records import Delivery

MOST_WAITING = 1000  # For one URL. Further ones are not sent.
TOO_MANY = "not sent: too many are waiting"


def signing_key(db: sqlite3.Connection) -> str:
    """Return the key with which webhook messages are signed, in base64, made when first needed."""
    db.execute("INSERT OR IGNORE INTO settings VALUES ('webhook_key', ?)", (new_key(),))
    row = db.execute("SELECT value FROM settings WHERE name = 'webhook_key'").fetchone()
    return str(row["value"])


def enqueue(db: sqlite3.Connection, alert: int, event: str, url: str | None, now: float) -> None:
    """Queue a message about an alert for the webhook at `url`, if there is one."""
    if url is None:
        return
    (waiting,) = db.execute(
        "SELECT count(*) FROM deliveries WHERE due IS NOT NULL AND url = ?", (url,)
    ).fetchone()
    full = waiting >= MOST_WAITING
    db.execute(
        "INSERT INTO deliveries (alert, event, url, due, outcome) VALUES (?, ?, ?, ?, ?)",
        (alert, event, url, None if full else now, TOO_MANY if full else ""),
    )


def next_due(db: sqlite3.Connection, *, besides: Collection[str] = ()) -> Delivery | None:
    """Return the message that is due first, to another URL than these.

    Of an alert, the later one waits for the first.
    """
    row = db.execute(
        "SELECT * FROM deliveries AS this WHERE due IS NOT NULL"
        " AND url NOT IN (SELECT value FROM json_each(?)) AND NOT EXISTS (SELECT 1"
        " FROM deliveries WHERE alert = this.alert AND number < this.number AND due IS NOT NULL)"
        " ORDER BY due, number LIMIT 1",
        (json.dumps(list(besides)),),
    ).fetchone()
    return None if row is None else Delivery(*row)


def attempted(db: sqlite3.Connection, number: int, *, outcome: str, due: float | None) -> None:
    """Record an attempt to send a message, and when to try again (None: no more)."""
    db.execute(
        "UPDATE deliveries SET attempts = attempts + 1, outcome = ?, due = ? WHERE number = ?",
        (outcome, due, number),
    )


def of_alerts(db: sqlite3.Connection, first: int, last: int) -> list[Delivery]:
    """Return the messages about the alerts with these numbers, oldest first."""
    rows = db.execute(
        "SELECT * FROM deliveries WHERE alert BETWEEN ? AND ? ORDER BY number", (first, last)
    )
    return [Delivery(*row) for row in rows]


def newest_of_url(db: sqlite3.Connection, url: str) -> Delivery | None:
    """Return the newest message to a URL that was tried, or could not be."""
    row = db.execute(
        "SELECT * FROM deliveries WHERE url = ? AND outcome != '' ORDER BY number DESC LIMIT 1",
        (url,),
    ).fetchone()
    return None if row is None else Delivery(*row)
