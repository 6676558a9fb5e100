"""Readings in memory while the disk fails, and how they get to disk."""

import uuid

from fakes import HandClock, open_outbox

from agent.errors import StoreError
from agent.readings.outbox import START
from hw import Reading


async def test_readings_in_memory_are_written_on_closing_if_the_disk_works_again(
    tmp_path, monkeypatch
):
    store, outbox = await open_outbox(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_do", lambda _work: fail(store))
        for _ in range(3):
            await outbox.add(Reading(20.0, 50.0), HandClock().stamp())
        in_memory = await outbox.after(START, limit=10)
    await outbox.close()
    store.close()
    store, outbox = await open_outbox(tmp_path)
    kept = await outbox.after(START, limit=10)
    assert [entry.message_id for entry in kept] == [entry.message_id for entry in in_memory]
    store.close()


async def test_readings_written_on_closing_are_backlog_of_the_next_run(tmp_path, monkeypatch):
    await left_by_a_daemon_whose_disk_failed(tmp_path, monkeypatch, readings=3)
    store, outbox = await open_outbox(tmp_path)
    kept = await outbox.after(START, limit=10)
    assert [entry.position <= outbox.newest for entry in kept] == [True] * 3
    await outbox.add(Reading(30.0, 50.0), HandClock().stamp())
    assert [e.reading.temperature for e in await outbox.after(kept[-1].position, limit=10)] == [
        30.0
    ]
    store.close()


async def test_readings_in_memory_come_after_those_written_by_an_earlier_run(tmp_path, monkeypatch):
    for digit in "f0":  # An id that sorts late, then one that sorts early.
        monkeypatch.setattr(uuid, "uuid4", lambda digit=digit: uuid.UUID(digit * 32))
        await left_by_a_daemon_whose_disk_failed(
            tmp_path, monkeypatch, readings=2, first=int(digit, 16)
        )
    store, outbox = await open_outbox(tmp_path)
    kept = await outbox.after(START, limit=10)
    assert [entry.reading.temperature for entry in kept] == [15.0, 16.0, 0.0, 1.0]
    assert outbox.newest == kept[-1].position
    store.close()


async def left_by_a_daemon_whose_disk_failed(tmp_path, monkeypatch, *, readings, first=0):
    """Make a file with readings that were in memory until the daemon stopped."""
    store, outbox = await open_outbox(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_do", lambda _work: fail(store))
        for number in range(readings):
            await outbox.add(Reading(first + float(number), 50.0), HandClock().stamp())
    await outbox.close()
    store.close()


async def test_a_disk_that_still_fails_does_not_delay_closing(tmp_path, monkeypatch):
    store, outbox = await open_outbox(tmp_path)
    monkeypatch.setattr(store, "_do", lambda _work: fail(store))
    await outbox.add(Reading(20.0, 50.0), HandClock().stamp())
    await outbox.close()
    assert outbox.waiting == 1
    store.close()


async def test_the_outbox_recovers_after_a_write_that_succeeded_despite_an_error(
    tmp_path, monkeypatch
):
    store, outbox = await open_outbox(tmp_path)
    do = store._do
    with monkeypatch.context() as patch:
        patch.setattr(store, "_do", lambda _work: fail(store))
        await outbox.add(Reading(20.0, 50.0), HandClock().stamp())
        # The write succeeds, and reports a failure.
        patch.setattr(store, "_do", lambda work: (do(work), fail(store)))
        await outbox.add(Reading(21.0, 50.0), HandClock().stamp())
    await outbox.add(Reading(22.0, 50.0), HandClock().stamp())
    kept = await outbox.after(START, limit=10)
    assert [entry.reading.temperature for entry in kept] == [20.0, 21.0, 22.0]
    assert (await outbox.status(60)).in_memory == 0
    store.close()


async def test_a_reading_written_despite_an_error_has_one_message_id(tmp_path, monkeypatch):
    store, outbox = await open_outbox(tmp_path)
    await outbox.add(Reading(20.0, 50.0), HandClock().stamp())
    do = store._do
    with monkeypatch.context() as patch:
        # As with SQLite if fsync fails with EIO: the reading is in the file.
        patch.setattr(store, "_do", lambda work: (do(work), fail(store)))
        await outbox.add(Reading(21.0, 50.0), HandClock().stamp())
    before = [(e.message_id, e.reading.temperature) for e in await outbox.after(START, limit=10)]
    assert [temperature for _, temperature in before] == [20.0, 21.0]
    await outbox.add(Reading(22.0, 50.0), HandClock().stamp())
    after = [(e.message_id, e.reading.temperature) for e in await outbox.after(START, limit=10)]
    assert after == [*before, (f"{outbox.id}:2", 22.0)]
    assert outbox.waiting == 3
    store.close()


def fail(store):
    raise StoreError(store.path, "disk I/O error")
