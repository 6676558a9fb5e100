import pytest

from central.errors import UnknownDevice
from central.records import Message
from central.storage import devices, fleet, history, telemetry
from central.storage.registry import Registry


@pytest.fixture
def registry(store, clock):
    return Registry(store, group_key="a2V5", clock=clock)


def message(received):
    return Message(0, "pi-1", received, None, b"{}", {}, {})


async def test_a_glance_has_the_newest_message_and_the_last_connection(registry, store):
    registry.add_device("pi-1")
    registry.add_device("pi-2")
    store.call(telemetry.add_message, message(5.0))
    await registry.record_connection("pi-1", "connected", "")
    await registry.record_connection("pi-1", "refused", "")
    await registry.patch_reported("pi-1", {"telemetryInterval": {"value": 30, "ac": 200}})
    first, second = store.read(fleet.glances)
    assert first.device == store.read(devices.get, "pi-1")
    assert (first.newest, first.interval, first.received) == (5.0, 30, ())
    assert first.line_at == store.read(history.last_connection, "pi-1").at
    assert first.disconnected is False
    assert (second.newest, second.line_at, second.interval) == (None, None, None)
    await registry.record_connection("pi-1", "disconnected", "")
    [again] = store.read(fleet.glances, "pi-1")
    assert again.disconnected is True


@pytest.mark.parametrize(
    ("reported", "interval"), [({"telemetryInterval": 5}, 5), ({"other": 1}, None), ({}, None)]
)
async def test_the_interval_may_be_bare_or_missing(registry, store, reported, interval):
    registry.add_device("pi-1")
    await registry.patch_reported("pi-1", reported)
    assert store.read(fleet.glances)[0].interval == interval


def test_without_an_interval_the_newest_messages_are_looked_at(registry, store):
    registry.add_device("pi-1")
    for received in range(10):
        store.call(telemetry.add_message, message(float(received)))
    assert store.read(fleet.glances)[0].received == (9.0, 8.0, 7.0, 6.0, 5.0, 4.0)


def test_an_unknown_device_has_no_glance(registry, store):
    with pytest.raises(UnknownDevice):
        store.read(fleet.glances, "nobody")


def test_tags_are_kept_once_and_go_with_their_device(registry, store):
    for device_id in ("pi-1", "pi-2"):
        registry.add_device(device_id)
        store.call(fleet.set_tags, device_id, ["north", "North", "b"])
    assert store.read(fleet.glances)[0].tags == ("b", "north")
    assert store.read(fleet.tagged, "NORTH") == ["pi-1", "pi-2"]
    store.call(fleet.set_tags, "pi-1", [])
    registry.delete_device("pi-2")
    assert store.read(fleet.tagged, "north") == []
    with pytest.raises(UnknownDevice):
        store.call(fleet.set_tags, "pi-2", ["north"])
