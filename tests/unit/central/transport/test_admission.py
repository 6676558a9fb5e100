"""Limits on clients that have not signed in, and the order of their handshakes."""

import asyncio
from contextlib import ExitStack
from functools import partial

import pytest

from central.transport.admission import (
    BURST,
    MAX_ADDRESSES,
    RATE,
    RESERVED,
    Admission,
    Turns,
)


@pytest.fixture
def clients(clock):
    return Admission(clock)


def admitted(clients, address, tries):
    return sum(clients.admits(address) for _ in range(tries))


def test_an_address_may_open_a_burst_and_then_a_rate_of_connections(clients, clock, caplog):
    assert admitted(clients, "10.0.0.1", 1000) == BURST
    assert caplog.text.count("opens too many connections") == 1
    assert clients.refused == 1000 - BURST
    assert admitted(clients, "10.0.0.2", 10) == 10
    clock.now += 1.0
    assert admitted(clients, "10.0.0.1", 1000) == RATE
    clock.now += 1000.0
    assert admitted(clients, "10.0.0.1", 1000) == BURST


def test_the_number_of_tracked_addresses_is_limited(clients):
    for number in range(MAX_ADDRESSES + 50):
        clients.admits(str(number))
    assert len(clients._allowances) == MAX_ADDRESSES


def test_too_many_silent_clients_cost_the_most_crowded_address_its_oldest_one(clock):
    clients = Admission(clock, most_silent=3)
    out: list[str] = []
    with ExitStack() as stack:
        for name, address in [("a", "1"), ("b", "2"), ("c", "2"), ("d", "2"), ("e", "2")]:
            stack.enter_context(clients.entering(address, partial(out.append, name)))
        assert out == ["b", "c"]
        assert clients.silent.count == 3
    assert clients.silent.count == 0


def test_of_many_addresses_the_oldest_client_is_disconnected(clock):
    clients = Admission(clock, most_silent=3)
    out: list[str] = []
    with ExitStack() as stack:
        for name in "abcde":
            stack.enter_context(clients.entering(name, partial(out.append, name)))
        assert out == ["a", "b"]


def test_known_addresses_are_not_disconnected_for_unknown_ones(clock):
    clients = Admission(clock, most_silent=3)
    clients.admits("known")
    with clients.entering("known", lambda: None) as device:
        device.signed_in()
    out: list[str] = []
    with ExitStack() as stack:
        for name in ("known", *"abcde"):
            stack.enter_context(clients.entering(name, partial(out.append, name)))
        assert out == ["a", "b", "c"]


def test_a_known_address_cannot_keep_the_others_out(clock):
    clients = Admission(clock, most_silent=RESERVED + 2)
    clients.admits("known")
    with clients.entering("known", lambda: None) as device:
        device.signed_in()
    out: list[str] = []
    with ExitStack() as stack:
        for name in (*["known"] * (RESERVED + 2), *"abcde"):
            stack.enter_context(clients.entering(name, partial(out.append, name)))
        assert out == ["known", "known", "a", "b", "c"]


def test_silent_clients_do_not_displace_those_that_have_begun_tls(clock):
    clients = Admission(clock, most_silent=2, most_waiting=1)
    out = []
    with ExitStack() as stack:
        first = stack.enter_context(clients.entering("1", lambda: out.append("first")))
        first.enter(clients.waiting)
        for name in "abc":
            stack.enter_context(clients.entering("1", partial(out.append, name)))
        assert out == ["a"]
        assert (clients.silent.count, clients.waiting.count) == (2, 1)
    assert (clients.silent.count, clients.waiting.count) == (0, 0)


def test_a_client_that_signed_in_or_left_no_longer_waits(clock):
    clients = Admission(clock, most_silent=1)
    out = []
    with clients.entering("1", lambda: out.append("a")) as first:
        first.signed_in()
        with clients.entering("1", lambda: out.append("b")):
            pass
        with clients.entering("1", lambda: out.append("c")):
            pass
    assert out == []


def test_an_address_is_known_once_a_client_has_signed_in(clients):
    assert clients.admits("1")
    with clients.entering("1", lambda: None) as client:
        assert not client.is_known
        client.signed_in()
    assert clients.admits("1")
    with clients.entering("1", lambda: None) as again, clients.entering("2", lambda: None) as other:
        assert again.is_known
        assert not other.is_known


async def test_known_addresses_go_first_and_then_the_newest_client():
    turns = Turns()
    order = []

    async def shake_hands(name, *, is_known=False):
        await turns.take(is_known=is_known)
        order.append(name)

    async with asyncio.TaskGroup() as tasks:
        for name in ("oldest", "older", "newest"):
            tasks.create_task(shake_hands(name))
        tasks.create_task(shake_hands("known", is_known=True))
    assert order == ["known", "newest", "older", "oldest"]


async def test_between_two_handshakes_everything_else_has_its_turn():
    turns = Turns()
    under_way, other = [], 0

    async def shake_hands():
        await turns.take(is_known=False)
        under_way.append(other)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(shake_hands())
        while len(under_way) < 20:
            await asyncio.sleep(0)
            other += 1
    assert len(set(under_way)) == 20


async def test_a_client_that_leaves_gives_up_its_turn():
    turns = Turns()
    leaves, stays = (asyncio.create_task(turns.take(is_known=False)) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    await stays
    with pytest.raises(asyncio.CancelledError):
        await leaves
    await turns.take(is_known=False)
