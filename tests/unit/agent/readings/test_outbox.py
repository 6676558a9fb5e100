import asyncio
import logging

import pytest
from fakes import HandClock, open_outbox, until

from agent.errors import StoreError
from agent.readings import outbox as outbox_module
from agent.readings.outbox import START
from agent.status import DroppedReadings
from hw import Reading


@pytest.fixture
async def outbox(tmp_path):
    store, outbox = await open_outbox(tmp_path)
    yield outbox
    store.close()


async def fill(outbox, count, clock=None):
    clock = clock or HandClock()
    for number in range(count):
        await outbox.add(Reading(20.0 + number % 50, 50.0), clock.stamp())


async def everything(outbox):
    return await outbox.after(START, limit=100_000)


def sequences(entries):
    return [entry.sequence for entry in entries]


class Disk:
    """A disk that fails and recovers while the store is open."""

    def __init__(self, store, monkeypatch):
        self.broken = None
        do = store._do

        def work(job):
            if self.broken:
                raise StoreError(store.path, self.broken)
            return do(job)

        monkeypatch.setattr(store, "_do", work)


async def test_readings_are_returned_unchanged_in_order(outbox):
    clock = HandClock()
    await outbox.add(Reading(21.5, 45.0), clock.stamp())
    await outbox.add(Reading(-4.0, 99.9), clock.stamp())
    first, second = await everything(outbox)
    assert (first.reading, first.taken) == (Reading(21.5, 45.0), clock.stamp())
    assert second.reading == Reading(-4.0, 99.9)
    assert [first.message_id, second.message_id] == [f"{outbox.id}:1", f"{outbox.id}:2"]
    assert outbox.waiting == 2


async def test_a_reading_with_damaged_text_does_not_block_others(tmp_path):
    store, outbox = await open_outbox(tmp_path)
    await fill(outbox, 3)
    await store.run(
        lambda db: db.execute(
            "UPDATE readings SET boot_id = CAST(x'ff6f' AS TEXT) WHERE sequence = 2"
        )
    )
    kept = await everything(outbox)
    assert sequences(kept) == [1, 2, 3]
    assert kept[1].taken.boot_id not in {kept[0].taken.boot_id, kept[2].taken.boot_id}
    store.close()


async def test_a_page_begins_after_its_position(outbox):
    await fill(outbox, 5)
    page = await outbox.after(START, limit=2)
    assert sequences(page) == [1, 2]
    assert sequences(await outbox.after(page[-1].position, limit=2)) == [3, 4]


async def test_later_readings_come_after_the_newest_position(outbox):
    await fill(outbox, 3)
    boundary = outbox.newest
    assert await outbox.after(boundary, limit=10) == []
    await fill(outbox, 1)
    assert sequences(await outbox.after(boundary, limit=10)) == [4]


async def test_removed_sequence_numbers_are_never_reused(outbox):
    await fill(outbox, 3)
    await outbox.remove(await everything(outbox))
    assert outbox.waiting == 0
    assert await everything(outbox) == []
    await fill(outbox, 1)
    assert sequences(await everything(outbox)) == [4]


async def test_removing_twice_counts_once(outbox):
    await fill(outbox, 2)
    first, _ = await everything(outbox)
    await outbox.remove([first])
    await outbox.remove([first])
    assert outbox.waiting == 1


async def test_concurrent_removals_are_counted_correctly(outbox):
    await fill(outbox, 20)
    await asyncio.gather(*(outbox.remove([entry]) for entry in await everything(outbox)))
    assert outbox.waiting == 0


async def test_a_restart_keeps_readings_numbers_and_id(tmp_path):
    store, outbox = await open_outbox(tmp_path)
    await fill(outbox, 3)
    before = await everything(outbox)
    await outbox.remove(before[2:])
    store.close()
    store, again = await open_outbox(tmp_path)
    assert again.id == outbox.id
    assert again.waiting == 2
    assert await everything(again) == before[:2]
    await fill(again, 1)
    assert sequences(await everything(again)) == [1, 2, 4]
    store.close()


async def test_each_new_outbox_has_its_own_id(tmp_path):
    store_a, a = await open_outbox(tmp_path / "a")
    store_b, b = await open_outbox(tmp_path / "b")
    assert a.id != b.id
    store_a.close()
    store_b.close()


async def test_a_cancelled_removal_is_completed(outbox):
    await fill(outbox, 3)
    removal = asyncio.create_task(outbox.remove(await everything(outbox)))
    await asyncio.sleep(0)
    removal.cancel()
    await asyncio.wait({removal})
    await until(lambda: outbox.waiting == 0)
    assert await everything(outbox) == []


