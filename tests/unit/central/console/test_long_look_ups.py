"""Look-ups that may take seconds: threads of their own, and equal ones run once."""

import asyncio
import threading

import pytest

from central.console.page_api.messages import whole_steps
from central.console.responses import LongLookUps
from central.errors import StoreError, UnknownDevice
from central.storage.store import LONG_READERS

DEADLINE = 10.0


@pytest.fixture
def look_ups(store):
    look_ups = LongLookUps(store)
    yield look_ups
    look_ups.close()


class Gate:
    """A query that ends when it is let through."""

    def __init__(self):
        self.runs = 0
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()

    def query(self, _db, value):
        self.runs += 1
        self.begun.release()
        assert self.open.wait(DEADLINE)
        if value is None:
            raise UnknownDevice("pi")
        return [value]


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


async def test_equal_look_ups_at_the_same_time_run_once(look_ups, gate):
    tasks = [asyncio.create_task(look_ups.run("ann", gate.query, 1)) for _ in range(3)]
    other = asyncio.create_task(look_ups.run("ann", gate.query, 2))
    await asyncio.sleep(0)
    gate.open.set()
    assert await asyncio.gather(*tasks, other) == [[1], [1], [1], [2]]
    assert gate.runs == 2
    assert await look_ups.run("ann", gate.query, 1) == [1]
    assert gate.runs == 3


async def test_a_caller_that_leaves_does_not_end_the_look_up_of_the_others(look_ups, gate):
    leaves, stays = (asyncio.create_task(look_ups.run("ann", gate.query, 1)) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    gate.open.set()
    assert await stays == [1]


async def test_each_caller_gets_the_error(look_ups, gate):
    tasks = [asyncio.create_task(look_ups.run("ann", gate.query, None)) for _ in range(2)]
    gate.open.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in outcomes] == [UnknownDevice, UnknownDevice]


async def test_one_user_is_not_kept_waiting_by_all_look_ups_of_another(look_ups):
    order = []
    begun, may_end = threading.Semaphore(0), threading.Semaphore(0)

    def query(_db, value):
        order.append(value)
        begun.release()
        assert may_end.acquire(timeout=DEADLINE)

    async with asyncio.TaskGroup() as tasks:
        for each in range(50):
            tasks.create_task(look_ups.run("vera", query, each))
        tasks.create_task(look_ups.run("ann", query, "ann"))
        for _ in range(LONG_READERS):
            assert await asyncio.to_thread(begun.acquire, timeout=DEADLINE)
        # A thread for the next one, and no more: which of two would be first is not determined.
        may_end.release()
        assert await asyncio.to_thread(begun.acquire, timeout=DEADLINE)
        assert order[LONG_READERS:] == ["ann"]
        may_end.release(50)
    assert len(order) == 51


async def test_short_look_ups_do_not_wait_for_long_ones(look_ups, store, gate):
    tasks = [asyncio.create_task(look_ups.run("ann", gate.query, each)) for each in range(10)]
    await asyncio.sleep(0)
    for _ in range(LONG_READERS):
        assert await asyncio.to_thread(gate.begun.acquire, timeout=DEADLINE)
    assert await asyncio.to_thread(store.read, lambda _: "short") == "short"
    assert gate.runs == LONG_READERS
    gate.open.set()
    await asyncio.gather(*tasks)


async def test_a_long_look_up_ends_when_the_store_is_closed(look_ups, store):
    begun = threading.Event()

    def count(db):
        begun.set()
        # Without an end.
        db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                   " SELECT count(*) FROM n").fetchone()  # fmt: skip

    task = asyncio.create_task(look_ups.run("ann", count))
    await asyncio.to_thread(begun.wait, DEADLINE)
    await asyncio.to_thread(store.close)
    with pytest.raises(StoreError):
        await task


@pytest.mark.parametrize("length", [0.5, 600.0, 86_400.0, 7 * 86_400.0])
def test_pages_that_show_the_same_period_ask_for_the_same(length):
    now = 1_796_000_000.0
    spans = {whole_steps(now + at - length, now + at + 86_400, now + at) for at in (0.3, 0.30001)}
    ((since, until),) = spans
    assert now + 0.3 - length - length / 1000 <= since <= now + 0.3 - length
    assert until >= now + 0.30001 + 86_400


def test_a_span_of_whole_seconds_is_not_widened():
    assert whole_steps(1000.0, 2000.0, 5000.0) == (1000.0, 2000.0)
    assert whole_steps(2000.0, 1000.0, 5000.0) == (2000.0, 1000.0)
