"""Models resolved from DTDL interfaces."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.console import dtdl
from central.console.responses import LARGEST_BODY
from central.errors import ModelTooLarge, UnknownTemplate
from central.storage import templates

BASE = "dtmi:test:Base;1"
ROOT = "dtmi:test:Root;1"


def resolved(store, contents, **interface):
    store.call(templates.put, ROOT, {"@id": ROOT, "contents": contents, **interface})
    return store.read(dtdl.resolve, ROOT)


def test_a_template_that_is_not_here_has_no_model(store):
    assert store.read(dtdl.resolve, None) is None
    assert store.read(dtdl.resolve, ROOT) is None


def test_names_units_and_kinds_are_resolved(store):
    contents = [
        {
            "@type": ["Telemetry", "Temperature"],
            "name": "temp",
            "displayName": {"sv": "Temperatur", "en": "Temperature"},
            "schema": "float",
            "unit": "degreeCelsius",
        },
        {"@type": "Property", "name": "count", "schema": "long", "writable": True, "unit": "drops"},
    ]
    model = resolved(store, contents, displayName="Root")
    [temp] = model.numbers()
    assert (temp.label, temp.unit, temp.schema.kind) == ("Temperature", "°C", "double")
    [count] = model.properties
    assert (count.label, count.unit, count.schema.kind) == ("count", "drops", "integer")
    assert (model.label, model.writable(None)) == ("Root", {"count"})


@pytest.mark.parametrize("kind", ["double", "dtmi:dtdl:instance:Schema:double;2"])
def test_a_schema_may_have_its_long_form(store, kind):
    [level] = resolved(store, [{"@type": "Telemetry", "name": "level", "schema": kind}]).numbers()
    assert level.schema == dtdl.Schema("double")


@pytest.mark.parametrize(
    ("schema", "names"),
    [
        ("geopoint", ["lat", "lon", "alt"]),
        ("vector", ["x", "y", "z"]),
        ("dtmi:iotcentral:schema:vector;2", ["x", "y", "z"]),
    ],
)
def test_the_schemas_of_iot_central_are_objects_of_numbers(store, schema, names):
    contents = [{"@type": "Property", "name": "home", "schema": schema, "writable": True}]
    [home] = resolved(store, contents).properties
    assert home.schema.kind == "object"
    assert [(each.name, each.schema.kind) for each in home.schema.fields] == [
        (name, "double") for name in names
    ]


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ("point", "object"),
        ("multiPolygon", "object"),
        ("dtmi:standard:schema:geospatial:lineString;2", "object"),
        ("dtmi:test:Elsewhere;1", "unknown"),
        ({"@type": "Array", "elementSchema": "double"}, "array"),
        ({"@type": "Map"}, "map"),
    ],
)
def test_a_schema_without_fields_has_a_kind_for_json(store, schema, kind):
    [area] = resolved(store, [{"@type": "Telemetry", "name": "area", "schema": schema}]).telemetry
    assert area.schema == dtdl.Schema(kind)


def test_components_have_their_own_capabilities(store):
    inner = {"@id": BASE, "contents": [{"@type": "Telemetry", "name": "temp", "schema": "double"}]}
    store.call(templates.put, BASE, inner)
    component = {"@type": "Component", "displayName": "Cellar"}
    model = resolved(
        store,
        [
            {**component, "name": "cellar", "schema": BASE},
            {**component, "name": "far", "schema": "dtmi:test:Unknown;1"},
        ],
    )
    [temp] = model.telemetry
    assert (temp.key, temp.title, temp.component) == ("cellar*temp", "Cellar: temp", "cellar")
    assert model.writable("cellar") == set()
    assert model.writable("far") is None


def test_a_base_is_inherited_once_with_its_own_schemas(store):
    door = {"@id": "dtmi:test:Door;1", "@type": "Enum", "enumValues": [{"enumValue": 0}]}
    own = {"@type": "Telemetry", "name": "door", "schema": door["@id"]}
    base = {"@id": BASE, "extends": [BASE, ROOT], "contents": [own], "schemas": [door]}
    store.call(templates.put, BASE, base)
    model = resolved(store, [], extends=[BASE, BASE])
    [telemetry] = model.telemetry
    assert telemetry.schema == dtdl.Schema("enum", values=(dtdl.EnumValue(0, "0"),))


def test_an_object_within_itself_ends_as_json(store):
    schema: dict[str, Any] = {"@id": "dtmi:test:S;1", "@type": "Object"}
    schema["fields"] = [{"name": "inner", "schema": schema["@id"]}]
    contents = [{"@type": "Telemetry", "name": "nested", "schema": schema["@id"]}]
    [nested] = resolved(store, contents, schemas=[schema]).telemetry
    levels = 0
    while nested.schema.fields:
        [nested] = nested.schema.fields
        levels += 1
    assert levels == dtdl.MOST_OBJECT_LEVELS
    assert nested.schema.kind == "object"


@pytest.mark.parametrize(
    "base",
    [
        {"contents": [{"@type": "Telemetry", "name": f"t{n}"} for n in range(1000)]},
        {"contents": [{"@type": "Telemetry", "name": "t", "description": "x" * 100_000}]},
        {"contents": [{"@type": "Telemetry", "name": "t", "unit": "x" * 100_000}]},
        {"contents": [{"@type": "Telemetry", "name": "t", "schema": "x" * 100_000}]},
        {"contents": [{"@type": "Telemetry", "name": "t", "schema": {"@type": "x" * 100_000}}]},
        {"contents": [None] * 1000},
        {"extends": ["dtmi:test:Unknown;1"] * 1000},
        {
            "schemas": [
                {"@id": "dtmi:test:E;1", "@type": "Enum", "enumValues": [{"enumValue": 1}] * 1000}
            ],
            "contents": [{"@type": "Telemetry", "name": "t", "schema": "dtmi:test:E;1"}],
        },
    ],
)
def test_a_large_interface_in_many_components_is_too_large(store, base):
    store.call(templates.put, BASE, {"@id": BASE, **base})
    component = {"@type": "Component", "name": "part", "schema": BASE}
    assert resolved(store, [component]) is not None
    with pytest.raises(ModelTooLarge, match=ROOT):
        resolved(store, [component] * 1000)
    assert store.read(dtdl.resolve_if_possible, ROOT) is None


def test_a_template_of_thousands_of_elements_is_resolved(store):
    contents = [{"@type": "Telemetry", "name": f"t{n}", "schema": "long"} for n in range(4000)]
    assert len(json.dumps(contents)) < LARGEST_BODY
    assert len(resolved(store, contents).numbers()) == len(contents)


def test_values_of_an_enum_are_numbers_or_strings(store):
    some: list[Any] = [1, "a", None, {"deep": []}, ["x"]]
    values = [{"enumValue": value} for value in some]
    schema = {"@type": "Enum", "enumValues": values}
    contents = [{"@type": "Property", "name": "p", "schema": schema}]
    [found] = resolved(store, contents).properties
    assert [each.value for each in found.schema.values] == [1, "a"]


WORDS = (
    "@id @type Command Component Enum Object Property Telemetry displayName enumValue enumValues "
    f"extends fields name request schema {ROOT}"
).split()
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5)
    ),
)


@given(
    st.dictionaries(st.sampled_from(["contents", "schemas", "extends", "displayName"]), ANYTHING)
)
def test_any_interface_gives_a_model(interface):
    no_database: Any = None  # `get` needs none.

    def get(_db, dtmi):
        if dtmi != ROOT:
            raise UnknownTemplate(dtmi)
        return interface

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "get", get)
        patch.setattr(templates, "name_of", lambda _db, _dtmi: None)
        found = dtdl.resolve(no_database, ROOT)
    assert found is not None
    json.dumps(asdict(found))
