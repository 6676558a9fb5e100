"""Queries for messages and telemetry."""

import pytest

from central.protocol.sas import new_key
from central.storage import telemetry
from central.storage.registry import Registry
from central.storage.store import Store


@pytest.fixture
def registry(tmp_path):
    store = Store(tmp_path / "central.db")
    registry = Registry(store, group_key=new_key(), clock=lambda: 1e9)
    registry.add_device("pi")
    yield registry
    store.close()


@pytest.fixture
def store(registry):
    return registry.store


async def test_pages_of_long_messages_are_short(registry, store):
    for _ in range(12):
        await registry.record_message(
            "pi", created=None, body=b"x" * 256 * 1024, properties={}, system={}
        )
    pages, last = [], 0
    while found := store.read(telemetry.messages_after, "pi", last, since=0, until=2e9, limit=200):
        pages.append(len(found))
        last = found[-1].number
    assert pages == [4, 4, 4]
