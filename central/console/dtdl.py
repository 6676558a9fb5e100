"""Device models, resolved from DTDL v2 interfaces.

The REST paths and the page read a `Model` and never an interface. An interface comes from outside:
elements that do not have the form that the language requires (https://aka.ms/dtdl) are skipped.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from central.errors import UnknownTemplate
from central.storage import templates

MOST_LEVELS = 10  # Of interfaces that extend one another, as the language allows.
MOST_OBJECT_LEVELS = 3  # Of objects in objects. What is deeper is plain JSON.

KINDS = {"long": "integer", "float": "double"}
NUMERIC = {"integer", "double"}

UNITS = {
    "degreeCelsius": "°C",
    "degreeFahrenheit": "°F",
    "kelvin": "K",
    "percent": "%",
    "second": "s",
    "millisecond": "ms",
    "minute": "min",
    "hour": "h",
    "day": "d",
    "volt": "V",
    "millivolt": "mV",
    "ampere": "A",
    "milliampere": "mA",
    "watt": "W",
    "kilowatt": "kW",
    "kilowattHour": "kWh",
    "pascal": "Pa",
    "kilopascal": "kPa",
    "millibar": "mbar",
    "lux": "lx",
    "hertz": "Hz",
    "metre": "m",
    "centimetre": "cm",
    "millimetre": "mm",
    "kilogram": "kg",
    "gram": "g",
    "litre": "l",
    "byte": "B",
    "kilobyte": "kB",
    "kibibyte": "KiB",
    "megabyte": "MB",
    "mebibyte": "MiB",
}

Interface = dict[str, Any]


@dataclass(frozen=True)
class EnumValue:
    value: object
    label: str


@dataclass(frozen=True)
class Schema:
    """The type of a value.

    `kind` is `boolean`, `integer`, `double`, `string`, `dateTime` and its like, `enum`, `object`,
    `array`, `map`, or `unknown`.
    """

    kind: str
    values: tuple[EnumValue, ...] = ()  # Of an enum.
    fields: tuple["Element", ...] = ()  # Of an object.


@dataclass(frozen=True)
class Element:
    """A named value: a field of an object, or the request or response of a command."""

    name: str
    label: str
    description: str
    unit: str  # Its symbol, or empty.
    schema: Schema


@dataclass(frozen=True)
class Capability(Element):
    """Telemetry, a property or a command."""

    key: str  # `component*name` in a component, as on the wire.
    title: str  # The label, after the component's in a component.
    component: str | None
    writable: bool = False
    request: Element | None = None
    response: Element | None = None


@dataclass(frozen=True)
class Component:
    name: str
    label: str
    known: bool  # Is its interface here?


@dataclass(frozen=True)
class Model:
    """What devices of one template have, with what is inherited and in components."""

    id: str
    label: str
    telemetry: list[Capability] = field(default_factory=list)
    properties: list[Capability] = field(default_factory=list)
    commands: list[Capability] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)

    def numbers(self) -> list[Capability]:
        """Return the telemetry that can be drawn as a chart."""
        return [each for each in self.telemetry if each.schema.kind in NUMERIC]

    def writable(self, component: str | None) -> set[str] | None:
        """Return the names of the writable properties of a component, or of the device for None.

        None if the component's interface is not here, so that its properties are not known.
        """
        if component is not None and not any(
            each.name == component and each.known for each in self.components
        ):
            return None
        writable = (each for each in self.properties if each.writable)
        return {each.name for each in writable if each.component == component}


def resolve(db: sqlite3.Connection, dtmi: str | None) -> Model | None:
    """Return the model of a template, or None if there is no such template here."""
    root = None if dtmi is None else _find(db, dtmi)
    if dtmi is None or root is None:
        return None
    model = Model(dtmi, text(root, "displayName") or dtmi)
    _add(model, db, root, None)
    return model


def text(element: dict[str, Any], key: str) -> str | None:
    """Return a display name or description. Of several languages, English or else the first."""
    value = element.get(key)
    if isinstance(value, dict):
        value = value.get("en") or next(iter(value.values()), None)
    return value if isinstance(value, str) else None


def _find(db: sqlite3.Connection, dtmi: str) -> Interface | None:
    try:
        return templates.get(db, dtmi)
    except UnknownTemplate:
        return None


def _add(
    model: Model, db: sqlite3.Connection, interface: Interface, component: Component | None
) -> None:
    for raw, schemas in _contents(db, interface, set(), MOST_LEVELS):
        types = _list(raw.get("@type"))
        if "Telemetry" in types:
            model.telemetry.append(_capability(raw, schemas, component))
        elif "Property" in types:
            model.properties.append(_capability(raw, schemas, component))
        elif "Command" in types:
            model.commands.append(_capability(raw, schemas, component))
        elif "Component" in types and component is None:
            schema = raw.get("schema")
            inner = _find(db, schema) if isinstance(schema, str) else schema
            known = isinstance(inner, dict)
            part = Component(raw["name"], text(raw, "displayName") or raw["name"], known)
            model.components.append(part)
            if isinstance(inner, dict):
                _add(model, db, inner, part)


def _contents(
    db: sqlite3.Connection, interface: Interface, seen: set[str], levels: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each element with its interface's named schemas, inherited elements first."""
    for base in _list(interface.get("extends")) if levels else ():
        found = base
        if isinstance(base, str):
            found = None if base in seen else _find(db, base)
            seen.add(base)
        if isinstance(found, dict):
            yield from _contents(db, found, seen, levels - 1)
    schemas = {
        each["@id"]: each
        for each in _objects(interface.get("schemas"))
        if isinstance(each.get("@id"), str)
    }
    for raw in _objects(interface.get("contents")):
        if isinstance(raw.get("name"), str):
            yield raw, schemas


