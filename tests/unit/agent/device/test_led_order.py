"""What the LED shows: what was ordered, or a signal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values

from agent.device.led_order import (
    OFF,
    ON,
    SIGNALS,
    SILENT,
    LedChoice,
    Order,
    order_from_json,
    order_to_json,
)
from hw import LedState

SLOW_BLINK = Order(LedState.BLINKING, 5.0)
SIGNAL = SIGNALS["blink"]


def test_outside_a_limit_the_signal_is_shown_and_on_return_the_last_order():
    choice = LedChoice().after_order(SLOW_BLINK)
    outside = choice.with_signal(SIGNAL)
    assert outside.shown == SIGNAL
    assert outside.with_signal(None).shown == SLOW_BLINK


def test_an_order_wins_until_the_next_crossing():
    choice = LedChoice().with_signal(SIGNAL).after_order(ON)
    assert choice.shown == ON
    assert choice.with_signal(None).shown == ON
    assert choice.with_signal(SIGNAL).shown == SIGNAL
    assert choice.with_signal(SIGNAL).with_signal(None).shown == ON


def test_with_led_none_nothing_is_shown():
    assert LedChoice().after_order(ON).with_signal(SIGNALS["none"]).shown == ON


orders = st.sampled_from([OFF, ON]) | st.integers(1, 3600).map(
    lambda seconds: Order(LedState.BLINKING, float(seconds))
)


events = st.one_of(
    st.tuples(st.just("order"), orders),
    st.tuples(st.just("crossing"), st.sampled_from(list(SIGNALS.values()))),
    st.tuples(st.just("return"), st.none()),
)


@given(st.lists(events, max_size=20))
def test_in_any_order_of_events_the_last_one_decides(events):
    choice, last_order = LedChoice(), OFF
    for kind, order in events:
        match kind, order:
            case "order", Order():
                choice, last_order = choice.after_order(order), order
                assert choice.shown == order
            case _:
                choice = choice.with_signal(order)
                assert choice.shown == (last_order if order in {None, SILENT} else order)


@given(orders)
def test_an_order_is_kept_as_json(order):
    assert order_from_json(json.loads(json.dumps(order_to_json(order)))) == order


@given(json_values)
def test_whatever_was_kept_is_an_order(value):
    assert isinstance(order_from_json(value), Order)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"state": "off"},
        {"state": "fading"},
        {"state": "blinking"},
        {"state": "blinking", "period": 0},
        {"state": "blinking", "period": 1e9},
        {"state": "blinking", "period": float("nan")},
    ],
)
def test_what_is_not_an_order_is_off(value):
    assert order_from_json(value) == OFF
