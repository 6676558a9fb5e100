"""Devices of many models: imported, driven over the REST interface, and drawn by the page."""

import asyncio
import json
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

import pytest
from browsers import running_browser, watched_page
from daemons import until
from dtdl_models import MODELS, Interface, published
from mqtt_client import DESIRED, METHODS, TWIN, MqttClient, telemetry_of
from playwright.async_api import expect
from rest import Service

from central.console import dtdl

ALL = [*MODELS, *published()]
EACH = pytest.mark.parametrize("interfaces", ALL, ids=[each[0]["@id"] for each in ALL])
SAMPLES = {
    "boolean": True,
    "integer": 3,
    "double": 21.5,
    "string": "some text",
    "date": "2026-11-26",
    "dateTime": "2026-11-26T10:00:00Z",
    "time": "10:00:00",
    "duration": "PT1H30M",
    "object": {"type": "Point", "coordinates": [9.5, 55.5]},
    "array": [1, 2],
    "map": {"key": 1},
    "unknown": {"anything": [1, "2"]},
}
PUBLISH = 3  # The kind of this packet.
POLL = 0.02  # Seconds.
# What is typed, by the type of the field.
TEXTS = {
    "number": "3",
    "text": "PT1H30M",
    "date": "2026-11-26",
    "time": "10:00:01",
    "datetime-local": "2026-11-26T10:00:01",
}


def sample(schema: dict[str, Any]) -> Any:
    """Return a value of a resolved schema."""
    if schema["values"]:
        return schema["values"][-1]["value"]
    if schema["fields"]:
        return {each["name"]: sample(each["schema"]) for each in schema["fields"]}
    return SAMPLES[schema["kind"]]


