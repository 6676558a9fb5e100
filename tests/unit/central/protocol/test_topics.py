import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.protocol.topics import (
    BadBag,
    creation_time,
    decode_bag,
    encode_bag,
    matches,
    request_topic,
    split_properties,
)


def test_names_and_values_of_a_bag_are_decoded():
    bag = "%24.ct=application%2Fjson&%24.sub=dht22&a%20b=c%26d&empty=&bare"
    assert decode_bag(bag) == {
        "$.ct": "application/json",
        "$.sub": "dht22",
        "a b": "c&d",
        "empty": "",
        "bare": "",
    }


def test_system_properties_get_their_long_names():
    own, system = split_properties({"$.mid": "1", "$.sub": "c", "$.new": "x", "mine": "y"})
    assert own == {"mine": "y"}
    assert system == {"message_id": "1", "component": "c", "new": "x"}


def test_a_bag_that_is_not_utf8_is_refused():
    with pytest.raises(BadBag):
        decode_bag("a=%ff")


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"))
    )
)
def test_a_bag_is_decoded_as_it_was_encoded(properties):
    assert decode_bag(encode_bag(properties)) == properties


@given(st.text(st.characters(codec="utf-8")))
def test_any_bag_is_decoded_or_refused(bag):
    with contextlib.suppress(BadBag):
        decode_bag(bag)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-22T10:00:00.123Z", 1795341600.123),
        ("2026-11-22T10:00:00Z", 1795341600),
        ("2026-11-22T10:00:00+00:00", 1795341600),
        ("2026-11-22T10:00:00.1234567Z", 1795341600.123456),
        ("2026-11-22T03:00:00-07:00", None),
        ("0001-01-01T00:00:00Z", -62135596800),
        ("9999-12-31T23:59:59Z", 253402300799),
        ("9999-12-31T23:59:59.999999Z", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_the_creation_time_is_a_time_in_utc(text, time):
    assert creation_time({"iothub-creation-time-utc": text}) == time


def test_the_system_property_ctime_is_the_creation_time_without_the_other():
    earlier, later = "2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z"
    assert creation_time({"$.ctime": earlier}) == 1795341600
    assert creation_time({"$.ctime": earlier, "iothub-creation-time-utc": later}) == 1795345200


def test_without_the_property_there_is_no_creation_time():
    assert creation_time({}) is None


@given(st.text())
def test_any_creation_time_is_a_time_or_none(text):
    creation_time({"iothub-creation-time-utc": text})


def test_a_request_topic_has_parameters():
    topic = "$iothub/twin/GET/?$rid=a%20b&x=1"
    assert request_topic(topic, "$iothub/twin/GET") == {"$rid": "a b", "x": "1"}
    assert request_topic(topic, "$iothub/twin/PATCH") is None
    assert request_topic("$iothub/twin/GET", "$iothub/twin/GET") is None


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("+/b", "a/b", True),
        ("#", "a/b", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/#", "b/a", False),
        ("$iothub/methods/POST/#", "$iothub/methods/POST/x/?$rid=1", True),
    ],
)
def test_filters_match_as_in_the_standard(topic_filter, topic, expected):
    assert matches(topic_filter, topic) is expected
