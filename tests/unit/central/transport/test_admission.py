"""Limits on clients that have not signed in."""

from contextlib import ExitStack

import pytest

from central.transport import admission
from central.transport.admission import BURST, MAX_ADDRESSES, RATE, Admission


@pytest.fixture
def clients(clock):
    return Admission(clock)


def admitted(clients, address, tries):
    return sum(clients.admits(address) for _ in range(tries))


def test_an_address_may_open_a_burst_and_then_a_rate_of_connections(clients, clock, caplog):
    assert admitted(clients, "10.0.0.1", 1000) == BURST
    assert caplog.text.count("opens too many connections") == 1
    assert admitted(clients, "10.0.0.2", 10) == 10
    clock.now += 1.0
    assert admitted(clients, "10.0.0.1", 1000) == RATE
    clock.now += 1000.0
    assert admitted(clients, "10.0.0.1", 1000) == BURST


def test_the_number_of_tracked_addresses_is_limited(clients):
    for number in range(MAX_ADDRESSES + 50):
        clients.admits(str(number))
    assert len(clients._allowances) == MAX_ADDRESSES


def test_too_many_waiting_clients_cost_the_most_crowded_address_its_oldest_one(
    clients, monkeypatch
):
    monkeypatch.setattr(admission, "MAX_WAITING", 3)
    out = []
    with ExitStack() as stack:
        for name, address in [("a", "1"), ("b", "2"), ("c", "2"), ("d", "2"), ("e", "2")]:
            stack.enter_context(clients.entering(address, lambda name=name: out.append(name)))
        assert out == ["b", "c"]
    assert not clients._waiting


def test_a_client_that_signed_in_or_left_no_longer_waits(clients, monkeypatch):
    monkeypatch.setattr(admission, "MAX_WAITING", 1)
    out = []
    with clients.entering("1", lambda: out.append("a")) as first:
        first.signed_in()
        with clients.entering("1", lambda: out.append("b")):
            pass
        with clients.entering("1", lambda: out.append("c")):
            pass
    assert out == []
