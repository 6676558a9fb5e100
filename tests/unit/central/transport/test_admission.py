"""Who is on the way in."""

from contextlib import ExitStack

import pytest

from central.transport import admission
from central.transport.admission import BURST, MOST_ADDRESSES, RATE, Door


@pytest.fixture
def counted(clock):
    return Door(clock)


def admitted(counted, address, tries):
    return sum(counted.admits(address) for _ in range(tries))


def test_an_address_may_open_many_connections_but_not_ever_more(counted, clock, caplog):
    assert admitted(counted, "10.0.0.1", 1000) == BURST
    assert caplog.text.count("opens too many connections") == 1
    assert admitted(counted, "10.0.0.2", 10) == 10
    clock.now += 1.0
    assert admitted(counted, "10.0.0.1", 1000) == RATE
    clock.now += 1000.0
    assert admitted(counted, "10.0.0.1", 1000) == BURST


def test_not_ever_more_addresses_are_remembered(counted):
    for number in range(MOST_ADDRESSES + 50):
        counted.admits(str(number))
    assert len(counted._callers) == MOST_ADDRESSES


def test_of_too_many_that_wait_the_longest_of_the_crowd_is_shown_out(counted, monkeypatch):
    monkeypatch.setattr(admission, "MOST_WAITING", 3)
    out = []
    with ExitStack() as stack:
        for name, address in [("a", "1"), ("b", "2"), ("c", "2"), ("d", "2"), ("e", "2")]:
            stack.enter_context(counted.entering(address, lambda name=name: out.append(name)))
        assert out == ["b", "c"]
    assert not counted._waiting


def test_who_has_signed_in_or_left_does_not_wait(counted, monkeypatch):
    monkeypatch.setattr(admission, "MOST_WAITING", 1)
    out = []
    with counted.entering("1", lambda: out.append("a")) as first:
        first.signed_in()
        with counted.entering("1", lambda: out.append("b")):
            pass
        with counted.entering("1", lambda: out.append("c")):
            pass
    assert out == []
