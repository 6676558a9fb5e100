"""Cloud properties of devices, in SQL: values that IoT Central keeps and devices never see.

Each function is a query for `Store`. The component "" is the device itself.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from central.protocol import twins

CloudPatch = Mapping[str, Mapping[str, Any]]
"""New values by component and name. None removes a value."""


@dataclass(frozen=True, slots=True)
class CloudValue:
    value: Any
    changed: float  # Unix seconds.


def get_all(db: sqlite3.Connection, device_id: str) -> dict[str, dict[str, CloudValue]]:
    """Return the values of a device by component and name."""
    rows = db.execute(
        "SELECT component, name, value, changed FROM cloud_properties WHERE device_id = ?",
        (device_id,),
    )
    found: dict[str, dict[str, CloudValue]] = {}
    for row in rows:
        value = CloudValue(json.loads(row["value"]), row["changed"])
        found.setdefault(row["component"], {})[row["name"]] = value
    return found


def patch(
    db: sqlite3.Connection, device_id: str, change: CloudPatch, now: float, *, replace_all: bool
) -> None:
    """Set some values of a device, or replace them all.

    The bounds are those of a twin. Raise InvalidTwin.
    """
    for values in change.values():
        twins.check_patch(values)
    if replace_all:
        db.execute("DELETE FROM cloud_properties WHERE device_id = ?", (device_id,))
    for component, values in change.items():
        for name, value in values.items():
            key = (device_id, component, name)
            if value is None:
                db.execute(
                    "DELETE FROM cloud_properties"
                    " WHERE device_id = ? AND component = ? AND name = ?",
                    key,
                )
            else:
                db.execute(
                    "REPLACE INTO cloud_properties VALUES (?, ?, ?, ?, ?)",
                    (*key, json.dumps(value), now),
                )
    whole = {
        component: {name: each.value for name, each in values.items()}
        for component, values in get_all(db, device_id).items()
    }
    twins.merge_within_limit({}, whole)
