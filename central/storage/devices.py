"""Devices, their keys and their twins, in SQL. Each function is a query for `Store`.

A function that takes a `device_id` raises UnknownDevice if there is no such device.
"""

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping

from central.errors import DeviceExists, UnknownDevice
from central.protocol import sas
from central.records import Device, Twin
from central.storage import templates

SCOPE_LETTERS = "0123456789ABCDEF"


def id_scope(db: sqlite3.Connection) -> str:
    """Return the ID scope: `0ne00` and six hexadecimal digits, made at the first start."""
    row = db.execute("SELECT value FROM settings WHERE name = 'id_scope'").fetchone()
    if row is not None:
        return str(row["value"])
    scope = _new_id_scope()
    db.execute("INSERT INTO settings VALUES ('id_scope', ?)", (scope,))
    return scope


def id_scopes(db: sqlite3.Connection, least: int) -> tuple[str, ...]:
    """Return all ID scopes, of which `least` are made if there are fewer. The first stays first."""
    scopes = [id_scope(db)]
    rows = "SELECT value FROM settings WHERE name LIKE 'id_scope %' ORDER BY name"
    scopes += [str(row["value"]) for row in db.execute(rows)]
    for number in range(len(scopes) + 1, least + 1):
        scopes.append(_new_id_scope())
        db.execute("INSERT INTO settings VALUES (?, ?)", (f"id_scope {number:03}", scopes[-1]))
    return tuple(scopes)


def _new_id_scope() -> str:
    return "0ne00" + "".join(secrets.choice(SCOPE_LETTERS) for _ in range(6))


def has_id_scope(db: sqlite3.Connection) -> bool:
    """Return whether central was started with this file before."""
    return bool(db.execute("SELECT 1 FROM settings WHERE name = 'id_scope'").fetchone())


def keep_group_key(db: sqlite3.Connection, digest: str) -> bool:
    """Remember the digest of the group's key. Return whether it is that of the key before."""
    db.execute("INSERT OR IGNORE INTO settings VALUES ('group_key', ?)", (digest,))
    rows = "SELECT 1 FROM settings WHERE name = 'group_key' AND value = ?"
    return bool(db.execute(rows, (digest,)).fetchone())


def forget_group_key(db: sqlite3.Connection) -> None:
    """Forget the key before: the operator wants another one."""
    db.execute("DELETE FROM settings WHERE name = 'group_key'")


def get_all(db: sqlite3.Connection) -> list[Device]:
    """Return all devices, in the order of their ids."""
    return [to_device(row) for row in db.execute("SELECT * FROM devices ORDER BY id")]


def templates_of(db: sqlite3.Connection, ids: Iterable[str]) -> dict[str, str | None]:
    """Return the template of each of these devices, by id."""
    rows = db.execute(
        "SELECT id, template FROM devices WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)),),
    )
    return dict(rows.fetchall())


def count_by_template(db: sqlite3.Connection) -> dict[str, int]:
    """Return how many devices have each template that any has."""
    rows = db.execute("SELECT template, count(*) FROM devices GROUP BY template")
    return {template: number for template, number in rows if template is not None}


def get(db: sqlite3.Connection, device_id: str) -> Device:
    """Return a device."""
    return to_device(_row(db, device_id))


def _row(db: sqlite3.Connection, device_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM devices WHERE id = ?", (device_id,)
    ).fetchone()
    if row is None:
        raise UnknownDevice(device_id)
    return row


def to_device(row: sqlite3.Row) -> Device:
    """Return the device of a row of the table."""
    return Device(
        id=row["id"],
        display_name=row["display_name"],
        created=row["created"],
        etag=row["etag"],
        template=row["template"],
        enabled=bool(row["enabled"]),
        provisioned=bool(row["provisioned"]),
        simulated=bool(row["simulated"]),
        announced=row["announced"],
        id_scope=row["id_scope"],
        organizations=tuple(json.loads(row["organizations"])),
    )


def new_etag() -> str:
    """Return an etag that no device has had."""
    return secrets.token_hex(8)


def insert(db: sqlite3.Connection, new: Device) -> None:
    """Add a device. Raise DeviceExists."""
    try:
        db.execute(
            "INSERT INTO devices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?)",
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
                new.id_scope,
                json.dumps(new.organizations),
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
        "id_scope",
        "organizations",
        "primary_key",
        "secondary_key",
    }
)


def update(
    db: sqlite3.Connection,
    device_id: str,
    changes: Mapping[str, object],
    check: Callable[[str], None] | None = None,
) -> Device:
    """Set some columns of a device (those in CHANGEABLE), and return the device.

    `check` is called with the device's etag before, and raises what is to be raised.
    """
    etag = _row(db, device_id)["etag"]
    if check is not None:
        check(etag)
    for column, value in {**changes, "etag": new_etag()}.items():
        if column not in CHANGEABLE | {"etag"}:
            raise AssertionError(column)
        db.execute(f"UPDATE devices SET {column} = ? WHERE id = ?", (value, device_id))  # noqa: S608 - one of our own names, checked above
    return get(db, device_id)


def register(db: sqlite3.Connection, new: Device, model: str | None) -> Device:
    """Record the registration of a device, which is added if it is new, and return the device.

    A newly announced model sets the template. The same model again keeps the template that the
    operator chose meanwhile.
    """
    with contextlib.suppress(DeviceExists):
        insert(db, new)
    changes: dict[str, object] = {
        "provisioned": True,
        "announced": model,
        "id_scope": new.id_scope,
    }
    if model is not None and model != _row(db, new.id)["announced"]:
        changes["template"] = templates.for_model(db, model)
    return update(db, new.id, changes)


def announce(db: sqlite3.Connection, device_id: str, model: str) -> Device | None:
    """Record the model that a device announces; return the device if the model is another one."""
    if _row(db, device_id)["announced"] == model:
        return None
    template = templates.for_model(db, model)
    return update(db, device_id, {"announced": model, "template": template})


def delete(
    db: sqlite3.Connection, device_id: str, check: Callable[[str], None] | None = None
) -> None:
    """Delete a device and everything recorded of it. `check` is that of `update`."""
    etag = _row(db, device_id)["etag"]
    if check is not None:
        check(etag)
    db.execute("DELETE FROM devices WHERE id = ?", (device_id,))


def get_keys(db: sqlite3.Connection, device_id: str, group_key: str) -> tuple[str, str]:
    """Return the primary and the secondary key of a device, in base64.

    The primary key is derived from the group's unless the device was given its own.
    """
    row = _row(db, device_id)
    primary = row["primary_key"] or sas.derive_device_key(group_key, device_id)
    return primary, row["secondary_key"]


def get_twin(db: sqlite3.Connection, device_id: str) -> Twin:
    """Return the twin of a device."""
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
    """Replace the twin of a device."""
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
