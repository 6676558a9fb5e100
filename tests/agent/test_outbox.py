import asyncio

import pytest
from fakes import HandClock, open_outbox, until

from hw import Reading


@pytest.fixture
async def outbox(tmp_path):
    store, outbox = await open_outbox(tmp_path)
    yield outbox
    store.close()


async def fill(outbox, count):
    clock = HandClock()
    return [
        await outbox.add(Reading(20.0 + number, 50.0), clock.stamp()) for number in range(count)
    ]


async def test_readings_come_back_in_order_as_they_were(outbox):
    entries = await fill(outbox, 5)
    assert await outbox.after(0, limit=10) == entries
    assert [entry.sequence for entry in entries] == [1, 2, 3, 4, 5]
    assert outbox.waiting == 5


async def test_a_page_begins_after_what_was_seen(outbox):
    entries = await fill(outbox, 5)
    assert await outbox.after(2, limit=2) == entries[2:4]


async def test_what_is_removed_is_gone_and_its_number_never_used_again(outbox):
    await fill(outbox, 3)
    await outbox.remove([1, 2, 3])
    assert outbox.waiting == 0
    assert await outbox.after(0, limit=10) == []
    (entry,) = await fill(outbox, 1)
    assert entry.sequence == 4
    assert await outbox.newest() == 4


async def test_removing_twice_counts_once(outbox):
    await fill(outbox, 2)
    await outbox.remove([1])
    await outbox.remove([1])
    assert outbox.waiting == 1


async def test_a_restart_keeps_readings_and_id(tmp_path):
    store, outbox = await open_outbox(tmp_path)
    entries = await fill(outbox, 3)
    store.close()
    store, again = await open_outbox(tmp_path)
    assert again.id == outbox.id
    assert again.waiting == 3
    assert await again.after(0, limit=10) == entries
    assert [entry.message_id for entry in entries] == [f"{again.id}:{n}" for n in (1, 2, 3)]
    store.close()


async def test_each_fresh_outbox_has_an_id_of_its_own(tmp_path):
    store_a, a = await open_outbox(tmp_path / "a")
    store_b, b = await open_outbox(tmp_path / "b")
    assert a.id != b.id
    store_a.close()
    store_b.close()


async def test_an_empty_outbox_has_no_newest(outbox):
    assert await outbox.newest() == 0


async def test_a_removal_whose_caller_is_cancelled_is_carried_through(outbox):
    await fill(outbox, 3)
    removal = asyncio.create_task(outbox.remove([1, 2, 3]))
    await asyncio.sleep(0)
    removal.cancel()
    await asyncio.wait({removal})
    await until(lambda: outbox.waiting == 0)
    assert await outbox.after(0, limit=10) == []


async def test_a_reading_whose_taker_is_cancelled_is_kept(outbox):
    adding = asyncio.create_task(outbox.add(Reading(20.0, 50.0), HandClock().stamp()))
    await asyncio.sleep(0)
    adding.cancel()
    await asyncio.wait({adding})
    await until(lambda: outbox.waiting == 1)
    assert len(await outbox.after(0, limit=10)) == 1


async def test_removals_at_the_same_time_count_right(outbox):
    await fill(outbox, 20)
    await asyncio.gather(*(outbox.remove([number]) for number in range(1, 21)))
    assert outbox.waiting == 0
