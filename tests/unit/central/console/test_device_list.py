from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.console.device_list import KINDS, ORDERS, Entry, Wanted, find, natural_key, tag_counts
from central.hub.device_state import DeviceState
from central.records import Device


def entry(device_id, *, name=None, state="reporting", heard=None, tags=(), created=0.0):
    device = Device(device_id, name or device_id, created, etag="")
    return Entry(device, DeviceState(state), heard, tags)


def ids(entries, **wanted):
    return [each.device.id for each in find(entries, Wanted(**wanted)).entries]


def test_numbers_in_names_sort_as_numbers():
    names = ["pi-10", "Pi-2", "pi-1", "pi-02", "kitchen", "pi-2b", "1"]
    assert sorted(names, key=natural_key) == [
        "1",
        "kitchen",
        "pi-1",
        "Pi-2",
        "pi-02",
        "pi-2b",
        "pi-10",
    ]


@given(st.text(), st.text())
def test_any_two_names_can_be_compared(one, other):
    assert (natural_key(one) < natural_key(other)) in {True, False}


def test_equal_names_are_sorted_by_id():
    assert ids([entry("pi-10", name="A"), entry("pi-9", name="a")]) == ["pi-9", "pi-10"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", ["pi-1", "pi-2", "pi-3"]),
        ("KITCH", ["pi-1"]),
        ("pi-2", ["pi-2"]),
        ("house pi", ["pi-2", "pi-3"]),
        ("green north", ["pi-3"]),
        ("%", []),
        ("  ", ["pi-1", "pi-2", "pi-3"]),
    ],
)
def test_every_word_occurs_in_the_name_the_id_or_a_tag(search, found):
    entries = [
        entry("pi-1", name="Kitchen"),
        entry("pi-2", name="Greenhouse"),
        entry("pi-3", name="Greenhouse", tags=("North side",)),
    ]
    assert sorted(ids(entries, search=search)) == found


def test_a_tag_is_compared_as_a_whole_and_without_case():
    entries = [entry("a", tags=("North",)), entry("b", tags=("north-west",)), entry("c")]
    assert ids(entries, tag="north") == ["a"]


def test_counts_are_of_the_matching_devices_whatever_state_is_wanted():
    entries = [
        entry("a", state="silent", tags=("x",)),
        entry("b", state="reporting", tags=("x",)),
        entry("c", state="silent"),
    ]
    found = find(entries, Wanted(kind="silent", tag="x"))
    assert [each.device.id for each in found.entries] == ["a"]
    assert found.matching == 2
    assert found.counts == {
        "reporting": 1,
        "late": 0,
        "silent": 1,
        "never_seen": 0,
        "blocked": 0,
        "alert": 0,
    }


def test_an_alert_is_counted_besides_the_state():
    entries = [replace(entry("a", state="silent"), alert=True), entry("b", state="silent")]
    found = find(entries, Wanted(kind="alert"))
    assert [each.device.id for each in found.entries] == ["a"]
    assert (found.counts["alert"], found.counts["silent"]) == (1, 2)


def test_the_orders_answer_what_an_operator_asks():
    entries = [
        entry("new", state="never_seen", created=9.0),
        entry("good", heard=100.0, created=1.0),
        entry("gone", state="silent", heard=5.0, created=2.0),
    ]
    assert ids(entries, order="silence") == ["gone", "good", "new"]
    assert ids(entries, order="newest") == ["good", "gone", "new"]
    assert ids(entries, order="state") == ["gone", "new", "good"]
    assert ids(entries, order="added") == ["new", "gone", "good"]


def test_tags_are_counted_in_natural_order():
    entries = [entry("a", tags=("floor 10", "b")), entry("b", tags=("floor 2", "floor 10"))]
    assert tag_counts(entries) == [("b", 1), ("floor 2", 1), ("floor 10", 2)]


entries = st.builds(
    entry,
    st.text(max_size=3),
    name=st.text(max_size=6),
    state=st.sampled_from(DeviceState),
    heard=st.none() | st.floats(0, 1e9),
    tags=st.lists(st.text(min_size=1, max_size=2), max_size=2).map(tuple),
)


@given(st.lists(entries, max_size=8), st.sampled_from(["", *KINDS]), st.sampled_from([*ORDERS]))
def test_each_device_is_shown_in_exactly_one_state(entries, kind, order):
    found = find(entries, Wanted(kind=kind, order=order))
    assert sum(found.counts[state] for state in DeviceState) == found.matching == len(entries)
    assert len(found.entries) == (found.counts[kind] if kind else len(entries))