async def test_a_cancelled_add_is_completed(outbox):
    adding = asyncio.create_task(outbox.add(Reading(20.0, 50.0), HandClock().stamp()))
    await asyncio.sleep(0)
    adding.cancel()
    await asyncio.wait({adding})
    await until(lambda: outbox.waiting == 1)
    assert len(await everything(outbox)) == 1


async def test_the_oldest_readings_are_dropped_when_the_queue_is_full(tmp_path, caplog):
    store, outbox = await open_outbox(tmp_path, max_megabytes=0.1)
    await fill(outbox, 4000)
    kept = sequences(await everything(outbox))
    assert kept == list(range(kept[0], 4001))
    assert outbox.waiting == len(kept) < 4000
    (gap,) = (await outbox.status(60)).dropped
    assert (gap.run, gap.first, gap.last) == (outbox.id, 1, kept[0] - 1)
    assert gap.reason == "room"
    assert caplog.text.count("The oldest ones are dropped") == 1
    store.close()


async def test_the_file_stays_within_its_bound(tmp_path):
    store, outbox = await open_outbox(tmp_path, max_megabytes=0.2)
    await fill(outbox, 6000)
    store.close()
    assert (tmp_path / "state.db").stat().st_size <= 200_000 + 8192


async def test_readings_that_are_too_old_are_dropped(tmp_path):
    clock = HandClock()
    store, outbox = await open_outbox(tmp_path, clock=clock, max_age_days=1)
    await fill(outbox, 3, clock)
    clock.move(86_000)
    await fill(outbox, 1, clock)
    assert outbox.waiting == 4
    clock.move(1000)
    await fill(outbox, 1, clock)
    assert sequences(await everything(outbox)) == [4, 5]
    assert (await outbox.status(60)).dropped[0].reason == "age"
    store.close()


async def test_age_is_not_checked_while_the_clock_is_wrong(tmp_path):
    clock = HandClock(known=False)
    store, outbox = await open_outbox(tmp_path, clock=clock, max_age_days=1)
    await fill(outbox, 3, clock)
    clock.move(100_000)
    await fill(outbox, 1, clock)
    assert outbox.waiting == 4
    store.close()


async def test_age_is_not_checked_if_the_true_time_is_unknown(tmp_path):
    store, outbox = await open_outbox(tmp_path)
    await fill(outbox, 3, HandClock(wall=0.0, known=False, boot_id="boot-before"))
    store.close()
    clock = HandClock()
    store, outbox = await open_outbox(tmp_path, clock=clock, max_age_days=1)
    await fill(outbox, 1, clock)
    assert outbox.waiting == 4
    store.close()


