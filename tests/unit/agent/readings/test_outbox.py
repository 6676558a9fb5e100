import asyncio
import errno
import logging

import pytest
from card import Card
from fakes import HandClock, open_outbox

from agent.readings import outbox as outbox_module
from agent.readings.disk import Directory
from agent.readings.outbox import START, waiting_in
from agent.status import DroppedReadings
from hw import Reading

DAY = 86400.0
ALL = {"sizes", "open", "read", "write", "create", "sync", "sync_names", "delete"}
WRITES = ALL - {"sizes", "open", "read"}


@pytest.fixture
def card():
    return Card()


@pytest.fixture
async def outbox(card):
    return await open_outbox(card)


async def fill(outbox, count, clock=None):
    clock = clock or HandClock()
    for number in range(count):
        await outbox.add(Reading(20.0 + number % 50, 50.0), clock.stamp())


async def everything(outbox):
    return await outbox.after(START, limit=100_000)


def numbers(entries):
    return [entry.number for entry in entries]


def ids(entries):
    return [entry.message_id for entry in entries]


async def restarted(outbox, card, **options):
    await outbox.close()
    return await open_outbox(card, **options)


async def test_readings_are_returned_unchanged_in_order(outbox):
    clock = HandClock()
    await outbox.add(Reading(21.5, 45.0), clock.stamp())
    await outbox.add(Reading(-4.0, 99.9), clock.stamp())
    first, second = await everything(outbox)
    assert (first.reading, first.taken) == (Reading(21.5, 45.0), clock.stamp())
    assert second.reading == Reading(-4.0, 99.9)
    assert ids([first, second]) == [f"{outbox.run}:1", f"{outbox.run}:2"]
    assert outbox.waiting == 2


async def test_a_page_begins_after_its_position(outbox):
    await fill(outbox, 5)
    page = await outbox.after(START, limit=2)
    assert numbers(page) == [1, 2]
    assert numbers(await outbox.after(page[-1].position, limit=2)) == [3, 4]


async def test_pages_of_a_long_queue_have_each_reading_once(card):
    outbox = await open_outbox(card)
    await fill(outbox, 300)
    outbox = await restarted(outbox, card)
    await fill(outbox, 300)
    seen, position = [], START
    while page := await outbox.after(position, limit=70):
        seen += page
        position = page[-1].position
    assert numbers(seen) == [*range(1, 301), *range(1, 301)]
    await outbox.close()


async def test_later_readings_come_after_the_newest_position(outbox):
    await fill(outbox, 3)
    boundary = outbox.newest
    assert await outbox.after(boundary, limit=10) == []
    await fill(outbox, 1)
    assert numbers(await outbox.after(boundary, limit=10)) == [4]


async def test_readings_of_an_earlier_run_come_before_the_newest_position(outbox, card):
    await fill(outbox, 2)
    again = await restarted(outbox, card)
    assert all(entry.position <= again.newest for entry in await everything(again))
    await fill(again, 1)
    assert ids(await everything(again))[:2] == [f"{outbox.run}:1", f"{outbox.run}:2"]
    await again.close()


async def test_a_live_reading_is_not_read_from_disk(card, outbox):
    await fill(outbox, 3)
    card.failing = ALL
    position = (await everything(outbox))[1].position
    assert numbers(await outbox.after(position, limit=10)) == [3]


async def test_removed_numbers_are_never_used_again(outbox):
    await fill(outbox, 3)
    await outbox.remove(await everything(outbox))
    assert outbox.waiting == 0
    assert await everything(outbox) == []
    await fill(outbox, 1)
    assert numbers(await everything(outbox)) == [4]


async def test_removing_twice_counts_once(outbox):
    await fill(outbox, 2)
    first, _ = await everything(outbox)
    await outbox.remove([first])
    await outbox.remove([first])
    assert outbox.waiting == 1


async def test_a_restart_keeps_readings_under_their_ids_and_begins_a_run(card, outbox):
    await fill(outbox, 3)
    before = await everything(outbox)
    await outbox.remove(before[2:])
    again = await restarted(outbox, card)
    assert again.run != outbox.run
    assert again.waiting == 2
    assert ids(await everything(again)) == ids(before[:2])
    await fill(again, 1)
    assert ids(await everything(again)) == [*ids(before[:2]), f"{again.run}:1"]
    await again.close()


async def test_acknowledgements_are_written_with_the_next_reading(card, outbox):
    writes: list[str] = []
    await fill(outbox, 3)
    card.before = writes.append
    await outbox.remove((await everything(outbox))[:2])
    assert writes == []
    await fill(outbox, 1)
    assert writes == ["write", "sync"]
    restored = await open_outbox(card.copy())
    assert numbers(await everything(restored)) == [3, 4]


