"""What the console needs to know from a DTDL v2 interface.

An interface comes from outside: whatever in it does not have the form that the language asks for
(https://aka.ms/dtdl) is passed over.
"""

from collections.abc import Iterator
from typing import Any

from central.errors import UnknownTemplate
from central.records import Device
from central.registry import Registry

NUMERIC = {"integer", "long", "float", "double"}

Interface = dict[str, Any]


def interface_of(registry: Registry, device: Device) -> Interface | None:
    """Return the model of a device, or None if it has none or one that is not known here."""
    if device.template is None:
        return None
    try:
        return registry.template(device.template)
    except UnknownTemplate:
        return None


def contents(interface: Interface, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the interface's elements of one kind: `Telemetry`, `Property`, `Component` ..."""
    elements = interface.get("contents")
    for element in elements if isinstance(elements, list) else []:
        if isinstance(element, dict) and isinstance(element.get("name"), str):
            types = element.get("@type")
            if kind == types or (isinstance(types, list) and kind in types):
                yield element


def component(registry: Registry, interface: Interface, name: str) -> Interface | None:
    """Return the interface of a component; an empty one where its own is not known here."""
    for element in contents(interface, "Component"):
        if element["name"] == name:
            schema = element.get("schema")
            if isinstance(schema, str):
                try:
                    return registry.template(schema)
                except UnknownTemplate:
                    return {}
            return schema if isinstance(schema, dict) else {}
    return None


def writable(interface: Interface) -> set[str]:
    """Return the names of the properties that an operator may set."""
    properties = contents(interface, "Property")
    return {element["name"] for element in properties if element.get("writable") is True}


def numeric_telemetry(interface: Interface) -> list[str]:
    """Return the names of the telemetry that can be drawn."""
    telemetry = contents(interface, "Telemetry")
    return [
        element["name"]
        for element in telemetry
        if isinstance(element.get("schema"), str) and element["schema"] in NUMERIC
    ]


def text(element: dict[str, Any], key: str) -> str | None:
    """Return a display name or description; of several languages English, else the first."""
    value = element.get(key)
    if isinstance(value, dict):
        value = value.get("en") or next(iter(value.values()), None)
    return value if isinstance(value, str) else None
