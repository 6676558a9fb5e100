"""Policies for tests, and their attempts."""

from typing import Any

from hypothesis import strategies as st

from hw import Fault, Policy, Reading

ROOM = Reading(21.0, 45.0)


def policy(**options):
    usual: dict[str, Any] = {"model": "dht22", "spacing": 2.1, "interval": 60.0, "now": 0.0}
    return Policy(**usual | options)


def policy_without_spacing(**options):
    return policy(**{"spacing": 0.0, "interval": 5.0} | options)


def step(it, outcome, *, late=0.0, takes=0.0):
    """Make one attempt when it is due, or `late` seconds later. Return what was accepted."""
    began = it.next_attempt() + late
    it.began(began)
    if isinstance(outcome, Fault):
        it.failed(outcome, began + takes)
        return []
    return it.succeeded(outcome, began + takes)


def warm(**options):
    """Return a policy that has accepted one reading, at 2.1 seconds."""
    it = policy(**options)
    assert step(it, ROOM) == []
    assert len(step(it, ROOM)) == 1
    return it


OUTCOMES = st.one_of(
    st.sampled_from(Fault),
    st.builds(Reading, st.floats(-45, 85), st.floats(-5, 105)),
    st.just(ROOM),
    st.builds(Reading, st.floats(allow_nan=True), st.floats(allow_nan=True)),
)
ATTEMPTS = st.lists(
    st.tuples(OUTCOMES, st.sampled_from([0.0, 0.0, 0.01, 3.0, 500.0]), st.floats(0.0, 8.0))
)
