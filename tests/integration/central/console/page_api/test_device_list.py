"""The list of devices, as the page reads it."""

import asyncio
import time

import pytest
from consoles import ask, eventually, record, refused

from central.records import Device, iso
from central.storage import devices as storage
from central.storage import fleet

LIST = "/console/api/devices"


def names(body):
    return [each["displayName"] for each in body["value"]]


@pytest.fixture
async def devices(central):
    """Four devices: one has sent something, two have tags, and one is blocked."""
    registry = central.registry
    registry.delete_device("pi-1")
    for number, tags in ((1, ["north"]), (2, ["north", "top"]), (10, []), (11, [])):
        registry.add_device(f"pi-{number}", display_name=f"Room {number}", enabled=number < 11)
        central.store.call(fleet.set_tags, f"pi-{number}", tags)
    await record(central, {"temp": 1}, device="pi-2")
    await registry.patch_reported("pi-2", {"ledState": "on", "part": {"__t": "c", "x": 5}})


async def test_the_list_is_narrowed_sorted_and_counted(http, devices):
    body = await ask(http, "GET", LIST)
    assert names(body) == ["Room 1", "Room 2", "Room 10", "Room 11"]
    assert (body["total"], body["matching"], body["shown"]) == (4, 4, 4)
    assert body["counts"] == {
        "reporting": 0,
        "late": 1,
        "silent": 0,
        "never_seen": 2,
        "blocked": 1,
        "alert": 0,
    }
    assert body["tags"] == [{"tag": "north", "count": 2}, {"tag": "top", "count": 1}]
    assert body["value"][1]["tags"] == ["north", "top"]

    body = await ask(http, "GET", LIST, params={"tag": "north", "state": "never_seen"})
    assert (names(body), body["matching"], body["shown"]) == (["Room 1"], 2, 1)
    assert names(await ask(http, "GET", LIST, params={"search": "room 1"})) == [
        "Room 1",
        "Room 10",
        "Room 11",
    ]
    assert names(await ask(http, "GET", LIST, params={"sort": "newest", "limit": "1"})) == [
        "Room 2"
    ]
    assert names(await ask(http, "GET", LIST, params={"offset": "3"})) == ["Room 11"]
    assert names(await ask(http, "GET", LIST, params={"offset": "9"})) == []


async def test_reported_properties_are_returned_if_they_are_asked_for(http, devices):
    query = "property=ledState&property=part*x&property=$metadata&property=none"
    body = await ask(http, "GET", f"{LIST}?{query}")
    assert body["value"][0]["reported"] == {}
    reported = body["value"][1]["reported"]
    assert {key: each["value"] for key, each in reported.items()} == {"ledState": "on", "part*x": 5}
    assert reported["ledState"]["lastUpdateTime"] <= iso(time.time())


@pytest.mark.parametrize(
    "query", ["state=gone", "sort=size", "limit=0", "limit=1001", "offset=-1", "limit=x"]
)
async def test_a_query_that_is_not_understood_is_refused(http, query):
    error = await refused(http, "GET", f"{LIST}?{query}", expect=400)
    assert error["code"] == "InvalidQuery"


async def test_a_connected_device_is_reporting_until_it_disconnects(http, device):
    await device.send({"temp": 1})
    assert (await ask(http, "GET", f"{LIST}/pi-1"))["state"] == "reporting"


async def test_a_page_of_a_thousand_devices_is_read_quickly(http, central):
    def add(db):
        for number in range(1000):
            storage.insert(db, Device(f"many-{number}", f"Many {number}", 0.0, etag=""))

    central.store.call(add)
    await asyncio.gather(*[record(central, {"t": 1}, device=f"many-{n}") for n in range(1000)])
    params = {"limit": "50", "search": "many", "sort": "silence"}
    started = time.perf_counter()
    body = await ask(http, "GET", LIST, params=params)
    assert time.perf_counter() - started < 2  # 0.1 s on an idle machine.
    assert (len(body["value"]), body["shown"]) == (50, 1000)


async def test_a_device_with_an_open_alert_is_counted_besides_its_state(http, central):
    condition = {
        "kind": "telemetry",
        "telemetry": "temp",
        "above": True,
        "limit": 30,
        "margin": 1,
        "seconds": 0,
    }
    rule = {"name": "Too warm", "condition": condition}
    await ask(http, "POST", "/console/api/rules", rule, expect=201)

    async def alerted():
        body = await ask(http, "GET", LIST, params={"state": "alert"})
        return [each["id"] for each in body["value"] if each["alert"]], body["counts"]["alert"]

    assert await alerted() == ([], 0)
    await record(central, {"temp": 35})
    await eventually(lambda: _equals(alerted, (["pi-1"], 1)))
    await record(central, {"temp": 20})
    await eventually(lambda: _equals(alerted, ([], 0)))


async def _equals(read, expected):
    return await read() == expected
