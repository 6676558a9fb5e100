"""Commands by IoT Central's paths."""

import pytest
from consoles import ask, refused

from central.storage import history


async def test_a_command_to_an_offline_device_is_404_and_in_the_history(http, central):
    central.registry.add_device("pi-1")
    path = "/api/devices/pi-1/commands/blink"
    await refused(http, "POST", path, {"request": 2}, expect=404)
    history = (await ask(http, "GET", path))["value"]
    assert [entry["request"] for entry in history] == [2]


@pytest.mark.parametrize(
    "body",
    [
        {"connectionTimeout": 31},
        {"responseTimeout": 4},
        {"responseTimeout": True},
        {"responseTimeout": "9"},
        {"colour": 1},
        [1],
    ],
)
async def test_a_malformed_command_is_refused(http, central, body):
    central.registry.add_device("pi-1")
    await refused(http, "POST", "/api/devices/pi-1/commands/blink", body, expect=400)
    assert central.store.read(history.commands, "pi-1") == []


@pytest.mark.parametrize("name", ["a%2Fb", "a%23", "%2B", "a%00b", "x" * 65])
async def test_an_invalid_command_name_is_refused(http, central, name):
    central.registry.add_device("pi-1")
    await refused(http, "POST", f"/api/devices/pi-1/commands/{name}", {}, expect=400)


async def test_a_command_returns_the_response(http, device):
    path = "/api/devices/pi-1/commands/blink"
    answer = await ask(http, "POST", path, {"request": 2, "responseTimeout": 10}, expect=201)
    assert answer == {
        "id": answer["id"],
        "request": 2,
        "response": {"description": "Blinking every 2 s"},
        "responseCode": 200,
    }
    assert (await ask(http, "GET", path))["value"] == [answer]


async def test_a_refusal_by_the_device_is_a_response(http, device):
    path = "/api/devices/pi-1/commands/blink"
    answer = await ask(http, "POST", path, {"request": "soon"}, expect=201)
    assert answer["responseCode"] == 400


async def test_a_command_without_a_request_or_a_body(http, device):
    async with http.post("/api/devices/pi-1/commands/turnoff") as response:
        answer = await response.json()
    assert answer == {"id": answer["id"], "responseCode": 200}
    assert device.calls == [("turnoff", None)]


async def test_a_command_of_a_component(http, device):
    path = "/api/devices/pi-1/components/information/commands/reset"
    answer = await ask(http, "POST", path, {"request": {"deep": True}}, expect=201)
    assert answer["responseCode"] == 200
    assert device.calls == [("information*reset", {"deep": True})]
    assert (await ask(http, "GET", path))["value"] == [answer]


async def test_a_command_without_a_response_is_504(http, device):
    path = "/api/devices/pi-1/commands/hang"
    answer = await ask(http, "POST", path, {"responseTimeout": 5}, expect=504)
    assert "hang" in answer["error"]["message"]
