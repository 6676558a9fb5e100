import asyncio
import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.errors import (
    DeviceExists,
    InvalidDeviceId,
    InvalidKey,
    QueueFull,
    UnknownDevice,
)
from central.protocol import sas
from central.records import Command, Event, QueuedMessage
from central.storage import completeness, devices, history, series, telemetry
from central.storage.history import LOG_LINES
from central.storage.registry import Registry
from central.storage.store import Store

GROUP_KEY = base64.b64encode(b"a group key of some length").decode()
OWN_KEY = base64.b64encode(b"a key of the device itself").decode()


@pytest.fixture
def registry(store, clock):
    return Registry(store, group_key=GROUP_KEY, clock=clock)


@pytest.fixture
def pi(registry):
    return registry.add_device("pi-1").id


async def send(registry, device_id, body, *, created=None, component=None, **properties):
    system = {"component": component} if component else {}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await registry.record_message(
        device_id, created=created, body=data, properties=properties, system=system
    )


def command(device_id, name="blink", command_id="1", *, asked=1000.0, queued=False):
    return Command(command_id, device_id, name, 5, asked, queued)


def test_the_default_display_name_is_the_device_id(registry):
    assert registry.add_device("pi-1").display_name == "pi-1"


@pytest.mark.parametrize(
    "device_id", ["", "a b", "a/b", "a#", "å", "a" * 129, "a\n", "../x", ".", "..", "a+"]
)
def test_invalid_device_ids_are_refused(registry, device_id):
    with pytest.raises(InvalidDeviceId):
        registry.add_device(device_id)


def test_a_device_cannot_be_added_twice(registry, pi):
    with pytest.raises(DeviceExists):
        registry.add_device(pi)


async def test_deleting_a_device_deletes_everything_recorded_of_it(registry, store, pi):
    await send(registry, pi, {"temp": 1})
    await registry.record_connection(pi, "connected", "")
    registry.delete_device(pi)
    for table in ("devices", "twins", "messages", "telemetry", "connections"):
        count = f"SELECT count(*) FROM {table}"  # noqa: S608 - our own names
        assert store.call(lambda db, count=count: db.execute(count).fetchone()[0]) == 0
    registry.add_device(pi)
    assert store.read(telemetry.messages, pi) == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: r.store.read(devices.get, "no"),
        lambda r: r.update_device("no", enabled=False),
        lambda r: r.delete_device("no"),
        lambda r: r.keys("no"),
        lambda r: r.set_keys("no", primary=OWN_KEY, secondary=OWN_KEY),
        lambda r: r.store.read(devices.get_twin, "no"),
        lambda r: r.store.read(telemetry.messages, "no"),
        lambda r: r.store.read(telemetry.messages_after, "no", 0, since=0, until=1, limit=1),
        lambda r: r.store.read(telemetry.last_value, "no", "temp"),
        lambda r: r.store.read(series.series, "no", "temp", since=0, until=1),
        lambda r: r.store.read(completeness.completeness, "no"),
        lambda r: r.store.read(history.commands, "no"),
        lambda r: r.store.read(history.connections, "no"),
        lambda r: r.store.read(history.last_connection, "no"),
    ],
)
def test_queries_for_an_unknown_device_raise(registry, ask):
    with pytest.raises(UnknownDevice, match="'no'"):
        ask(registry)


def test_the_primary_key_is_derived_from_the_groups_key(registry, pi):
    primary, secondary = registry.keys(pi)
    assert primary == sas.derive_device_key(GROUP_KEY, pi)
    assert sas.check_key(secondary) != primary
    assert registry.keys(pi) == (primary, secondary)


async def test_a_devices_own_keys_replace_those_of_the_group(registry, pi):
    registry.set_keys(pi, primary=OWN_KEY, secondary=OWN_KEY)
    assert registry.keys(pi) == (OWN_KEY, OWN_KEY)
    assert await registry.accepted_keys(pi) == (OWN_KEY, OWN_KEY)
    with pytest.raises(InvalidKey):
        registry.set_keys(pi, primary="no key", secondary=OWN_KEY)


async def test_an_unknown_device_may_sign_in_with_the_key_of_the_group(registry):
    assert await registry.accepted_keys("new") == (sas.derive_device_key(GROUP_KEY, "new"),)


async def test_a_registration_adds_the_device_and_records_its_model(registry):
    device = await registry.register("pi-1", "dtmi:a;1")
    assert (device.provisioned, device.template, device.announced) == (True, "dtmi:a;1", "dtmi:a;1")
    again = await registry.register("pi-1", None)
    # The template stays. The announced model does not, as this program announces none.
    assert (again.template, again.announced) == ("dtmi:a;1", None)


async def test_the_operators_template_stays_until_another_model_is_announced(registry):
    await registry.register("pi-9", "dtmi:a;1")
    registry.update_device("pi-9", template="dtmi:mine;1")
    assert (await registry.register("pi-9", "dtmi:a;1")).template == "dtmi:mine;1"
    assert (await registry.register("pi-9", "dtmi:a;2")).template == "dtmi:a;2"