async def test_a_failing_disk_loses_no_reading(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    store, outbox = await open_outbox(tmp_path)
    disk = Disk(store, monkeypatch)
    await fill(outbox, 2)
    disk.broken = "database or disk is full"
    await fill(outbox, 3)
    assert outbox.waiting == 5
    in_memory = await everything(outbox)
    assert sequences(in_memory) == [1, 2, 3]  # The disk cannot be read either.
    assert caplog.text.count("Readings are kept in memory") == 1

    disk.broken = None
    entries = await everything(outbox)
    assert sequences(entries) == [1, 2, 1, 2, 3]
    ids = {entry.outbox_id for entry in entries}
    assert len(ids) == 2
    await fill(outbox, 1)
    assert "Wrote 3 readings from memory" in caplog.text
    assert sequences(await everything(outbox)) == [1, 2, 1, 2, 3, 3]
    store.close()

    store, again = await open_outbox(tmp_path)
    rescued = await everything(again)
    assert [entry.message_id for entry in rescued[2:5]] == [entry.message_id for entry in in_memory]
    await again.remove(rescued)
    assert again.waiting == 0
    store.close()


async def test_readings_sent_from_memory_are_not_written_to_disk(tmp_path, monkeypatch):
    store, outbox = await open_outbox(tmp_path)
    disk = Disk(store, monkeypatch)
    disk.broken = "database or disk is full"
    await fill(outbox, 3)
    sent = await everything(outbox)
    await outbox.remove(sent[:2])
    disk.broken = None
    await fill(outbox, 1)
    assert [entry.message_id for entry in await everything(outbox)] == [
        sent[2].message_id,
        f"{outbox.id}:1",
    ]
    assert outbox.waiting == 2
    store.close()


async def test_readings_acknowledged_while_the_disk_failed_are_not_returned_again(
    tmp_path, monkeypatch
):
    store, outbox = await open_outbox(tmp_path)
    disk = Disk(store, monkeypatch)
    await fill(outbox, 3)
    entries = await everything(outbox)
    disk.broken = "disk I/O error"
    await outbox.remove(entries[:2])
    disk.broken = None
    assert sequences(await everything(outbox)) == [3]
    await outbox.remove(entries[2:])
    assert outbox.waiting == 0
    store.close()


async def test_memory_is_bounded(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(outbox_module, "MAX_IN_MEMORY", 10)
    store, outbox = await open_outbox(tmp_path)
    disk = Disk(store, monkeypatch)
    disk.broken = "database or disk is full"
    await fill(outbox, 25)
    assert sequences(await everything(outbox)) == list(range(16, 26))
    assert outbox.waiting == 10
    assert caplog.text.count("The oldest ones are dropped") == 1
    gap = DroppedReadings(outbox._memory_id, 1, 15, "memory")
    assert (await outbox.status(60)).dropped == (gap,)
    disk.broken = None
    await fill(outbox, 1)
    assert (await outbox.status(60)).dropped == (gap,)
    await outbox.remove(await everything(outbox))
    assert "15 readings were dropped before they could be sent" in caplog.text
    store.close()


async def test_a_disk_that_fails_at_the_start_does_not_prevent_it(tmp_path, caplog):
    store, before = await open_outbox(tmp_path / "deep")
    await fill(before, 3)
    store.close()
    (tmp_path / "deep").rename(tmp_path / "away")
    (tmp_path / "deep").write_text("in the way")

    store, outbox = await open_outbox(tmp_path / "deep")
    await fill(outbox, 2)
    status = await outbox.status(60)
    assert (status.waiting, status.in_memory) == (2, 2)
    assert "Cannot use " in status.error
    assert caplog.text.count("Readings are kept in memory") == 1
    in_memory = [entry.message_id for entry in await everything(outbox)]
    era = outbox.era

    (tmp_path / "deep").unlink()
    (tmp_path / "away").rename(tmp_path / "deep")
    await fill(outbox, 1)
    assert outbox.id == before.id
    assert outbox.era > era
    assert [entry.message_id for entry in await everything(outbox)] == [
        *(f"{before.id}:{number}" for number in (1, 2, 3)),
        *in_memory,
        f"{before.id}:4",
    ]
    assert outbox.waiting == 6
    assert (await outbox.status(60)).error is None
    store.close()


async def test_a_file_that_is_damaged_while_in_use_is_replaced_with_a_new_id(tmp_path):
    store, outbox = await open_outbox(tmp_path)
    await fill(outbox, 5)
    damaged_id, era = outbox.id, outbox.era
    seen = await everything(outbox)
    await store.run(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
    (tmp_path / "state.db").write_bytes(b"\xff" * (tmp_path / "state.db").stat().st_size)
    # Whichever call finds the damage, positions of the old file are not used in the new one.
    store._disconnect()
    await store.run(lambda db: db.execute("SELECT count(*) FROM readings").fetchone())

    await fill(outbox, 2)
    assert outbox.id != damaged_id
    assert outbox.era > era
    fresh = await everything(outbox)
    assert [entry.message_id for entry in fresh] == [f"{outbox.id}:1", f"{outbox.id}:2"]
    await outbox.remove(seen)  # A late acknowledgement: 1 and 2 are other readings now.
    assert await everything(outbox) == fresh
    assert outbox.waiting == 2
    assert (await outbox.status(60)).set_aside[0].reason == "damaged"
    store.close()


async def test_a_jump_of_the_clock_does_not_change_the_order(tmp_path):
    clock = HandClock()
    store, outbox = await open_outbox(tmp_path, clock=clock)
    for jump in (0, 86_400, -7 * 86_400, 1):
        clock.time += jump
        clock.up += 60
        await fill(outbox, 1, clock)
    entries = await everything(outbox)
    assert sequences(entries) == [1, 2, 3, 4]
    assert [e.taken.uptime for e in entries] == sorted(e.taken.uptime for e in entries)
    store.close()


async def test_a_really_full_disk_loses_no_reading(tmp_path):
    store, outbox = await open_outbox(tmp_path)
    await fill(outbox, 10)

    def limit(database, pages):
        database.execute(f"PRAGMA max_page_count = {pages}")

    used = await store.run(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await store.run(lambda db: limit(db, used))
    await fill(outbox, 500)
    assert outbox.waiting == 510
    await store.run(lambda db: limit(db, 10_000))
    await fill(outbox, 1)
    entries = await everything(outbox)
    assert len(entries) == outbox.waiting == 511
    assert len({entry.message_id for entry in entries}) == 511
    store.close()


async def test_the_status_has_the_oldest_reading_and_the_remaining_time(tmp_path):
    clock = HandClock()
    store, outbox = await open_outbox(tmp_path, clock=clock)
    assert (await outbox.status(60)).oldest is None
    await fill(outbox, 2, clock)
    clock.move(100)
    status = await outbox.status(60)
    assert status.waiting == 2
    assert status.oldest == "2023-11-14T22:13:20.000Z"
    assert status.room_seconds == 30 * 86400.0
    assert (await outbox.status(0.05)).room_seconds < 30 * 86400.0
    store.close()
