"""Device templates, in SQL. Each function is a query for `Store`.

A template is a DTDL v2 interface under an id of its own, which is often the interface's.
"""

import base64
import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from central.errors import UnknownTemplate

Interface = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """What a list of templates is filtered and sorted by."""

    id: str
    label: object  # Its display name, or its interface's: a text, one for each language, or None.
    model_id: str


@dataclass(frozen=True, slots=True)
class Template:
    """A template. `about` has its own `displayName`, `description`, `@type` and `@context`."""

    id: str
    interface: Interface
    about: dict[str, Any]
    etag: str  # Of its content.


HEADS = """
    SELECT id, json_extract(interface, '$."@id"') AS model_id, json_quote(coalesce(
        json_extract(about, '$.displayName'), json_extract(interface, '$.displayName'))) AS label
    FROM templates ORDER BY id
"""


def heads(db: sqlite3.Connection) -> list[Head]:
    """Return the head of each template, in the order of their ids."""
    rows = db.execute(HEADS)
    return [Head(row["id"], json.loads(row["label"]), str(row["model_id"])) for row in rows]


def get_template(db: sqlite3.Connection, dtmi: str) -> Template:
    """Return a template by its own id. Raise UnknownTemplate."""
    row = db.execute("SELECT interface, about FROM templates WHERE id = ?", (dtmi,)).fetchone()
    if row is None:
        raise UnknownTemplate(dtmi)
    digest = hashlib.sha256(f"{row['about']}\n{row['interface']}".encode()).digest()
    etag = f'"~{base64.b64encode(digest).decode()}"'
    return Template(dtmi, json.loads(row["interface"]), json.loads(row["about"]), etag)


def name_of(db: sqlite3.Connection, dtmi: str) -> str | None:
    """Return the display name that a template has beside its interface's."""
    name = "SELECT json_extract(about, '$.displayName') AS name FROM templates WHERE id = ?"
    row = db.execute(name, (dtmi,)).fetchone()
    return None if row is None else row["name"]


def get_all(db: sqlite3.Connection) -> dict[str, Interface]:
    """Return the interface of each template, by the template's id."""
    rows = db.execute("SELECT id, interface FROM templates ORDER BY id")
    return {row["id"]: json.loads(row["interface"]) for row in rows}


def get(db: sqlite3.Connection, dtmi: str) -> Interface:
    """Return an interface by its template's id or by its own. Raise UnknownTemplate."""
    text = get_text(db, dtmi)
    if text is None:
        raise UnknownTemplate(dtmi)
    interface: Interface = json.loads(text)
    return interface


def get_text(db: sqlite3.Connection, dtmi: str) -> str | None:
    """Return the JSON of an interface, found as by `get`, or None."""
    row = db.execute(BY_EITHER_ID, {"id": dtmi}).fetchone()
    return None if row is None else str(row["interface"])


def for_model(db: sqlite3.Connection, model: str) -> str:
    """Return the id of the template with this model; the model's own id if there is none."""
    row = db.execute(BY_EITHER_ID, {"id": model}).fetchone()
    return model if row is None else str(row["id"])


BY_EITHER_ID = """
    SELECT id, interface FROM templates WHERE id = :id OR json_extract(interface, '$."@id"') = :id
    ORDER BY id = :id DESC LIMIT 1
"""


def put(
    db: sqlite3.Connection, dtmi: str, interface: Interface, about: Mapping[str, Any] | None = None
) -> None:
    """Add or replace a template."""
    row = (dtmi, json.dumps(interface), json.dumps(about or {}))
    db.execute("REPLACE INTO templates (id, interface, about) VALUES (?, ?, ?)", row)


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
