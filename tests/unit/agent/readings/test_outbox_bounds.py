import sqlite3
import tracemalloc
from itertools import pairwise
from unittest.mock import Mock

from fakes import HandClock, open_outbox

from agent.readings import outbox_tables as tables
from agent.readings.outbox import START
from agent.status import DroppedReadings
from hw import Reading


async def grow(store, count, *, uptime):
    """Write many readings in one transaction, which is faster."""
    clock = HandClock(wall=0.0, uptime=uptime, known=False)

    def work(database):
        for _ in range(count):
            tables.insert(database, Reading(20.0, 50.0), clock.stamp())

    await store.run(work)


async def test_thousands_of_readings_that_become_too_old_are_dropped_in_steps(tmp_path):
    # Without network for weeks the clock is unsynchronised, and age is checked only afterwards.
    store, _ = await open_outbox(tmp_path)
    await grow(store, 30_000, uptime=1000.0)
    store.close()
    clock = HandClock(uptime=3_000_000.0)
    store, outbox = await open_outbox(tmp_path, clock=clock, max_age_days=1)
    waiting = [outbox.waiting]
    tracemalloc.start()
    while len(waiting) < 3 or waiting[-1] < waiting[-2]:
        await outbox.add(Reading(21.0, 50.0), clock.stamp())
        waiting.append(outbox.waiting)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    steps = [before - after for before, after in pairwise(waiting)]
    assert max(steps) <= tables.DROP_AT_MOST
    assert {entry.taken for entry in await outbox.after(START, limit=100)} == {clock.stamp()}
    assert most < 5_000_000
    gap = DroppedReadings(outbox.id, 1, 30_000, "age")
    assert (await outbox.status(60)).dropped == (gap,)
    store.close()


async def test_after_a_lower_bound_readings_are_dropped_in_steps(tmp_path):
    store, _ = await open_outbox(tmp_path)
    await grow(store, 10_000, uptime=1000.0)
    store.close()
    store, outbox = await open_outbox(tmp_path, max_megabytes=0.1)
    waiting = [outbox.waiting]
    for _ in range(20):
        await outbox.add(Reading(21.0, 50.0), HandClock().stamp())
        waiting.append(outbox.waiting)
    steps = [before - after for before, after in pairwise(waiting)]
    assert max(steps) <= tables.DROP_AT_MOST
    assert await store.run(tables.used_bytes) <= 100_000
    store.close()


async def test_a_page_has_its_limit_despite_readings_that_cannot_be_removed(tmp_path, monkeypatch):
    asked, select = [], tables.select

    def remember(*arguments, limit):
        asked.append(limit)
        return select(*arguments, limit=limit)

    store, outbox = await open_outbox(tmp_path)
    for _ in range(8):
        await outbox.add(Reading(20.0, 50.0), HandClock().stamp())
    entries = await outbox.after(START, limit=8)
    with monkeypatch.context() as patch:
        patch.setattr(tables, "delete", Mock(side_effect=sqlite3.OperationalError("full")))
        await outbox.remove(entries[:5])
    monkeypatch.setattr(tables, "select", remember)
    page = await outbox.after(entries[3].position, limit=2)
    assert [entry.sequence for entry in page] == [6, 7]
    assert asked == [3]  # One acknowledged reading comes after the position.
    store.close()
