"""Device models, resolved from DTDL interfaces of version 2 or 3.

The REST paths and the page read a `Model` and never an interface. An interface comes from outside:
elements that do not have the form that the language requires (https://aka.ms/dtdl) are skipped.
"""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from central.console.units import symbol_of
from central.errors import ModelTooLarge, UnknownTemplate
from central.storage import templates

MOST_LEVELS = 10  # Of interfaces that extend one another, as the language allows.
MOST_OBJECT_LEVELS = 3  # Of objects in objects. What is deeper is plain JSON.
MOST_UNITS = 20_000  # Of size: one for each element, and one for each 100 characters of its text.
UNIT = 100

# The kind of each primitive schema.
KINDS = {
    "boolean": "boolean",
    "date": "date",
    "dateTime": "dateTime",
    "double": "double",
    "duration": "duration",
    "float": "double",
    "integer": "integer",
    "long": "integer",
    "string": "string",
    "time": "time",
    # In GeoJSON.
    "lineString": "object",
    "multiLineString": "object",
    "multiPoint": "object",
    "multiPolygon": "object",
    "point": "object",
    "polygon": "object",
}
# The fields of IoT Central's own schemas, which are objects of numbers.
VECTORS = {"geopoint": ("lat", "lon", "alt"), "vector": ("x", "y", "z")}
# A primitive schema in the long form of JSON-LD.
LONG_FORM = re.compile(
    r"dtmi:(?:dtdl:instance:Schema|standard:schema:geospatial|iotcentral:schema):(\w+);\d+"
)
NUMERIC = {"integer", "double"}

Interface = dict[str, Any]


@dataclass(frozen=True)
class EnumValue:
    value: object
    label: str


@dataclass(frozen=True)
class Schema:
    """The type of a value.

    `kind` is `boolean`, `integer`, `double`, `string`, `date`, `dateTime`, `time`, `duration`,
    `enum`, `object`, `array`, `map`, or `unknown`. An object without fields may have any.
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
    cloud: bool = False  # A property that IoT Central keeps and the device never sees.
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
        writable = (each for each in self.properties if each.writable and not each.cloud)
        return {each.name for each in writable if each.component == component}

    def cloud(self, component: str | None) -> set[str]:
        """Return the names of the cloud properties of a component, or of the device for None."""
        cloud = (each for each in self.properties if each.cloud)
        return {each.name for each in cloud if each.component == component}


def resolve(db: sqlite3.Connection, dtmi: str | None) -> Model | None:
    """Return the model of a template, or None if there is no such template here.

    Raise ModelTooLarge.
    """
    root = None if dtmi is None else _Library(db).find(dtmi)
    if dtmi is None or root is None:
        return None
    return resolve_interface(db, dtmi, root, name=templates.name_of(db, dtmi))


def resolve_interface(
    db: sqlite3.Connection, dtmi: str, interface: Interface, *, name: str | None = None
) -> Model:
    """Return the model of a template with this interface and perhaps a display name of its own.

    Raise ModelTooLarge.
    """
    library = _Library(db)
    model = Model(dtmi, name or text(interface, "displayName") or dtmi)
    try:
        _add(model, library, interface, None)
    except _Excess:
        raise ModelTooLarge(dtmi) from None
    return model


def resolve_if_possible(db: sqlite3.Connection, dtmi: str | None) -> Model | None:
    """Do as `resolve`, but return None also for a model that is too large."""
    try:
        return resolve(db, dtmi)
    except ModelTooLarge:
        return None


def text(element: dict[str, Any], key: str) -> str | None:
    """Return a display name or description. Of several languages, English or else the first."""
    value = element.get(key)
    if isinstance(value, dict):
        value = value.get("en") or next(iter(value.values()), None)
    return value if isinstance(value, str) else None


class _Excess(Exception):  # noqa: N818 - names what is wrong
    """A model is larger than MOST_UNITS."""


class _Library:
    """The interfaces that one model refers to, and how much of its size is left.

    A short template can refer to a large interface or schema thousands of times.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._found: dict[str, Interface | None] = {}
        self._left = MOST_UNITS

    def find(self, dtmi: str) -> Interface | None:
        if dtmi not in self._found:
            try:
                self._found[dtmi] = templates.get(self._db, dtmi)
            except UnknownTemplate:
                self._found[dtmi] = None
        return self._found[dtmi]

    def take(self, *texts: str, elements: int = 1) -> None:
        """Count elements with these texts. Raise _Excess."""
        self._left -= elements + sum(map(len, texts)) // UNIT
        if self._left < 0:
            raise _Excess


@dataclass(frozen=True)
class _Scope:
    """Where the elements of an interface look up what they refer to."""

    library: _Library
    schemas: dict[str, Any]


