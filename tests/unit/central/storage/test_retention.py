"""Deletion of old messages and commands."""

import asyncio

import pytest
from consoles import eventually

from central.hub.hub import Hub
from central.protocol.sas import new_key
from central.records import Command
from central.storage import history, telemetry
from central.storage.history import COMMANDS, LOG_LINES, REFUSALS
from central.storage.registry import Registry
from central.storage.retention import DAY, MEGABYTE, SLICE, bytes_used, forget, keep_within
from central.transport.faults import Faults


@pytest.fixture
def registry(store, clock):
    registry = Registry(store, group_key=new_key(), clock=clock)
    registry.add_device("pi")
    return registry


def count(store, table):
    query = f"SELECT count(*) FROM {table}"  # noqa: S608 - our own names
    return store.read(lambda db: db.execute(query).fetchone()[0])


async def record(registry, body=b'{"temp": 1}', **system):
    await registry.record_message("pi", created=None, body=body, properties={}, system=system)


def command(name, asked):
    return Command(name, "pi", name, None, asked)


async def test_old_messages_are_deleted_with_their_telemetry(registry, store, clock):
    await record(registry)
    await record(registry, component="cellar")
    await registry.record_command(command("old", 1000.0))
    clock.now = 5000.0
    await record(registry)
    await registry.record_command(command("new", 5000.0))
    assert store.call(lambda db: forget(db, before=4000.0, most=1e12))
    assert not store.call(lambda db: forget(db, before=4000.0, most=1e12))
    assert [message.received for message in store.read(telemetry.messages, "pi")] == [5000.0]
    assert count(store, "telemetry") == 1
    assert [each.name for each in store.read(history.commands, "pi")] == ["new"]


async def test_an_old_command_that_is_still_queued_is_kept(registry, store, clock):
    hub = Hub(registry, faults=Faults(), clock=clock)
    await hub.queue_command("pi", "blink", 3)
    store.call(lambda db: forget(db, before=1e12, most=1e12))
    assert [each.name for each in store.read(history.commands, "pi")] == ["blink"]


async def test_an_expired_command_is_deleted_without_its_device(registry, store, clock):
    hub = Hub(registry, faults=Faults(), clock=clock)
    await hub.queue_command("pi", "blink", 3)
    clock.now += 31 * DAY
    task = asyncio.create_task(keep_within(store, days=30, megabytes=1, clock=clock))
    await eventually(lambda: store.read(history.commands, "pi") == [])
    assert count(store, "queue") == 0
    task.cancel()
    await asyncio.wait({task})


async def test_the_oldest_messages_are_deleted_above_the_size_limit(registry, store):
    for number in range(SLICE + 100):
        await record(registry, b"x" * 1000 + str(number).encode())
    used = store.read(bytes_used)
    assert store.call(lambda db: forget(db, before=0, most=used - 100_000))
    assert not store.call(lambda db: forget(db, before=0, most=used - 100_000))
    assert [m.body[1000:] for m in store.read(telemetry.messages, "pi")] == [
        str(number).encode() for number in reversed(range(SLICE, SLICE + 100))
    ]
    assert store.read(bytes_used) < used - 100_000


async def test_refusals_do_not_displace_other_lines_of_the_log(registry, store):
    await registry.record_connection("pi", "connected", "from here")
    for number in range(LOG_LINES + 10):
        await registry.record_connection("pi", "refused", str(number))
    log = store.read(history.connections, "pi", limit=10_000)
    assert len(log) == REFUSALS + 1
    assert (log[0].detail, log[-1].event) == (str(LOG_LINES + 9), "connected")


async def test_only_the_newest_commands_are_kept(registry, store):
    for number in range(COMMANDS + 3):
        await registry.record_command(command(f"c{number}", 1000.0))
    kept = store.read(history.commands, "pi", limit=10_000)
    assert [kept[0].name, kept[-1].name, len(kept)] == [f"c{COMMANDS + 2}", "c3", COMMANDS]


async def test_delayed_messages_are_deleted_by_time_of_receipt(registry, store, clock):
    clock.now = 50 * DAY
    created = 10.0
    await registry.record_message(
        "pi", created=created, body=b'{"temp": 1}', properties={}, system={}
    )
    store.call(lambda db: forget(db, before=20 * DAY, most=1e12))
    assert store.read(telemetry.last_value, "pi", "temp") == (created, 1)


async def test_old_messages_are_deleted_while_central_runs(registry, store, clock):
    for _ in range(3 * SLICE):
        await record(registry)
    clock.now += 31 * DAY
    task = asyncio.create_task(keep_within(store, days=30, megabytes=1, clock=clock))
    await eventually(lambda: count(store, "messages") == 0)
    assert count(store, "telemetry") == 0
    task.cancel()
    await asyncio.wait({task})


async def test_a_store_error_does_not_end_retention(store, clock):
    store.close()
    task = asyncio.create_task(keep_within(store, days=30, megabytes=MEGABYTE, clock=clock))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    await asyncio.wait({task})
