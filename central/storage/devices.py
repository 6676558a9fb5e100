"""Devices, their keys and twins, and the templates, in SQL.

Each function is a job for the store.
"""

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Mapping
from typing import Any

from central.errors import DeviceExists, UnknownDevice, UnknownTemplate
from central.protocol import sas
from central.records import Device, Twin

SCOPE_LETTERS = "0123456789ABCDEF"


def id_scope(db: sqlite3.Connection) -> str:
    """Return the id scope, made at the first start in the form that the service's have."""
    row = db.execute("SELECT value FROM settings WHERE name = 'id_scope'").fetchone()
    if row is not None:
        return str(row["value"])
    scope = "0ne00" + "".join(secrets.choice(SCOPE_LETTERS) for _ in range(6))
    db.execute("INSERT INTO settings VALUES ('id_scope', ?)", (scope,))
    return scope


def has_id_scope(db: sqlite3.Connection) -> bool:
    """Return whether central was started with this file before."""
    return bool(db.execute("SELECT 1 FROM settings WHERE name = 'id_scope'").fetchone())


def devices(db: sqlite3.Connection) -> list[Device]:
    return [_to_device(row) for row in db.execute("SELECT * FROM devices ORDER BY id")]


def device(db: sqlite3.Connection, device_id: str) -> Device:
    return _to_device(_row(db, device_id))


def _row(db: sqlite3.Connection, device_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM devices WHERE id = ?", (device_id,)
    ).fetchone()
    if row is None:
        raise UnknownDevice(device_id)
    return row


def _to_device(row: sqlite3.Row) -> Device:
    return Device(
        row["id"],
        row["display_name"],
        row["template"],
        bool(row["enabled"]),
        bool(row["provisioned"]),
        bool(row["simulated"]),
        row["created"],
        row["etag"],
        row["announced"],
    )


def new_etag() -> str:
    return secrets.token_hex(8)


def insert(db: sqlite3.Connection, new: Device) -> None:
    """Add a device, or raise DeviceExists."""
    try:
        db.execute(
            "INSERT INTO devices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
            (
                new.id,
                new.display_name,
                new.template,
                new.enabled,
                new.provisioned,
                new.simulated,
                new.created,
                new.etag,
                new.announced,
                sas.new_key(),
            ),
        )
    except sqlite3.IntegrityError:
        raise DeviceExists(new.id) from None
    db.execute("INSERT INTO twins (device_id) VALUES (?)", (new.id,))


CHANGEABLE = frozenset(
    {
        "display_name",
        "template",
        "enabled",
        "provisioned",
        "announced",
        "primary_key",
        "secondary_key",
    }
)


def update(db: sqlite3.Connection, device_id: str, changes: Mapping[str, object]) -> Device:
    """Change some columns of a device, and return it."""
    _row(db, device_id)
    for column, value in {**changes, "etag": new_etag()}.items():
        if column not in CHANGEABLE | {"etag"}:
            raise AssertionError(column)
        db.execute(f"UPDATE devices SET {column} = ? WHERE id = ?", (value, device_id))  # noqa: S608 - one of our own names, checked above
    return device(db, device_id)


def register(db: sqlite3.Connection, new: Device, model: str | None) -> Device:
    """Note that a device registered, which may be a new one.

    A template that the operator chose after the model was announced stays.
    """
    with contextlib.suppress(DeviceExists):
        insert(db, new)
    changes: dict[str, object] = {"provisioned": True, "announced": model}
    if model is not None and model != _row(db, new.id)["announced"]:
        changes["template"] = template_of(db, model)
    return update(db, new.id, changes)


def announce(db: sqlite3.Connection, device_id: str, model: str) -> Device | None:
    """Note the model that a device names; return the device if that is news."""
    if _row(db, device_id)["announced"] == model:
        return None
    return update(db, device_id, {"announced": model, "template": template_of(db, model)})


def delete(db: sqlite3.Connection, device_id: str) -> None:
    _row(db, device_id)
    db.execute("DELETE FROM devices WHERE id = ?", (device_id,))


def keys(db: sqlite3.Connection, device_id: str, group_key: str) -> tuple[str, str]:
    row = _row(db, device_id)
    primary = row["primary_key"] or sas.derive_device_key(group_key, device_id)
    return primary, row["secondary_key"]


def twin(db: sqlite3.Connection, device_id: str) -> Twin:
    row = db.execute("SELECT * FROM twins WHERE device_id = ?", (device_id,)).fetchone()
    if row is None:
        raise UnknownDevice(device_id)
    return Twin(
        json.loads(row["desired"]),
        row["desired_version"],
        json.loads(row["reported"]),
        row["reported_version"],
        json.loads(row["desired_times"]),
        json.loads(row["reported_times"]),
    )


def save_twin(db: sqlite3.Connection, device_id: str, new: Twin) -> None:
    db.execute(
        "UPDATE twins SET desired = ?, desired_version = ?, desired_times = ?,"
        " reported = ?, reported_version = ?, reported_times = ? WHERE device_id = ?",
        (
            json.dumps(new.desired),
            new.desired_version,
            json.dumps(new.desired_times),
            json.dumps(new.reported),
            new.reported_version,
            json.dumps(new.reported_times),
            device_id,
        ),
    )


def templates(db: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """Return the interface of each template, by the template's id."""
    rows = db.execute("SELECT id, interface FROM templates ORDER BY id")
    return {row["id"]: json.loads(row["interface"]) for row in rows}


def template(db: sqlite3.Connection, dtmi: str) -> dict[str, Any]:
    """Return the interface of a template, called by the template's id or by its own."""
    row = db.execute(BY_EITHER_ID, {"id": dtmi}).fetchone()
    if row is None:
        raise UnknownTemplate(dtmi)
    interface: dict[str, Any] = json.loads(row["interface"])
    return interface


def template_of(db: sqlite3.Connection, model: str) -> str:
    """Return the template that a device with this model has: often one of the same id."""
    row = db.execute(BY_EITHER_ID, {"id": model}).fetchone()
    return model if row is None else str(row["id"])


BY_EITHER_ID = """
    SELECT id, interface FROM templates WHERE id = :id OR json_extract(interface, '$."@id"') = :id
    ORDER BY id = :id DESC LIMIT 1
"""


def put_template(db: sqlite3.Connection, dtmi: str, interface: dict[str, Any]) -> None:
    db.execute("REPLACE INTO templates VALUES (?, ?)", (dtmi, json.dumps(interface)))


def hand_template(db: sqlite3.Connection, dtmi: str, interface: Mapping[str, Any]) -> None:
    """Put a template in that central is started with, unless it was so before.

    What the operator made of it since, or that it was removed, stays.
    """
    name, text = f"handed {dtmi}", json.dumps(interface)
    row = db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    if row is None or row["value"] != text:
        db.execute("REPLACE INTO settings VALUES (?, ?)", (name, text))
        db.execute("REPLACE INTO templates VALUES (?, ?)", (dtmi, text))


def delete_template(db: sqlite3.Connection, dtmi: str) -> None:
    if not db.execute("DELETE FROM templates WHERE id = ?", (dtmi,)).rowcount:
        raise UnknownTemplate(dtmi)