async def test_reported_properties_are_merged_with_version_and_times(registry, store, pi, clock):
    await registry.patch_reported(pi, {"a": 1, "part": {"__t": "c", "x": 1}})
    clock.now = 2000.0
    twin = await registry.patch_reported(pi, {"b": 2, "part": {"y": 2}, "a": None})
    assert twin.reported == {"part": {"__t": "c", "x": 1, "y": 2}, "b": 2}
    assert twin.reported_version == 3
    assert twin.reported_times == {"part": 2000, "b": 2000}
    assert store.read(devices.get_twin, pi) == twin


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"21.5",
        b"[1]",
        b"not json",
        b'{"temp": NaN}',
        b"\xff",
        b"[" * 100_000,
        b'{"\\ud800": 1}',
    ],
)
async def test_a_body_without_fields_is_stored_unchanged(registry, store, pi, body):
    await send(registry, pi, body)
    assert store.read(telemetry.messages, pi)[0].body == body
    assert store.read(telemetry.last_value, pi, "temp") is None


def test_any_body_is_stored(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("any") / "central.db")
    registry = Registry(store, group_key=GROUP_KEY, clock=lambda: 1000.0)
    registry.add_device("pi-1")
    keys = st.text(max_size=5)
    bodies = st.binary(max_size=60) | st.dictionaries(keys, keys | st.floats()).map(
        lambda value: json.dumps(value).encode()
    )

    @given(bodies)
    def check(body):
        message = asyncio.run(send(registry, "pi-1", body))
        assert store.read(telemetry.messages, "pi-1", limit=1) == [message]
        assert message.body == body

    check()
    store.close()


async def test_a_reported_property_completes_the_command_of_its_name(registry, store, pi, clock):
    await registry.record_command(command(pi, "run", "1"))
    await registry.record_command(command(pi, "run", "2"))
    await registry.record_command(command(pi, "part*run", "3"))
    for command_id in "123":
        await registry.record_answer(command_id, answered=1000.0, status=202, response=None)
    clock.now = 1234.0
    await registry.patch_reported(
        pi, {"run": {"value": "done"}, "part": {"__t": "c", "run": {"value": "too"}}}
    )
    completions = {c.id: (c.completion, c.completed) for c in store.read(history.commands, pi)}
    assert completions == {
        "3": ({"value": "too"}, 1234.0),
        "2": ({"value": "done"}, 1234.0),
        "1": (None, None),
    }
    await registry.patch_reported(pi, {"run": {"value": "again"}})
    assert store.read(history.commands, pi, "run")[0].completion == {"value": "done"}


async def test_a_finished_command_is_not_completed_by_a_property(registry, store, pi):
    await registry.record_command(command(pi, "run"))
    await registry.record_answer("1", answered=1000.0, status=200, response=None)
    await registry.patch_reported(pi, {"run": {"value": "done"}})
    assert store.read(history.commands, pi)[0].completed is None


async def test_at_most_fifty_commands_are_queued(registry, store, pi):
    def message(command_id):
        return QueuedMessage(0, pi, command_id, {}, b"@", expires=2000.0, sent=False)

    for number in range(50):
        await registry.record_command(command(pi, command_id=str(number)), message(str(number)))
    with pytest.raises(QueueFull):
        await registry.record_command(command(pi, command_id="50"), message("50"))
    assert len(store.read(history.commands, pi, limit=100)) == 50
    # Once they have expired, another command can be queued.
    late = command(pi, command_id="late", asked=2000.0)
    await registry.record_command(late, message("late"))


async def test_the_connection_log_keeps_its_newest_lines(registry, store, pi, clock):
    for number in range(LOG_LINES + 5):
        clock.now = float(number)
        await registry.record_connection(pi, "connected", str(number))
    log = store.read(history.connections, pi, limit=5000)
    assert len(log) == LOG_LINES
    assert (log[0].detail, log[-1].detail) == ("1004", "5")


async def test_an_unknown_device_has_no_connection_log(registry, store):
    await registry.record_connection("no", "refused", "")
    assert store.read(devices.get_all) == []


async def test_subscribers_get_all_events_in_order(registry):
    with registry.subscribe() as events:
        device = registry.add_device("pi-1")
        await registry.record_connection("pi-1", "connected", "")
        message = await send(registry, "pi-1", {"temp": 1})
        await registry.patch_reported("pi-1", {"a": 1})
        await registry.record_command(command("pi-1"))
        registry.delete_device("pi-1")
        heard = [await anext(events) for _ in range(6)]
    assert [event.kind for event in heard] == [
        "device",
        "connection",
        "telemetry",
        "twin",
        "command",
        "device",
    ]
    assert heard[0].data == device
    assert heard[2].data == message
    assert heard[5] == Event("device", "pi-1", None)
    assert registry.events._listeners == []


async def test_a_slow_subscriber_gets_the_event_lagged(registry, pi):
    with registry.subscribe() as events:
        for _ in range(1500):
            registry._publish("device", pi, None)
        assert (await anext(events)).kind == "lagged"
        assert events._queue.qsize() < 1000
