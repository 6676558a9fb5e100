"""Devices and their connection log, as the page reads them."""

import pytest
from consoles import MODEL_ID, ask, eventually, record

from central.records import iso
from central.storage import history


async def test_a_device_has_its_connection_and_last_values(http, device):
    await device.send({"temp": 21.5, "humid": 45, "other": 1})

    async def arrived():
        body = await ask(http, "GET", "/console/api/devices/pi-1")
        return len(body["telemetry"]) > 1 and body

    body = await eventually(arrived)
    assert body["connected"] is True
    assert body["connectedSince"] <= body["lastSeen"]
    assert body["template"] == MODEL_ID
    temperature, humidity = body["telemetry"]
    assert (temperature["title"], temperature["value"]) == ("Temperature", 21.5)
    assert (humidity["key"], humidity["unit"], humidity["value"]) == ("humid", "%", 45)
    assert (await ask(http, "GET", "/console/api/devices"))["value"] == [body]


async def test_refusals_do_not_change_the_time_of_the_disconnection(http, central):
    central.registry.add_device("pi-2")
    for event in ["connected", "disconnected", *["refused"] * 20]:
        await central.registry.record_connection("pi-2", event, "")
    left = central.store.read(history.connections, "pi-2")[-2].at
    body = await ask(http, "GET", "/console/api/devices/pi-2")
    assert body["disconnectedSince"] == body["lastSeen"] == iso(left)
    await central.registry.record_connection("pi-1", "refused", "")
    body = await ask(http, "GET", "/console/api/devices/pi-1")
    assert body["lastSeen"] is None  # The client had no valid key.


async def test_without_a_model_the_numbers_of_the_newest_message_are_returned(http, central):
    await record(central, {"ok": True, "co2": 600})
    body = await ask(http, "GET", "/console/api/devices/pi-1")
    [co2] = body["telemetry"]
    assert (co2["key"], co2["kind"], co2["value"]) == ("co2", "number", 600)


@pytest.mark.parametrize("body", [b"", b"\xff{", b"[1]", b'{"a": 1e999}', b"[" * 9000, b"NaN"])
async def test_a_message_that_is_not_json_is_returned_as_text(http, central, body):
    await record(central, body, properties={"a": "b"}, message_id="7")
    assert (await ask(http, "GET", "/console/api/devices/pi-1"))["telemetry"] == []
    [message] = (await ask(http, "GET", "/console/api/devices/pi-1/messages"))["value"]
    assert message["body"] == body.decode(errors="replace")
    assert message["properties"] == {"a": "b"}


async def test_the_connection_log_is_returned(http, device):
    log = (await ask(http, "GET", "/console/api/devices/pi-1/connections"))["value"]
    assert "connected" in [entry["event"] for entry in log]
