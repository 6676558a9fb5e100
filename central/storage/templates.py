"""Device templates, in SQL. Each function is a query for `Store`.

A template is a DTDL v2 interface under an id of its own, which is often the interface's.
"""

import json
import sqlite3
from typing import Any

from central.errors import UnknownTemplate

Interface = dict[str, Any]


def get_all(db: sqlite3.Connection) -> dict[str, Interface]:
    """Return the interface of each template, by the template's id."""
    rows = db.execute("SELECT id, interface FROM templates ORDER BY id")
    return {row["id"]: json.loads(row["interface"]) for row in rows}


def get(db: sqlite3.Connection, dtmi: str) -> Interface:
    """Return an interface by its template's id or by its own. Raise UnknownTemplate."""
    row = db.execute(BY_EITHER_ID, {"id": dtmi}).fetchone()
    if row is None:
        raise UnknownTemplate(dtmi)
    interface: Interface = json.loads(row["interface"])
    return interface


def for_model(db: sqlite3.Connection, model: str) -> str:
    """Return the id of the template with this model; the model's own id if there is none."""
    row = db.execute(BY_EITHER_ID, {"id": model}).fetchone()
    return model if row is None else str(row["id"])


BY_EITHER_ID = """
    SELECT id, interface FROM templates WHERE id = :id OR json_extract(interface, '$."@id"') = :id
    ORDER BY id = :id DESC LIMIT 1
"""


def put(db: sqlite3.Connection, dtmi: str, interface: Interface) -> None:
    """Add or replace a template."""
    db.execute("REPLACE INTO templates VALUES (?, ?)", (dtmi, json.dumps(interface)))


def put_shipped(db: sqlite3.Connection, interface: Interface) -> None:
    """Put a template that central is started with, unless the same text was put before.

    So the operator may edit or remove it, and a newer version of it still arrives.
    """
    name, text = f"handed {interface['@id']}", json.dumps(interface)
    row = db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    if row is None or row["value"] != text:
        db.execute("REPLACE INTO settings VALUES (?, ?)", (name, text))
        put(db, interface["@id"], interface)


def delete(db: sqlite3.Connection, dtmi: str) -> None:
    """Delete a template. Raise UnknownTemplate."""
    if not db.execute("DELETE FROM templates WHERE id = ?", (dtmi,)).rowcount:
        raise UnknownTemplate(dtmi)
