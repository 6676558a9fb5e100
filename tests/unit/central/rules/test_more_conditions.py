"""Silence, properties and missing readings, whose times are those of their receipt."""

import pytest

from central.records import MissingReadings, PropertyValue, Silence
from central.rules import conditions
from central.rules.conditions import Fired, Returned, State

FAULT = PropertyValue("sensorStatus", ("ok",), negated=True, seconds=60.0)


def test_silence_begins_with_the_time_given_and_ends_when_the_device_is_heard():
    state, rule = State(), Silence(60.0)
    assert conditions.judge_silence(rule, state, 100.0, 159.0) is None
    assert conditions.judge_silence(rule, state, 100.0, 163.0) == Fired(160.0, None)
    assert conditions.judge_silence(rule, state, 100.0, 900.0) is None
    assert conditions.judge_silence(rule, state, 950.0, 955.0) == Returned(160.0, 950.0)
    assert state == State()


def test_silence_is_as_long_as_the_time_given_and_ends_after_that():
    state, rule = State(), Silence(60.0)
    assert conditions.judge_silence(rule, state, 100.0, 160.0) == Fired(160.0, None)
    assert conditions.judge_silence(rule, state, 160.0, 161.0) is None
    assert conditions.judge_silence(rule, state, 161.0, 161.0) == Returned(160.0, 161.0)


def test_the_time_in_which_central_did_not_run_is_no_silence():
    state, rule = State(base=150.0), Silence(60.0)
    assert conditions.judge_silence(rule, state, 100.0, 209.0) is None
    assert conditions.judge_silence(rule, state, 100.0, 210.0) == Fired(210.0, None)


def test_a_property_that_changes_before_its_time_makes_no_alert():
    state = State()
    assert conditions.judge_property(FAULT, state, "failed", 100.0) is None
    assert conditions.judge_property(FAULT, state, "busy", 130.0) is None
    assert conditions.judge_property(FAULT, state, "ok", 159.0) is None
    assert state == State()


def test_a_property_that_changes_after_its_time_makes_an_alert_that_is_over():
    state = State()
    conditions.judge_property(FAULT, state, "failed", 100.0)
    assert conditions.judge_property(FAULT, state, "ok", 200.0) == Fired(160.0, None, 200.0)


@pytest.mark.parametrize("value", [None, "ok"])
def test_a_property_without_a_value_is_none_of_the_others_either(value):
    assert conditions.judge_property(FAULT, State(), value, 100.0) is None


def test_true_is_not_one():
    rule = PropertyValue("state", (1,), negated=False, seconds=0.0)
    assert conditions.judge_property(rule, State(), value=True, at=1.0) is None
    assert conditions.judge_property(rule, State(), value=1, at=1.0) == Fired(1.0, 1)


def test_missing_readings_count_from_none_on():
    state, rule = State(), MissingReadings(2, 0.0)
    assert conditions.judge_missing(rule, state, 1, 1.0) is None
    assert conditions.judge_missing(rule, state, 2, 2.0) == Fired(2.0, 2)


def test_missing_readings_that_were_accepted_do_not_count():
    state, rule = State(base=5), MissingReadings(2, 0.0)
    assert conditions.judge_missing(rule, state, 6, 1.0) is None
    assert conditions.judge_missing(rule, state, 7, 2.0) == Fired(2.0, 7)
    assert conditions.judge_missing(rule, state, 3, 3.0) == Returned(2.0, 3.0)
    assert state.base == 3
