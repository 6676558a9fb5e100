"""Names and tags of devices, and changes of many devices at once."""

import json

import pytest
from answering import WHY, answering_devices
from consoles import ask, eventually, refused

from central.console.page_api import changes
from central.storage import accounts, devices, fleet

DEVICE = "/console/api/devices/pi-1"
CHANGES = "/console/api/changes"


async def results(http, body):
    """Return the result of each device's change, with its reason if there is one."""
    async with http.post(CHANGES, json=body) as response:
        assert response.status == 200, await response.text()
        lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert len({each["device"] for each in lines}) == len(lines)
    return {
        each["device"]: (each["result"], each["reason"]) if each["reason"] else each["result"]
        for each in lines
    }


class TestOneDevice:
    async def test_it_is_renamed_and_tagged(self, http, central):
        await ask(
            http, "PATCH", DEVICE, {"displayName": "Cellar", "tags": [" top  floor", "B", "b"]}
        )
        shown = await ask(http, "GET", DEVICE)
        assert (shown["displayName"], shown["tags"]) == ("Cellar", ["B", "top floor"])
        await ask(http, "PATCH", DEVICE, {"tags": []})
        shown = await ask(http, "GET", DEVICE)
        assert (shown["displayName"], shown["tags"]) == ("Cellar", [])

    @pytest.mark.parametrize(
        "body",
        [
            {"displayName": ""},
            {"displayName": "x" * 257},
            {"displayName": 5},
            {"tags": "north"},
            {"tags": [5]},
            {"tags": [" "]},
            {"tags": ["a,b"]},
            {"tags": ["a\x00b"]},
            {"tags": ["x" * 49]},
            {"tags": [str(number) for number in range(21)]},
            {"displayName": "Cellar", "tags": [""]},
            {"enabled": False},
        ],
    )
    async def test_what_cannot_be_is_refused_and_changes_nothing(self, http, central, body):
        before = central.store.read(devices.get, "pi-1")
        await refused(http, "PATCH", DEVICE, body, expect=400)
        assert central.store.read(devices.get, "pi-1") == before

    async def test_an_unknown_device_is_404(self, http):
        await refused(http, "PATCH", "/console/api/devices/nobody", {"tags": []}, expect=404)


class TestManyDevices:
    async def test_each_device_has_its_result(self, http, central):
        for number in range(2, 7):
            central.registry.add_device(f"pi-{number}")
        central.registry.update_device("pi-6", enabled=False)
        async with answering_devices(central, ["pi-1", "pi-2", "pi-3"], refusing=["pi-3"]):
            ids = ["pi-1", "pi-2", "pi-3", "pi-4", "pi-6", "nobody", "pi-1"]
            body = {"devices": ids, "properties": {"telemetryInterval": 30}}
            assert await results(http, body) == {
                "pi-1": "applied",
                "pi-2": "applied",
                "pi-3": ("refused", WHY),
                "pi-4": "waits",
                "pi-6": ("waits", "The device is blocked."),
                "nobody": ("refused", "There is no device 'nobody'."),
            }
        for device_id in ("pi-1", "pi-4"):
            assert central.store.read(devices.get_twin, device_id).desired == {
                "telemetryInterval": 30
            }
        assert central.store.read(devices.get_twin, "pi-5").desired == {}

    async def test_a_device_that_does_not_acknowledge_is_unanswered(
        self, http, central, device, monkeypatch
    ):
        monkeypatch.setattr(changes, "PATIENCE", 0.5)
        body = {"devices": ["pi-1"], "properties": {"unknown": 1}}
        central.registry.update_device("pi-1", template=None)
        assert await results(http, body) == {"pi-1": "unanswered"}

    async def test_a_property_that_the_model_does_not_have_is_refused(self, http, central, device):
        body = {"devices": ["pi-1"], "properties": {"size": 1}}
        [(result, reason)] = (await results(http, body)).values()
        assert result == "refused"
        assert "'size' is not a writable property" in reason
        assert central.store.read(devices.get_twin, "pi-1").desired == {}

    async def test_an_acknowledgement_of_an_earlier_value_does_not_count(
        self, http, central, device
    ):
        body = {"devices": ["pi-1"], "properties": {"brightness": 2}}
        assert await results(http, body) == {"pi-1": "applied"}
        body = {"devices": ["pi-1"], "properties": {"brightness": 9}}
        [(result, reason)] = (await results(http, body)).values()
        assert (result, reason) == ("refused", "Brightness is 1, 2 or 3, not 9.")

    async def test_tags_are_added_and_removed(self, http, central):
        central.registry.add_device("pi-2")
        both = {"devices": ["pi-1", "pi-2"]}
        assert await results(http, {**both, "addTags": ["North", "b"]}) == {
            "pi-1": "applied",
            "pi-2": "applied",
        }
        await results(http, {"devices": ["pi-1"], "addTags": ["c"], "removeTags": ["north"]})
        assert central.store.read(fleet.tags, "pi-1") == ("b", "c")
        assert central.store.read(fleet.tagged, "north") == ["pi-2"]
        many = [str(number) for number in range(19)]
        [(result, reason)] = (await results(http, {"devices": ["pi-1"], "addTags": many})).values()
        assert (result, reason) == ("refused", "A device has at most 20 tags.")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"devices": []},
            {"devices": ["pi-1"]},
            {"devices": "pi-1", "properties": {"a": 1}},
            {"devices": [1], "properties": {"a": 1}},
            {"devices": [f"{n}" for n in range(1001)], "properties": {"a": 1}},
            {"devices": ["pi-1"], "properties": {}},
            {"devices": ["pi-1"], "properties": {"a": None}},
            {"devices": ["pi-1"], "properties": {"a": 1}, "addTags": ["x"]},
            {"devices": ["pi-1"], "addTags": [""]},
            {"devices": ["pi-1"], "tags": ["x"]},
        ],
    )
    async def test_a_malformed_change_is_refused_as_a_whole(self, http, central, body):
        await refused(http, "POST", CHANGES, body, expect=400)
        assert central.store.read(devices.get_twin, "pi-1").desired == {}

    async def test_each_device_has_an_audit_line(self, http, central):
        await results(http, {"devices": ["pi-1", "nobody"], "addTags": ["x"]})

        def audited():
            return central.store.read(accounts.audit_of, "nobody")

        [refusal] = await eventually(audited)
        [change] = central.store.read(accounts.audit_of, "pi-1")
        assert (change.request, change.status) == ("POST /console/api/changes", 200)
        assert (refusal.request, refusal.status) == ("POST /console/api/changes", 422)

    async def test_the_change_goes_on_when_the_client_goes_away(self, http, central):
        ids = [f"pi-{number}" for number in range(2, 60)]
        for device_id in ids:
            central.registry.add_device(device_id)
        body = {"devices": ids, "properties": {"name": "x"}}
        async with http.post(CHANGES, json=body) as response:
            response.close()
        await eventually(lambda: central.store.read(devices.get_twin, "pi-59").desired)
