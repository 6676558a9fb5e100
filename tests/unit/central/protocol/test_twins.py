import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.errors import InvalidTwin, TwinTooLarge
from central.protocol import twins

names = st.text("abcXYZ_0", min_size=1, max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-1, 1) | st.text(max_size=5),
    lambda inner: st.dictionaries(names, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(names, values, max_size=4)


def test_null_removes_and_objects_are_merged():
    document = {"a": 1, "part": {"__t": "c", "x": 1, "y": 2}}
    patch = {"a": None, "part": {"x": 3, "y": None}, "b": "new"}
    assert twins.merge(document, patch) == {"part": {"__t": "c", "x": 3}, "b": "new"}


def test_an_object_replaces_a_value_and_loses_its_nulls():
    assert twins.merge({"a": 1}, {"a": {"b": None, "c": {"d": None}}}) == {"a": {"c": {}}}


def test_merging_does_not_change_its_arguments():
    document, patch = {"a": {"b": 1}}, {"a": {"b": 2}}
    twins.merge(document, patch)
    assert (document, patch) == ({"a": {"b": 1}}, {"a": {"b": 2}})


@given(documents, documents)
def test_merging_the_difference_gives_the_new_document(old, new):
    old, new = twins.merge({}, old), twins.merge({}, new)
    merged = twins.merge(old, twins.difference(old, new))
    assert twins.dump_json(sorted_deeply(merged)) == twins.dump_json(sorted_deeply(new))


@given(documents)
def test_a_document_does_not_differ_from_itself(document):
    assert twins.difference(document, document) == {}


def test_true_differs_from_one():
    assert twins.difference({"a": 1}, {"a": True}) == {"a": True}


@pytest.mark.parametrize(
    "patch",
    [
        [],
        None,
        "text",
        {"$version": 1},
        {"a.b": 1},
        {"a b": 1},
        {"": 1},
        {"a\n": 1},
        {"a\x7f": 1},
        {"a\x85": 1},
        {"a#": 1},
        {"\ud800": 1},
        {"a": "\ud800"},
        {"a" * 1025: 1},
        {"a": "x" * 4097},
        {"a": 2**52},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": {"b": {"$c": 1}}},
        {"a": [{"b.c": 1}]},
        {"a": object()},
    ],
)
def test_invalid_properties_are_refused(patch):
    with pytest.raises(InvalidTwin):
        twins.check_patch(patch)


def test_ten_levels_are_accepted_and_eleven_are_not():
    def nested(depth):
        return {"a": nested(depth - 1) if depth > 1 else 1}

    assert twins.check_patch(nested(10)) == nested(10)
    with pytest.raises(InvalidTwin, match="at most 10"):
        twins.check_patch(nested(11))


def test_arrays_count_as_levels():
    value: object = 1
    for _ in range(11):
        value = [value]
    with pytest.raises(InvalidTwin):
        twins.check_patch({"a": value})


def test_32_kb_are_accepted_and_more_are_not():
    document = {f"p{n}": "x" * 4000 for n in range(8)}
    assert twins.merge_within_limit({}, document) == document
    with pytest.raises(TwinTooLarge, match="at most 32768"):
        twins.merge_within_limit(document, {"more": "x" * 1000})


@given(documents)
def test_any_plain_document_is_accepted(document):
    assert twins.check_patch(document) is document


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", "-Infinity", "1e400", "[" * 100_000, "", "{", "\xff", "1" * 5000]
)
def test_text_that_is_not_json_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the parser says
        twins.parse_json(text)


@given(st.binary(max_size=50))
def test_any_bytes_are_json_or_a_value_error(body):
    with contextlib.suppress(ValueError):
        twins.parse_json(body)


def test_values_are_wrapped_as_in_2020():
    assert twins.wrapped({"a": 1, "gone": None, "b": {"c": 1}}) == {
        "a": {"value": 1},
        "gone": None,
        "b": {"value": {"c": 1}},
    }


def sorted_deeply(value):
    return json.loads(json.dumps(value, sort_keys=True))
