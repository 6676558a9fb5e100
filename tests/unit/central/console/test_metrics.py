"""Prometheus's text format, and which values are exported."""

import pytest

from central.console import metrics
from central.console.metrics import STALE, Metric, Recorded
from central.protocol.sas import new_key
from central.storage import last_values
from central.storage.last_values import LastValue, LastValues
from central.storage.registry import Registry

NOW = 1_796_000_000.0


def test_metrics_are_in_the_text_format():
    gauge = Metric("a", "gauge", "Its\nhelp \\ text.", (({}, 3), ({"x": "1", "y": ""}, 1.5)))
    assert metrics.render([gauge, Metric("b_total", "counter", "None.", ())]) == (
        "# HELP a Its\\nhelp \\\\ text.\n"
        "# TYPE a gauge\n"
        "a 3\n"
        'a{x="1",y=""} 1.5\n'
        "# HELP b_total None.\n"
        "# TYPE b_total counter\n"
    )


def test_names_that_devices_choose_cannot_break_the_format():
    name = 'a"} 1\n# HELP evil \\'
    text = metrics.render([Metric("m", "gauge", "-", (({"name": name}, 1),))])
    assert text.splitlines()[2:] == ['m{name="a\\"} 1\\n# HELP evil \\\\"} 1']


def exported(*values, connected=frozenset()):
    """Return the samples of each metric of devices, by name and telemetry."""
    devices = tuple({value.device_id for value in values})
    recorded = Recorded(devices, 0, 0, LastValues(values, 0))
    return {
        metric.name.removeprefix("sensor_agent_device_"): {
            labels.get("name", labels["device"]): value for labels, value in metric.samples
        }
        for metric in metrics.device_metrics(recorded, connected, NOW)
    }


def test_a_stale_value_has_only_its_age():
    found = exported(
        LastValue("pi", "", "fresh", 21.5, NOW - STALE, 0.0),
        LastValue("pi", "", "stale", 22.5, NOW - STALE - 1, 10.0),
        LastValue("pi", "", "slow", 23.5, NOW - 2 * 3600, 3600.0),
        LastValue("pi", "", "gone", 24.5, NOW - 4 * 3600, 3600.0),
        connected={"pi"},
    )
    assert found["value"] == {"fresh": 21.5, "slow": 23.5}
    assert found["value_age_seconds"] == {
        "fresh": STALE,
        "stale": STALE + 1,
        "slow": 7200.0,
        "gone": 14_400.0,
    }
    assert found["connected"] == {"pi": 1}


def test_a_process_has_its_usual_metrics():
    names = {metric.name for metric in metrics.process_metrics()}
    assert {"process_cpu_seconds_total", "process_start_time_seconds"} <= names


# The query


@pytest.fixture
def registry(store, clock):
    clock.now = NOW
    registry = Registry(store, group_key=new_key(), clock=clock)
    for device in ("a", "b", "c"):
        registry.add_device(device)
    return registry


@pytest.fixture
def send(registry, clock):
    async def send(device, body, *, at=NOW, created=None, component=""):
        clock.now = at
        system = {"component": component} if component else {}
        await registry.record_message(
            device, created=created, body=body, properties={}, system=system
        )

    return send


async def test_the_newest_number_of_each_name_is_found(store, send):
    await send("a", b'{"temp": 1, "text": "x", "on": true, "none": null}', at=NOW - 20)
    await send("a", b'{"temp": 2.5}', at=NOW - 10)
    await send("a", b'{"temp": 9}', component="inside")
    await send("c", b'{"humid": 40, "turns": "text"}')
    await send("c", b'{"huge": %s}' % (b"9" * 400))
    found = store.read(last_values.last_values)
    assert found == LastValues(
        (
            LastValue("a", "", "on", 1.0, NOW - 20, 0.0),
            LastValue("a", "", "temp", 2.5, NOW - 10, 10.0),
            LastValue("a", "inside", "temp", 9.0, NOW, 0.0),
            LastValue("c", "", "humid", 40.0, NOW, 0.0),
        ),
        0,
    )


async def test_a_late_reading_does_not_replace_a_newer_one(store, send):
    await send("a", b'{"temp": 2}', created=NOW - 10)
    await send("a", b'{"temp": 1}', created=NOW - 3600)
    (found,) = store.read(last_values.last_values).found
    assert (found.value, found.time) == (2.0, NOW - 10)


async def test_a_clock_that_is_ahead_does_not_keep_a_value_fresh(store, send):
    await send("a", b'{"temp": 2}', created=NOW + 86_400)
    assert store.read(last_values.last_values).found[0].time == NOW


async def test_an_outage_does_not_count_as_the_usual_pause(store, send):
    for at in (NOW - 86_400, NOW - 86_390, NOW - 86_380, NOW):
        await send("a", b'{"temp": 2}', at=at)
    assert store.read(last_values.last_values).found[0].interval == 10.0


async def test_a_device_with_very_many_names_does_not_crowd_out_the_others(
    store, send, monkeypatch
):
    monkeypatch.setattr(last_values, "MOST_NAMES", 2)
    await send("a", b'{"n1": 1, "n2": 2, "n3": 3, "n4": 4}')
    await send("b", b'{"n1": 1}')
    found = store.read(last_values.last_values)
    assert [(each.device_id, each.name) for each in found.found] == [
        ("a", "n1"),
        ("a", "n2"),
        ("b", "n1"),
    ]
    assert found.left_out == 1