async def test_acknowledgements_are_written_after_500(card, outbox):
    await fill(outbox, 700)
    entries = await everything(outbox)
    writes: list[str] = []
    card.before = writes.append
    await outbox.remove(entries[:499])
    assert writes == []
    await outbox.after(START, limit=10)
    await outbox.remove(entries[499:501])
    assert "sync" in writes
    assert numbers(await everything(await open_outbox(card.copy()))) == list(range(502, 701))


async def test_one_sync_for_each_reading(card, outbox):
    await fill(outbox, 1)
    syncs = []
    card.before = lambda operation: syncs.append(operation) if "sync" in operation else None
    await fill(outbox, 100)
    assert syncs == ["sync"] * 100


async def test_a_cancelled_add_is_completed(outbox):
    adding = asyncio.create_task(outbox.add(Reading(20.0, 50.0), HandClock().stamp()))
    await asyncio.sleep(0)
    adding.cancel()
    await asyncio.wait({adding})
    await fill(outbox, 1)
    assert numbers(await everything(outbox)) == [1, 2]


async def test_readings_that_are_added_at_the_same_time_have_different_numbers(outbox):
    await asyncio.gather(*(fill(outbox, 1) for _ in range(10)))
    assert numbers(await everything(outbox)) == list(range(1, 11))


# What a receiver needs to prove that nothing is missing.


async def test_the_oldest_reading_of_a_run_has_the_id_before_its_first(card, outbox):
    await fill(outbox, 3)
    assert [entry.previous for entry in await everything(outbox)] == [None] * 3
    again = await restarted(outbox, card)
    await fill(again, 2)
    expected = [None, None, None, f"{outbox.run}:3", None]
    assert [entry.previous for entry in await everything(again)] == expected
    third = await restarted(again, card)
    await third.remove((await everything(third))[:4])
    await fill(third, 1)
    expected = [f"{outbox.run}:3", f"{again.run}:2"]
    assert [entry.previous for entry in await everything(third)] == expected
    await third.close()


async def test_a_run_without_readings_is_not_the_one_before(card, outbox):
    await fill(outbox, 2)
    await outbox.remove(await everything(outbox))
    idle = await restarted(outbox, card)
    third = await restarted(idle, card)
    await fill(third, 1)
    assert [entry.previous for entry in await everything(third)] == [f"{outbox.run}:2"]
    await third.close()


async def test_dropped_readings_are_reported_until_that_is_acknowledged(card):
    outbox = await open_outbox(card, max_megabytes=0.1)
    await fill(outbox, 4000)
    kept = numbers(await everything(outbox))
    assert kept == list(range(kept[0], 4001))
    assert outbox.waiting == len(kept) < 4000
    gap = DroppedReadings(outbox.run, 1, kept[0] - 1, "room")
    assert outbox.unreported == [gap]
    again = await restarted(outbox, card, max_megabytes=0.1)
    assert again.unreported == [gap]
    await again.remove([], reported=[gap])
    assert again.unreported == []
    third = await restarted(again, card, max_megabytes=0.1)
    assert third.unreported == []
    status = await third.status(60)
    assert (status.dropped, status.dropped_total) == ((gap,), kept[0] - 1)
    await third.close()


# Bounds.


async def test_the_oldest_readings_are_dropped_when_the_queue_is_full(card, caplog):
    outbox = await open_outbox(card, max_megabytes=0.1)
    await fill(outbox, 4000)
    assert caplog.text.count("The oldest ones are dropped") == 1
    assert sum(card.sizes().values()) <= 100_000 + 3 * 4096
    await outbox.remove(await everything(outbox))
    assert "readings were dropped before they could be sent" in caplog.text
    await outbox.close()


async def test_readings_that_are_too_old_are_dropped_by_the_day(card):
    clock = HandClock()
    outbox = await open_outbox(card, clock=clock, max_age_days=2)
    for _ in range(4):
        await fill(outbox, 3, clock)
        clock.move(DAY)
    await fill(outbox, 1, clock)
    assert numbers(await everything(outbox)) == list(range(7, 14))
    (gap,) = (await outbox.status(60)).dropped
    assert gap == DroppedReadings(outbox.run, 1, 6, "age")
    await outbox.close()


async def test_changed_limits_apply_to_readings_that_wait(card):
    clock = HandClock()
    outbox = await open_outbox(card, clock=clock)
    await fill(outbox, 4000, clock)
    assert outbox.waiting == 4000
    outbox.set_limits(max_age_days=30, max_megabytes=0.1)
    for _ in range(3):  # The file that is written is not dropped, and a new one begins each day.
        clock.move(DAY)
        await fill(outbox, 1, clock)
    (gap,) = (await outbox.status(60)).dropped
    assert gap.reason == "room"
    await fill(outbox, 1, clock)
    outbox.set_limits(max_age_days=1, max_megabytes=64)
    await fill(outbox, 1, clock)
    gaps = (await outbox.status(60)).dropped
    assert [gap.reason for gap in gaps] == ["room", "age"]
    await outbox.close()


