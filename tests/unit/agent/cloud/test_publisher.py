import asyncio
import json

import pytest
from card import Card
from fakes import FakeHub, FakeSession, open_outbox, until
from rigs import Rig, numbers

from agent.cloud.message import DROPPED_AT_ONCE
from agent.cloud.publisher import SHORTEST_SLEEP, WINDOW


@pytest.fixture
async def outbox(card):
    return await open_outbox(card)


@pytest.fixture
def card():
    return Card()


async def test_readings_are_sent_in_order_and_then_removed(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    await rig.add(50)
    async with rig.running():
        await until(lambda: len(session.sent) == 50)
        await until(lambda: outbox.waiting == 0)
    assert numbers(session) == list(range(1, 51))
    assert json.loads(session.sent[0].body) == {"temp": 20.0, "humid": 50.0}


async def test_a_reading_taken_while_connected_is_sent_at_once(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    async with rig.running():
        await until(lambda: session.reports)
        await rig.add(1)
        await until(lambda: session.sent)
    assert numbers(session) == [1]


async def test_a_live_reading_does_not_wait_behind_the_backlog(outbox):
    session = FakeSession()
    session.acknowledging.clear()
    rig = Rig(outbox, FakeHub(session))
    await rig.add(100)
    async with rig.running():
        await until(lambda: len(session.sent) == WINDOW)
        await rig.add(2)
        session.acknowledging.set()
        await until(lambda: len(session.sent) == 102)
    order = numbers(session)
    # One of the backlog may have been chosen already; each lane is in order.
    assert order.index(101) <= WINDOW + 1
    assert [number for number in order if number <= 100] == list(range(1, 101))
    assert [number for number in order if number > 100] == [101, 102]


async def test_no_more_than_the_window_is_in_flight(outbox):
    session = FakeSession()
    session.acknowledging.clear()
    rig = Rig(outbox, FakeHub(session))
    await rig.add(60)
    async with rig.running():
        await until(lambda: len(session.sent) == WINDOW)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(session.sent) == WINDOW
        session.acknowledging.set()
        await until(lambda: outbox.waiting == 0)


async def test_an_unacknowledged_reading_is_sent_again_with_the_same_id(outbox):
    first, second = FakeSession(), FakeSession()
    first.acknowledging.clear()
    rig = Rig(outbox, FakeHub(first, second))
    await rig.add(3)
    async with rig.running():
        await until(lambda: len(first.sent) == 3)
        first.lose()
        await until(lambda: outbox.waiting == 0)
    assert second.sent == first.sent


async def test_acknowledged_readings_are_removed_when_the_session_ends(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    await rig.add(1)
    async with rig.running():
        await until(lambda: session.sent)
        session.lose()
        await until(lambda: rig.hub.open == 0)
        await until(lambda: outbox.waiting == 0)


async def test_the_rate_is_limited(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session), max_rate=10)
    await rig.add(50)
    began = rig.clock.up
    async with rig.running():
        await until(lambda: len(session.sent) == 50)
    assert rig.clock.up - began >= 49 * 0.1 - 1e-6


async def test_a_changed_rate_applies_to_the_connection(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session), max_rate=0.1)
    async with rig.running():
        await rig.add(1)
        await until(lambda: len(session.sent) == 1)
        rig.uplink._max_rate = 100
        began = rig.clock.up
        await rig.add(10)
        await until(lambda: len(session.sent) == 11)
        assert rig.clock.up - began < 11


async def test_a_rate_too_high_for_a_timer_is_limited_with_few_sleeps(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session), max_rate=1000)
    await rig.add(50)
    began = rig.clock.up
    async with rig.running():
        await until(lambda: len(session.sent) == 50)
        took = rig.clock.up - began
    assert took >= 49 * 0.001 - SHORTEST_SLEEP
    assert not [step for step in rig.sleeps if 0 < step <= SHORTEST_SLEEP]


async def test_readings_that_could_not_be_read_for_a_while_are_sent_over_the_same_connection(
    outbox, card
):
    await Rig(outbox, FakeHub()).add(3)
    outbox = await restarted(outbox, card)
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    card.failing = {"open", "create", "write"}
    await rig.add(1)
    async with rig.running():
        await until(lambda: len(session.sent) == 1)
        card.failing = set()
        await rig.add(1)
        await until(lambda: len(session.sent) == 5)
        await until(lambda: outbox.waiting == 0)
        assert rig.uplink.connections == 1
    assert sorted(numbers(session)) == [1, 1, 2, 2, 3]
    assert len({sent.id for sent in session.sent}) == 5


async def test_a_part_that_could_not_be_read_is_read_again_over_the_same_connection(outbox, card):
    await Rig(outbox, FakeHub()).add(300)
    outbox = await restarted(outbox, card)
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session), max_rate=1000)
    card.bad = {("00000001.log", 1)}
    async with rig.running():
        await until(lambda: 0 < outbox.waiting < 300)
        await until(lambda: len(session.sent) == 300 - outbox.waiting)
        left = outbox.waiting
        card.bad = set()
        await rig.add(1)
        await until(lambda: outbox.waiting == 0)
        assert rig.uplink.connections == 1
    assert left > 50
    assert len({sent.id for sent in session.sent}) == len(session.sent) == 301


def properties(session, name):
    return [sent.properties.get(name) for sent in session.sent]


async def restarted(outbox, card):
    await outbox.close()
    return await open_outbox(card)


async def test_the_oldest_reading_of_each_run_names_the_id_before_the_run(outbox, card):
    await Rig(outbox, FakeHub()).add(2)
    outbox = await restarted(outbox, card)
    first = outbox.run
    await Rig(outbox, FakeHub()).add(3)
    again = await restarted(outbox, card)
    session = FakeSession()
    rig = Rig(again, FakeHub(session))
    async with rig.running():
        await until(lambda: len(session.sent) == 5)
        await rig.add(2)
        await until(lambda: len(session.sent) == 7)
    before = session.sent[0].id.partition(":")[0]
    expected = [None, None, f"{before}:2", None, None, f"{first}:3", None]
    assert properties(session, "previous") == expected


async def test_the_id_before_a_run_is_named_again_unless_acknowledged(outbox, card):
    await Rig(outbox, FakeHub()).add(1)
    again = await restarted(outbox, card)
    first, second = FakeSession(), FakeSession()
    first.acknowledging.clear()
    rig = Rig(again, FakeHub(first, second))
    await rig.add(2)
    async with rig.running():
        await until(lambda: len(first.sent) == 3)
        first.lose()
        await until(lambda: again.waiting == 0)
    assert properties(first, "previous") == [None, f"{outbox.run}:1", None]
    assert second.sent == first.sent


async def test_dropped_readings_are_named_once_and_again_until_acknowledged(outbox):
    for number in range(1, DROPPED_AT_ONCE + 3):
        outbox._files.drop("00ff00ff00ff", 2 * number, 2 * number, "age")
    first, second = FakeSession(), FakeSession()
    first.acknowledging.clear()
    rig = Rig(outbox, FakeHub(first, second))
    await rig.add(3)
    async with rig.running():
        await until(lambda: len(first.sent) == 3)
        assert outbox.unreported
        first.lose()
        await until(lambda: outbox.waiting == 0)
    lists = properties(first, "dropped")
    assert [len(named.split(",")) for named in lists[:2]] == [DROPPED_AT_ONCE, 2]
    assert lists[0].startswith("00ff00ff00ff:2-2:age,00ff00ff00ff:4-4:age,")
    assert lists[2] is None
    assert properties(second, "dropped") == lists
    assert outbox.unreported == []
