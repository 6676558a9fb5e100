import asyncio
import json

import pytest
from fakes import FakeHub, FakeSession, open_outbox, until
from rigs import Rig, sequences

from agent.cloud.publisher import SHORTEST_SLEEP, WINDOW
from agent.errors import StoreError


@pytest.fixture
async def outbox(tmp_path):
    store, outbox = await open_outbox(tmp_path)
    yield outbox
    store.close()


async def test_readings_are_sent_in_order_and_then_removed(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    await rig.add(50)
    async with rig.running():
        await until(lambda: len(session.sent) == 50)
        await until(lambda: outbox.waiting == 0)
    assert sequences(session) == list(range(1, 51))
    assert json.loads(session.sent[0].body) == {"temp": 20.0, "humid": 50.0}


async def test_a_reading_taken_while_connected_is_sent_at_once(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    async with rig.running():
        await until(lambda: session.reports)
        await rig.add(1)
        await until(lambda: session.sent)
    assert sequences(session) == [1]


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
    order = sequences(session)
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
    outbox, monkeypatch
):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    await rig.add(3)
    do = outbox._store._do

    def fail(_work):
        raise StoreError(outbox._store.path, "disk I/O error")

    monkeypatch.setattr(outbox._store, "_do", fail)
    await rig.add(1)
    async with rig.running():
        await until(lambda: len(session.sent) == 1)
        monkeypatch.setattr(outbox._store, "_do", do)
        await rig.add(1)
        await until(lambda: len(session.sent) == 5)
        await until(lambda: outbox.waiting == 0)
        assert rig.uplink.connections == 1
    assert sorted(sequences(session)) == [1, 1, 2, 3, 4]
    assert len({sent.id for sent in session.sent}) == 5


async def test_a_replaced_file_is_sent_from_its_beginning(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    await rig.add(5)
    async with rig.running():
        await until(lambda: len(session.sent) == 5)
        old = outbox.id
        await outbox._store.run(
            lambda db: db.execute("DELETE FROM settings WHERE name = 'outbox_id'")
        )
        await outbox._store.run(lambda db: db.execute("DELETE FROM readings"))
        await outbox._store.run(lambda db: db.execute("DELETE FROM sqlite_sequence"))
        await rig.add(3)
        await until(lambda: len(session.sent) == 8)
    assert outbox.id != old
    assert [sent.id for sent in session.sent[5:]] == [f"{outbox.id}:{n}" for n in (1, 2, 3)]