async def test_age_is_not_checked_while_the_clock_is_wrong(card):
    clock = HandClock(known=False)
    outbox = await open_outbox(card, clock=clock, max_age_days=1)
    for _ in range(3):
        await fill(outbox, 1, clock)
        clock.move(2 * DAY)
    assert outbox.waiting == 3
    await outbox.close()


async def test_age_is_not_checked_if_the_true_time_is_unknown(card):
    outbox = await open_outbox(card, clock=HandClock(wall=0.0, known=False, boot_id="boot-before"))
    await fill(outbox, 3, HandClock(wall=0.0, known=False))
    again = await restarted(outbox, card, max_age_days=1)
    await fill(again, 1)
    assert again.waiting == 4
    await again.close()


async def test_the_status_has_the_oldest_reading_and_the_remaining_time(card):
    clock = HandClock()
    outbox = await open_outbox(card, clock=clock)
    assert (await outbox.status(60)).oldest is None
    await fill(outbox, 2, clock)
    clock.move(100)
    status = await outbox.status(60)
    assert status.waiting == 2
    assert status.oldest == "2023-11-14T22:13:20.000Z"
    assert status.room_seconds == 30 * DAY
    assert (await outbox.status(0.05)).room_seconds < 30 * DAY
    await outbox.close()


# A disk that fails.


@pytest.mark.parametrize("operations", [WRITES, ALL, {"sync"}, {"sync_names"}, {"create"}])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS])
async def test_a_failing_disk_loses_no_reading(card, outbox, caplog, operations, error):
    caplog.set_level(logging.INFO)
    await fill(outbox, 2)
    card.failing, card.error = operations, error
    outbox._files.close()  # So that the next reading needs a fresh file.
    await fill(outbox, 3)
    assert outbox.waiting == 5
    assert numbers(await everything(outbox)) == [1, 2, 3, 4, 5]
    assert caplog.text.count("Readings are kept in memory") == 1
    status = await outbox.status(60)
    assert (status.waiting, status.in_memory) == (5, 3)
    assert "Cannot use /nonexistent/outbox: " in (status.error or "")

    card.failing = set()
    await fill(outbox, 1)
    assert "Wrote 3 readings from memory" in caplog.text
    status = await outbox.status(60)
    assert (status.waiting, status.in_memory, status.error) == (6, 0, None)
    again = await restarted(outbox, card)
    assert ids(await everything(again)) == [f"{outbox.run}:{n}" for n in range(1, 7)]
    await again.close()


async def test_readings_sent_from_memory_are_not_written_to_disk(card, outbox):
    card.failing = WRITES
    await fill(outbox, 3)
    await outbox.remove((await everything(outbox))[:2])
    assert outbox.waiting == 1
    card.failing = set()
    await fill(outbox, 1)
    assert numbers(await everything(outbox)) == [3, 4]
    again = await restarted(outbox, card)
    assert numbers(await everything(again)) == [3, 4]
    assert again.unreported == []  # 1 and 2 are not missing.
    await again.close()