def _capability(
    raw: dict[str, Any], schemas: dict[str, Any], component: Component | None
) -> Capability:
    element = _element(raw, schemas)
    return Capability(
        **vars(element),
        key=element.name if component is None else f"{component.name}*{element.name}",
        title=element.label if component is None else f"{component.label}: {element.label}",
        component=None if component is None else component.name,
        writable=raw.get("writable") is True,
        request=_payload(raw.get("request"), schemas),
        response=_payload(raw.get("response"), schemas),
    )


def _payload(raw: object, schemas: dict[str, Any]) -> Element | None:
    return _element(raw, schemas) if isinstance(raw, dict) else None


def _element(
    raw: dict[str, Any], schemas: dict[str, Any], levels: int = MOST_OBJECT_LEVELS
) -> Element:
    name = raw["name"] if isinstance(raw.get("name"), str) else ""
    unit = raw.get("unit")
    return Element(
        name=name,
        label=text(raw, "displayName") or name or "Value",
        description=text(raw, "description") or "",
        unit=UNITS.get(unit, unit) if isinstance(unit, str) else "",
        schema=_schema(raw.get("schema"), schemas, levels),
    )


def _schema(raw: object, schemas: dict[str, Any], levels: int) -> Schema:
    schema = schemas.get(raw, raw) if isinstance(raw, str) else raw
    if isinstance(schema, str):
        return Schema(KINDS.get(schema, schema))
    if not isinstance(schema, dict):
        return Schema("unknown")
    kind = next(iter(_list(schema.get("@type"))), None)
    if kind == "Enum":
        values = [each for each in _objects(schema.get("enumValues")) if "enumValue" in each]
        return Schema("enum", values=tuple(_enum_value(each) for each in values))
    if kind == "Object":
        fields = _objects(schema.get("fields")) if levels else []
        named = [each for each in fields if isinstance(each.get("name"), str)]
        return Schema("object", fields=tuple(_element(each, schemas, levels - 1) for each in named))
    return Schema(kind.lower() if isinstance(kind, str) else "unknown")


def _enum_value(raw: dict[str, Any]) -> EnumValue:
    value = raw["enumValue"]
    name = raw.get("name")
    return EnumValue(
        value, text(raw, "displayName") or (name if isinstance(name, str) else str(value))
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in _list(value) if isinstance(each, dict)]
