"""What the console needs to know from a DTDL v2 interface.

An interface comes from outside: whatever in it does not have the form that the language asks for
(https://aka.ms/dtdl) is passed over.
"""

from collections.abc import Iterator
from typing import Any

from central.errors import UnknownTemplate
from central.records import Device
from central.storage import templates
from central.storage.store import Store

NUMERIC = {"integer", "long", "float", "double"}

Interface = dict[str, Any]


DEEPEST = 10  # Interfaces that extend one another, as the language has it.


def interface_of(store: Store, device: Device) -> Interface | None:
    """Return the model of a device, or None if it has none or one that is not known here."""
    return None if device.template is None else find_interface(store, device.template)


def find_interface(store: Store, dtmi: str) -> Interface | None:
    """Return an interface with what it inherits (`extends`), or None if it is not known here."""
    try:
        return _with_inherited(store, store.read(templates.get, dtmi), DEEPEST)
    except UnknownTemplate:
        return None


def _with_inherited(store: Store, interface: Interface, depth: int) -> Interface:
    bases = interface.get("extends")
    inherited: list[Any] = []
    for base in bases if isinstance(bases, list) else [bases]:
        found = base
        if isinstance(base, str) and depth:
            try:
                found = store.read(templates.get, base)
            except UnknownTemplate:
                continue
        if isinstance(found, dict) and depth:
            inherited += _with_inherited(store, found, depth - 1).get("contents") or []
    own = interface.get("contents")
    return {**interface, "contents": [*inherited, *(own if isinstance(own, list) else [])]}


def contents(interface: Interface, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the interface's elements of one kind: `Telemetry`, `Property`, `Component` ..."""
    elements = interface.get("contents")
    for element in elements if isinstance(elements, list) else []:
        if isinstance(element, dict) and isinstance(element.get("name"), str):
            types = element.get("@type")
            if kind == types or (isinstance(types, list) and kind in types):
                yield element


def component(store: Store, interface: Interface, name: str) -> Interface | None:
    """Return the interface of a component; an empty one where its own is not known here."""
    for element in contents(interface, "Component"):
        if element["name"] == name:
            schema = element.get("schema")
            if isinstance(schema, str):
                return find_interface(store, schema) or {}
            return schema if isinstance(schema, dict) else {}
    return None


def writable(interface: Interface) -> set[str]:
    """Return the names of the properties that an operator may set."""
    properties = contents(interface, "Property")
    return {element["name"] for element in properties if element.get("writable") is True}


def numeric_telemetry(store: Store, interface: Interface) -> list[str]:
    """Return the names of the telemetry that can be drawn: in components `component*name`."""
    parts = [("", interface)]
    parts += [
        (f"{element['name']}*", component(store, interface, element["name"]) or {})
        for element in contents(interface, "Component")
    ]
    return [
        f"{prefix}{element['name']}"
        for prefix, part in parts
        for element in contents(part, "Telemetry")
        if isinstance(element.get("schema"), str) and element["schema"] in NUMERIC
    ]


def text(element: dict[str, Any], key: str) -> str | None:
    """Return a display name or description; of several languages English, else the first."""
    value = element.get(key)
    if isinstance(value, dict):
        value = value.get("en") or next(iter(value.values()), None)
    return value if isinstance(value, str) else None