def _add(
    model: Model, library: _Library, interface: Interface, component: Component | None
) -> None:
    for raw, scope in _contents(library, interface, set(), MOST_LEVELS):
        types = _list(raw.get("@type"))
        if "Telemetry" in types:
            model.telemetry.append(_capability(raw, scope, component))
        elif "Property" in types:
            model.properties.append(_capability(raw, scope, component))
        elif "Command" in types:
            model.commands.append(_capability(raw, scope, component))
        elif "Component" in types and component is None:
            schema = raw.get("schema")
            inner = library.find(schema) if isinstance(schema, str) else schema
            known = isinstance(inner, dict)
            part = Component(raw["name"], text(raw, "displayName") or raw["name"], known)
            library.take(part.name, part.label)
            model.components.append(part)
            if isinstance(inner, dict):
                _add(model, library, inner, part)


def _contents(
    library: _Library, interface: Interface, seen: set[str], levels: int
) -> Iterator[tuple[dict[str, Any], _Scope]]:
    """Yield each element with its interface's named schemas, inherited elements first."""
    parts = (_list(interface.get(key)) for key in ("extends", "schemas", "contents"))
    library.take(elements=sum(map(len, parts)))
    for base in _list(interface.get("extends")) if levels else ():
        found = base
        if isinstance(base, str):
            found = None if base in seen else library.find(base)
            seen.add(base)
        if isinstance(found, dict):
            yield from _contents(library, found, seen, levels - 1)
    schemas = {
        each["@id"]: each
        for each in _objects(interface.get("schemas"))
        if isinstance(each.get("@id"), str)
    }
    for raw in _objects(interface.get("contents")):
        if isinstance(raw.get("name"), str):
            yield raw, _Scope(library, schemas)


def _capability(raw: dict[str, Any], scope: _Scope, component: Component | None) -> Capability:
    element = _element(raw, scope)
    key = element.name if component is None else f"{component.name}*{element.name}"
    title = element.label if component is None else f"{component.label}: {element.label}"
    scope.library.take(key, title)
    return Capability(
        **vars(element),
        key=key,
        title=title,
        component=None if component is None else component.name,
        writable=raw.get("writable") is True,
        cloud="Cloud" in _list(raw.get("@type")),
        request=_payload(raw.get("request"), scope),
        response=_payload(raw.get("response"), scope),
    )


def _payload(raw: object, scope: _Scope) -> Element | None:
    return _element(raw, scope) if isinstance(raw, dict) else None


def _element(raw: dict[str, Any], scope: _Scope, levels: int = MOST_OBJECT_LEVELS) -> Element:
    name = raw["name"] if isinstance(raw.get("name"), str) else ""
    label = text(raw, "displayName") or name or "Value"
    description = text(raw, "description") or ""
    unit = raw["unit"] if isinstance(raw.get("unit"), str) else ""
    scope.library.take(name, label, description, unit)
    schema = _schema(raw.get("schema"), scope, levels)
    return Element(name, label, description, symbol_of(unit), schema)


def _schema(raw: object, scope: _Scope, levels: int) -> Schema:
    schema = scope.schemas.get(raw, raw) if isinstance(raw, str) else raw
    if isinstance(schema, str):
        scope.library.take(schema)
        return _primitive(schema)
    if not isinstance(schema, dict):
        return Schema("unknown")
    kind = next(iter(_list(schema.get("@type"))), None)
    if kind == "Enum":
        values = _objects(schema.get("enumValues"))
        valued = [each for each in values if isinstance(each.get("enumValue"), int | str)]
        return Schema("enum", values=tuple(_enum_value(each, scope) for each in valued))
    if kind == "Object":
        fields = _objects(schema.get("fields")) if levels else []
        named = [each for each in fields if isinstance(each.get("name"), str)]
        return Schema("object", fields=tuple(_element(each, scope, levels - 1) for each in named))
    if not isinstance(kind, str):
        return Schema("unknown")
    scope.library.take(kind)
    return Schema(kind.lower())


def _primitive(name: str) -> Schema:
    if long_form := LONG_FORM.fullmatch(name):
        name = long_form[1]
    if name in VECTORS:
        number = Schema("double")
        fields = tuple(Element(each, each, "", "", number) for each in VECTORS[name])
        return Schema("object", fields=fields)
    return Schema(KINDS.get(name, "unknown"))


def _enum_value(raw: dict[str, Any], scope: _Scope) -> EnumValue:
    value, name = raw["enumValue"], raw.get("name")
    label = text(raw, "displayName") or (name if isinstance(name, str) else str(value))
    scope.library.take(str(value), label)
    return EnumValue(value, label)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in _list(value) if isinstance(each, dict)]