async def test_a_reading_acknowledged_while_it_is_written_is_not_returned_again(card, outbox):
    card.failing = WRITES
    await fill(outbox, 2)
    [first, _] = await everything(outbox)
    card.failing = set()
    adding = asyncio.create_task(fill(outbox, 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await outbox.remove([first])
    await adding
    assert numbers(await everything(outbox)) == [2, 3]
    assert outbox.waiting == 2


async def test_readings_in_memory_are_written_on_closing(card, outbox):
    card.failing = WRITES
    await fill(outbox, 3)
    card.failing = set()
    again = await restarted(outbox, card)
    assert ids(await everything(again)) == [f"{outbox.run}:{n}" for n in (1, 2, 3)]
    await again.close()


async def test_a_disk_that_still_fails_does_not_delay_closing(card, outbox):
    card.failing = WRITES
    await fill(outbox, 1)
    await outbox.close()
    assert outbox.waiting == 1


async def test_memory_is_bounded(card, outbox, monkeypatch, caplog):
    monkeypatch.setattr(outbox_module, "MAX_IN_MEMORY", 10)
    card.failing = WRITES
    await fill(outbox, 25)
    assert numbers(await everything(outbox)) == list(range(16, 26))
    assert outbox.waiting == 10
    assert caplog.text.count("The oldest ones are dropped") == 1
    gap = DroppedReadings(outbox.run, 1, 15, "memory")
    assert (await outbox.status(60)).dropped == (gap,)
    card.failing = set()
    await fill(outbox, 1)
    status = await outbox.status(60)
    assert (status.dropped, status.dropped_total) == ((gap,), 15)
    await outbox.remove(await everything(outbox))
    assert "15 readings were dropped before they could be sent" in caplog.text
    assert (await open_outbox(card.copy())).unreported == [gap]


async def test_a_disk_that_fails_at_the_start_does_not_prevent_it(card, outbox, caplog):
    await fill(outbox, 3)
    await outbox.close()
    card.failing = ALL
    again = await open_outbox(card)
    await fill(again, 2)
    in_memory = ids(await everything(again))
    assert in_memory == [f"{again.run}:1", f"{again.run}:2"]
    assert caplog.text.count("Readings are kept in memory") == 1
    era = again.era

    card.failing = set()
    await fill(again, 1)
    assert again.era > era
    assert ids(await everything(again)) == [
        *(f"{outbox.run}:{number}" for number in (1, 2, 3)),
        *in_memory,
        f"{again.run}:3",
    ]
    assert again.waiting == 6
    await again.close()


async def test_unreadable_readings_are_kept_and_the_others_returned(card, outbox, caplog):
    await fill(outbox, 300)
    again = await restarted(outbox, card)
    card.bad = {("00000001.log", 1)}
    found = numbers(await everything(again))
    assert 100 < len(found) < 300
    assert again.waiting == 300
    assert again.unreported == []
    assert "cannot be read now; its readings are sent later" in caplog.text
    assert "damaged" not in caplog.text
    card.bad = set()
    assert len(await everything(again)) == 300
    await again.close()


async def test_damaged_readings_are_dropped_and_counted(card, outbox, caplog):
    await fill(outbox, 300)
    again = await restarted(outbox, card)
    file = card.names["00000001.log"]
    file.cached[1] = file.stored[1] = b"\xff" * 4096
    found = numbers(await everything(again))
    [gap] = again.unreported
    assert sorted([*found, *range(gap.first, gap.last + 1)]) == list(range(1, 301))
    assert gap.reason == "damaged"
    assert again.waiting == len(found)
    assert (await again.status(60)).damaged == gap.count
    assert caplog.text.count("is damaged") == 1
    await again.close()


# A real directory.


def directory(path):
    return Directory(path / "outbox", before_create=lambda: path.mkdir(exist_ok=True))


async def test_readings_survive_in_a_real_directory(tmp_path):
    outbox = await open_outbox(directory(tmp_path), state=tmp_path)
    await fill(outbox, 200)
    await outbox.remove((await everything(outbox))[:150])
    await outbox.close()
    assert waiting_in(tmp_path / "outbox").count == 50
    again = await open_outbox(directory(tmp_path), state=tmp_path)
    assert numbers(await everything(again)) == list(range(151, 201))
    assert (tmp_path / "outbox").stat().st_mode & 0o777 == 0o700
    await again.close()


async def test_a_directory_that_is_removed_is_created_again(tmp_path):
    outbox = await open_outbox(directory(tmp_path), state=tmp_path)
    await fill(outbox, 3)
    for path in (tmp_path / "outbox").iterdir():
        path.unlink()
    (tmp_path / "outbox").rmdir()
    await fill(outbox, 2)
    assert numbers(await everything(outbox))[-2:] == [4, 5]
    await outbox.close()
    assert waiting_in(tmp_path / "outbox").count >= 2


async def test_files_of_another_board_are_set_aside(tmp_path, caplog):
    outbox = await open_outbox(directory(tmp_path), state=tmp_path, board="serial 1")
    await fill(outbox, 3)
    await outbox.close()
    again = await open_outbox(directory(tmp_path), state=tmp_path, board="serial 2")
    assert await everything(again) == []
    await fill(again, 1)
    [aside] = (await again.status(60)).set_aside
    assert aside.reason == "other-board"
    assert "was written on another board" in caplog.text
    assert waiting_in(tmp_path / aside.file).count == 3
    await again.close()


async def test_the_file_of_an_earlier_version_is_set_aside(tmp_path, caplog):
    (tmp_path / "state.db").write_bytes(b"SQLite format 3\0")
    outbox = await open_outbox(directory(tmp_path), state=tmp_path)
    assert [one.reason for one in (await outbox.status(60)).set_aside] == ["earlier-version"]
    assert caplog.text.count("earlier version") == 1
    await outbox.close()


async def test_other_files_in_the_folder_do_not_matter(tmp_path):
    (tmp_path / "outbox").mkdir()
    (tmp_path / "outbox" / "00000007.log").mkdir()
    (tmp_path / "outbox" / "notes.txt").write_text("mine")
    (tmp_path / "outbox" / "00000009.log").write_text("nonsense")
    outbox = await open_outbox(directory(tmp_path), state=tmp_path)
    await fill(outbox, 2)
    assert numbers(await everything(outbox)) == [1, 2]
    assert (tmp_path / "outbox" / "notes.txt").read_text() == "mine"
    await outbox.close()
