"""Twins as the bodies of IoT Central's properties."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.console.responses import to_json
from central.console.rest.properties import patch_answer, rest_properties, unwrap
from central.records import Twin

NOON = 1_764_331_200.0
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def twin(desired=None, reported=None, *, version=1, desired_at=NOON, reported_at=NOON):
    desired, reported = desired or {}, reported or {}
    return Twin(
        desired=desired,
        desired_version=version,
        reported=reported,
        reported_version=1,
        desired_times=dict.fromkeys(desired, desired_at),
        reported_times=dict.fromkeys(reported, reported_at),
    )


def metadata(name, **of):
    return rest_properties(twin(**of))["$metadata"][name]


def test_a_bare_value_has_its_time():
    assert rest_properties(twin(reported={"state": True})) == {
        "state": True,
        "$metadata": {"state": {"lastUpdateTime": "2025-11-28T12:00:00.000Z"}},
    }


def test_an_acknowledgement_is_split():
    ack = {"value": 2, "ac": 200, "av": 5, "ad": "completed"}
    properties = rest_properties(twin({"brightness": 2}, {"brightness": ack}, version=5))
    assert properties["brightness"] == 2
    assert properties["$metadata"]["brightness"] == {
        "desiredValue": 2,
        "desiredVersion": 5,
        "ackVersion": 5,
        "ackCode": 200,
        "ackDescription": "completed",
        "lastUpdateTime": "2025-11-28T12:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("status", "code"), [("completed", 200), ("Completed", 200), ("pending", 202), ("failed", 500)]
)
def test_an_acknowledgement_of_the_preview_is_read(status, code):
    ack = {"value": "Ann", "status": status, "desiredVersion": 3}
    assert unwrap(ack) == (
        "Ann",
        {"ackVersion": 3, "ackCode": code, "ackDescription": status},
    )


def test_the_completion_of_a_command_is_its_value():
    assert unwrap({"value": "All is well."}) == ("All is well.", {})


@pytest.mark.parametrize("value", [{"value": 1, "colour": "red"}, {"ac": 200}, [1], None, "value"])
def test_an_object_without_acknowledgement_is_a_value(value):
    assert unwrap(value) == (value, {})


def test_components_are_nested_by_name():
    info = {"__t": "c", "model": "Pi 4", "limit": {"value": 3, "ac": 200, "av": 2, "ad": "ok"}}
    wanted = {"info": {"__t": "c", "limit": 3}}
    properties = rest_properties(twin(wanted, {"info": info}, version=2))
    assert properties["info"]["model"] == "Pi 4"
    assert properties["info"]["$metadata"]["limit"]["ackVersion"] == 2
    assert properties["info"]["$metadata"]["limit"]["desiredVersion"] == 2
    assert "__t" not in properties["info"]
    assert properties["$metadata"] == {}


def test_a_value_without_acknowledgement_is_pending():
    about = metadata("brightness", desired={"brightness": 2}, version=4)
    assert about == {"desiredValue": 2, "desiredVersion": 4}


@pytest.mark.parametrize(
    ("wanted", "ack"),
    [
        (2, {"value": 2, "ac": 200, "av": 4}),
        (9, {"value": 1, "ac": 400, "av": 4, "ad": "No."}),
    ],
)
def test_an_acknowledged_or_refused_value_stays_so_when_another_is_set(wanted, ack):
    about = metadata(
        "brightness",
        desired={"brightness": wanted, "name": "Ann"},
        reported={"brightness": ack},
        version=5,
        reported_at=NOON + 1,
    )
    assert about["ackVersion"] == about["desiredVersion"] == 4


@pytest.mark.parametrize(
    ("ack", "reported_at"),
    [
        ({"value": 1, "ac": 200, "av": 4}, NOON + 1),  # Acknowledges another value.
        ({"value": 2, "ac": 200, "av": 4}, NOON - 1),  # Came before this value was set.
        ({"value": 2, "ac": 203, "av": 0}, NOON + 1),  # The device's own value.
    ],
)
def test_an_old_acknowledgement_does_not_acknowledge_a_new_value(ack, reported_at):
    about = metadata(
        "brightness",
        desired={"brightness": 2},
        reported={"brightness": ack},
        version=5,
        reported_at=reported_at,
    )
    assert about["ackVersion"] < about["desiredVersion"]


def test_the_answer_to_a_patch_has_the_desired_values():
    patch = {"brightness": 2, "name": None, "info": {"__t": "c", "limit": 3}}
    assert patch_answer(patch) == {
        "info": {"$metadata": {"limit": {"desiredValue": 3}}},
        "$metadata": {"brightness": {"desiredValue": 2}},
    }


@given(st.dictionaries(st.text(max_size=8), JSON), st.dictionaries(st.text(max_size=8), JSON))
def test_any_twin_has_a_body(desired, reported):
    body = rest_properties(twin(desired, reported, version=3))
    json.loads(to_json(body), parse_constant=pytest.fail)
    for name in reported:
        assert name in body or name.startswith("$") or name == "__t"