def nested(component: str | None, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a component, or of the device for None, as they are in a twin."""
    return values if component is None else {component: {"__t": "c", **values}}


class Device:
    """A device that accepts each property, and answers each command with a sample."""

    def __init__(self, device_id: str, model: dict[str, Any], client: MqttClient) -> None:
        self.id = device_id
        self.called: list[tuple[str, Any]] = []
        self._model = model
        self._client = client
        self._waiting: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.ended = threading.Event()

    def serve(self) -> None:
        """Send what is waiting, and handle what the hub sends, until the connection ends.

        In one thread, because TLS allows no other to send meanwhile.
        """
        while not self.ended.is_set():
            with suppress(queue.Empty):
                while True:
                    topic, value = self._waiting.get_nowait()
                    self._client.publish(topic, json.dumps(value).encode(), flags=0)
            if self._client.has_received(POLL):
                packet = self._client.receive()
                if packet.kind == PUBLISH and packet.topic.startswith(METHODS.rstrip("#")):
                    self._answer(packet.topic, packet.body)
                elif packet.kind == PUBLISH and packet.topic.startswith(DESIRED.rstrip("#")):
                    self._accept(json.loads(packet.body))

    def publish(self, topic: str, value: Any) -> None:
        self._waiting.put((topic, value))

    def report(self, values: dict[str, Any]) -> None:
        self.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", values)

    def send(self, component: str | None, values: dict[str, Any]) -> None:
        self.publish(telemetry_of(self.id) + (f"$.sub={component}" if component else ""), values)

    def _answer(self, topic: str, body: bytes) -> None:
        name, _, rid = topic.removeprefix(METHODS.rstrip("#")).partition("/?$rid=")
        (command,) = [each for each in self._model["commands"] if each["key"] == name]
        self.called.append((name, json.loads(body) if body else None))
        response = command["response"]
        answer = None if response is None else sample(response["schema"])
        self.publish(f"$iothub/methods/res/200/?$rid={rid}", answer)

    def _accept(self, desired: dict[str, Any]) -> None:
        version = desired.pop("$version")

        def accepted(values: dict[str, Any]) -> dict[str, Any]:
            about = {"ac": 200, "av": version, "ad": "completed"}
            return {name: {"value": value, **about} for name, value in values.items()}

        for name, value in desired.items():
            if isinstance(value, dict) and value.pop("__t", None) == "c":
                self.report(nested(name, accepted(value)))
            else:
                self.report(accepted({name: value}))


@pytest.fixture(scope="module")
def rest(central):
    return Service(central.info["http"].rstrip("/"), None, central.info, is_azure=False)


def imported(central, rest, interfaces: list[Interface]) -> tuple[str, dict[str, Any]]:
    """Import a model, add a device of it; return the device's id, and the resolved model."""
    for each in interfaces:
        rest.call("PUT", f"deviceTemplates/{each['@id']}", {"capabilityModel": each})
    model_id = interfaces[0]["@id"]
    device_id = "".join(c if c.isalnum() else "-" for c in model_id)[-100:]
    rest.call("PUT", f"devices/{device_id}", {"template": model_id})
    found = central.call(lambda c: c.store.run(dtdl.resolve, model_id))
    return device_id, asdict(found)


@contextmanager
def connected(central, device_id: str, model: dict[str, Any]) -> Iterator[Device]:
    with MqttClient(central) as client:
        assert client.connect_as(central, device_id, model=model["id"])[1] == 0
        client.subscribe(METHODS, TWIN, DESIRED)
        device = Device(device_id, model, client)
        with ThreadPoolExecutor(1) as pool:
            serving = pool.submit(device.serve)
            try:
                yield device
            finally:
                device.ended.set()
        serving.result()


def has(interfaces: list[Interface], kind: str) -> set[str]:
    """Return the keys of what a model has of this kind, read from DTDL by other code."""
    known = {each["@id"]: each for each in interfaces}

    def contents(interface: Interface) -> Iterator[Interface]:
        extends = interface.get("extends", [])
        for base in extends if isinstance(extends, list) else [extends]:
            yield from contents(known.get(base, {}) if isinstance(base, str) else base)
        yield from interface.get("contents", [])

    def keys(interface: Interface, prefix: str) -> Iterator[str]:
        for each in contents(interface):
            if kind in each["@type"]:
                yield prefix + each["name"]
            if "Component" in each["@type"]:
                schema = each["schema"]
                inner = known.get(schema, {}) if isinstance(schema, str) else schema
                yield from keys(inner, f"{each['name']}*")

    return set(keys(interfaces[0], ""))


@EACH
def test_a_device_of_each_model_is_driven(central, rest, interfaces):
    device_id, model = imported(central, rest, interfaces)
    for kind, found in [
        ("Telemetry", model["telemetry"]),
        ("Property", model["properties"]),
        ("Command", model["commands"]),
    ]:
        assert {each["key"] for each in found} == has(interfaces, kind)
    with connected(central, device_id, model) as device:
        send_telemetry(rest, device, model)
        report_properties(rest, device, model)
        write_properties(rest, device, model)
        run_commands(rest, device, model)


def path_of(device: Device, component: str | None, *rest: str) -> str:
    place = () if component is None else ("components", component)
    return "/".join(("devices", device.id, *place, *rest))


def send_telemetry(rest, device, model):
    for each in model["telemetry"]:
        value = sample(each["schema"])
        device.send(each["component"], {each["name"]: value})
        path = path_of(device, each["component"], "telemetry", each["name"])
        until(lambda path=path: rest.status("GET", path) == 200)
        assert rest.call("GET", path)["value"] == value


def report_properties(rest, device, model):
    for each in model["properties"]:
        if each["writable"] or each["cloud"]:
            continue
        value = sample(each["schema"])
        device.report(nested(each["component"], {each["name"]: value}))
        path = path_of(device, each["component"], "properties")
        until(lambda p=path, n=each["name"], v=value: rest.call("GET", p).get(n) == v)


def write_properties(rest, device, model):
    for each in model["properties"]:
        if not (each["writable"] or each["cloud"]):
            continue
        name, value = each["name"], sample(each["schema"])
        path = path_of(device, each["component"], "properties")
        rest.call("PATCH", path, {name: value}, expect=202)
        if each["cloud"]:
            assert rest.call("GET", path)[name] == value
            continue
        until(lambda p=path, n=name: acknowledged(rest.call("GET", p), n))
        assert rest.call("GET", path)[name] == value


def acknowledged(properties, name):
    about = properties["$metadata"].get(name, {})
    return about.get("ackCode") == 200 and about["ackVersion"] == about["desiredVersion"]


def run_commands(rest, device, model):
    for each in model["commands"]:
        body = {} if each["request"] is None else {"request": sample(each["request"]["schema"])}
        path = path_of(device, each["component"], "commands", each["name"])
        answer = rest.call("POST", path, body, expect=201)
        assert answer["responseCode"] == 200
        if each["response"] is not None:
            assert answer["response"] == sample(each["response"]["schema"])
        assert device.called[-1] == (each["key"], body.get("request"))


# The page


async def fill(control):
    """Fill all fields of a property or a request."""
    for field in await control.locator("input, select, textarea").all():
        tag = await field.evaluate("each => each.tagName")
        if tag == "SELECT":
            await field.select_option(index=1)
        elif tag == "TEXTAREA":
            await field.fill('{"key": 1}')
        else:
            await field.fill(TEXTS[await field.get_attribute("type")])


@pytest.mark.timeout(80 + 10 * len(ALL))
async def test_the_page_draws_and_drives_each_of_them(central, rest):
    console = central.call(lambda c: c)
    async with running_browser() as browser, watched_page(browser, console) as page:
        for interfaces in ALL:
            device_id, model = await asyncio.to_thread(imported, central, rest, interfaces)
            with connected(central, device_id, model) as device:
                for each in model["telemetry"]:
                    device.send(each["component"], {each["name"]: sample(each["schema"])})
                await draw_overview(page, model, device_id)
                await save_properties(page, model, device_id)
                await press_commands(page, model, device)
        await page.goto("/#/templates")
        known = {each["@id"] for interfaces in ALL for each in interfaces}
        shown = page.locator("section.card .code")
        await expect(shown.last).to_be_visible()
        assert known <= set(await shown.all_inner_texts())


async def draw_overview(page, model, device_id):
    await page.goto(f"/#/devices/{device_id}")
    kinds = [each["schema"]["kind"] for each in model["telemetry"]]
    charts = min(8, sum(kind in dtdl.NUMERIC for kind in kinds))
    await expect(page.locator(".tile")).to_have_count(charts)
    await expect(page.locator(".tile", has_text="No reading yet")).to_have_count(0)
    await expect(page.locator(".chart canvas")).to_have_count(charts)
    cut = "all => all.filter((each) => each.scrollWidth > each.clientWidth).length"
    assert await page.locator(".tile-number").evaluate_all(cut) == 0
    status = page.locator(".card", has=page.get_by_role("heading", name="Status"))
    words = len(kinds) - charts
    read_only = [each for each in model["properties"] if not each["writable"]]
    # The LED of several published models has the name that it has here, and is drawn as one.
    shown = [each for each in read_only if not each["component"] and each["name"] != "ledState"]
    last_message = 1
    await expect(status.locator("dt")).to_have_count(words + len(shown) + last_message)
    for number in range(words):
        await expect(status.locator("dd").nth(number)).not_to_have_text("—")


async def save_properties(page, model, device_id):
    await page.goto(f"/#/devices/{device_id}/properties")
    writable = [each for each in model["properties"] if each["writable"]]
    rows = page.locator(".row")
    await expect(rows).to_have_count(len(writable))
    if not writable:
        return
    for row in await rows.all():
        await fill(row)
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("The device has confirmed")).to_be_visible()
    for row in await rows.all():
        await expect(row).to_contain_text("Synced")


async def press_commands(page, model, device):
    await page.goto(f"/#/devices/{device.id}/commands")
    commands = page.locator(".command")
    await expect(commands).to_have_count(len(model["commands"]))
    for form in await commands.all():
        await fill(form)
        before = len(device.called)
        await form.get_by_role("button").click()
        await expect(form).to_contain_text("Done in")
        assert len(device.called) == before + 1
