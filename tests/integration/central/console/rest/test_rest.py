"""IoT Central's own paths."""

import json

import aiohttp
import pytest
from consoles import INFORMATION, INFORMATION_ID, MODEL, MODEL_ID, ask, refused

from central.application import Settings
from central.console.run import open_central
from central.storage import devices, history


@pytest.fixture
async def central(tmp_path):
    opened = open_central(
        Settings(
            data_dir=tmp_path / "central",
            mqtt_port=0,
            http_port=0,
            templates=(MODEL, INFORMATION),
        )
    )
    async with opened as central:
        yield central


@pytest.fixture
async def http(central):
    async with aiohttp.ClientSession(central.http) as session:
        yield session


async def change(http, method, path, body):
    """Change properties, which is accepted and not yet done."""
    return await ask(http, method, path, body, expect=202)


class TestDevices:
    async def test_a_device_is_created_read_changed_and_deleted(self, http):
        created = await ask(
            http, "PUT", "/api/devices/pi-1", {"displayName": "Kitchen", "template": MODEL_ID}
        )
        assert created == {
            "id": "pi-1",
            "etag": created["etag"],
            "displayName": "Kitchen",
            "template": MODEL_ID,
            "simulated": False,
            "provisioned": False,
            "enabled": True,
        }
        assert await ask(http, "GET", "/api/devices/pi-1?api-version=1.0") == created
        changed = await ask(http, "PATCH", "/api/devices/pi-1", {"enabled": False})
        assert changed["enabled"] is False
        assert changed["displayName"] == "Kitchen"
        assert changed["etag"] != created["etag"]
        await ask(http, "DELETE", "/api/devices/pi-1", expect=204)
        await refused(http, "GET", "/api/devices/pi-1", expect=404)

    async def test_an_answer_can_be_sent_back(self, http):
        created = await ask(http, "PUT", "/api/devices/pi-1", {})
        again = await ask(http, "PUT", "/api/devices/pi-1", created)
        assert again | {"etag": ""} == created | {"etag": ""}

    async def test_a_device_can_be_created_blocked(self, http):
        assert (await ask(http, "PUT", "/api/devices/pi-1", {"enabled": False}))["enabled"] is False

    async def test_a_template_can_be_taken_away(self, http):
        await ask(http, "PUT", "/api/devices/pi-1", {"template": MODEL_ID})
        assert "template" not in await ask(http, "PATCH", "/api/devices/pi-1", {"template": None})

    async def test_the_list_comes_in_pages(self, http):
        for number in range(5):
            await ask(http, "PUT", f"/api/devices/pi-{number}", {})
        seen, link = [], "/api/devices?api-version=1.0&$top=2"
        while link:
            page = await ask(http, "GET", link)
            seen += [device["id"] for device in page["value"]]
            link = page.get("nextLink")
        assert seen == [f"pi-{number}" for number in range(5)]

    @pytest.mark.parametrize(
        ("body", "word"),
        [
            ({"displayName": 5}, "displayName"),
            ({"displayName": ""}, "displayName"),
            ({"displayName": "x" * 257}, "displayName"),
            ({"enabled": 1}, "enabled"),
            ({"colour": "red"}, "colour"),
            ({"id": "pi-2"}, "pi-2"),
            ([], "object"),
        ],
    )
    async def test_a_bad_device_is_refused(self, http, body, word):
        error = await refused(http, "PUT", "/api/devices/pi-1", body, expect=400)
        assert error["code"] == "InvalidBody"
        assert word in error["message"]
        await refused(http, "GET", "/api/devices/pi-1", expect=404)

    async def test_an_id_that_no_device_can_have_is_refused(self, http):
        await refused(http, "PUT", "/api/devices/pi%20one", {}, expect=400)
        await refused(http, "PUT", f"/api/devices/{'x' * 129}", {}, expect=400)

    async def test_an_unknown_template_is_refused(self, http):
        body = {"template": "dtmi:test:Nothing;1"}
        await refused(http, "PUT", "/api/devices/pi-1", body, expect=404)

    async def test_an_etag_guards_against_lost_changes(self, http):
        device = await ask(http, "PUT", "/api/devices/pi-1", {})
        current = {"If-Match": device["etag"]}
        await ask(http, "PATCH", "/api/devices/pi-1", {"displayName": "A"}, headers=current)
        for method in ("PATCH", "PUT", "DELETE"):
            body = None if method == "DELETE" else {"displayName": "B"}
            path = "/api/devices/pi-1"
            await refused(http, method, path, body, headers=current, expect=412)
        only_new = {"If-None-Match": "*"}
        await refused(http, "PUT", "/api/devices/pi-1", {}, headers=only_new, expect=412)
        assert (await ask(http, "GET", "/api/devices/pi-1"))["displayName"] == "A"

    async def test_credentials_are_the_devices_own(self, http, central):
        await ask(http, "PUT", "/api/devices/pi-1", {})
        primary, secondary = central.registry.keys("pi-1")
        assert await ask(http, "GET", "/api/devices/pi-1/credentials") == {
            "idScope": central.id_scope,
            "symmetricKey": {"primaryKey": primary, "secondaryKey": secondary},
        }

    async def test_a_token_is_accepted_and_ignored(self, http):
        token = {"Authorization": "SharedAccessSignature sr=x&sig=y&skn=z&se=1"}
        await ask(http, "GET", "/api/devices?api-version=2022-07-31", headers=token)


class TestTelemetryAndProperties:
    async def test_the_last_value_is_the_newest_by_creation_time(self, http, central):
        central.registry.add_device("pi-1")
        for created, value in [(1000.25, 20.5), (900.0, 19.0)]:
            body = json.dumps({"temp": value}).encode()
            await central.registry.record_message(
                "pi-1", created=created, body=body, properties={}, system={}
            )
        assert await ask(http, "GET", "/api/devices/pi-1/telemetry/temp") == {
            "timestamp": "1970-01-01T00:16:40.250Z",
            "value": 20.5,
        }
        await refused(http, "GET", "/api/devices/pi-1/telemetry/humid", expect=404)

    async def test_telemetry_of_a_component(self, http, central):
        central.registry.add_device("pi-1")
        await central.registry.record_message(
            "pi-1", created=5.0, body=b'{"temp": 1}', properties={}, system={"component": "inside"}
        )
        path = "/api/devices/pi-1/components/inside/telemetry/temp"
        assert (await ask(http, "GET", path))["value"] == 1
        await refused(http, "GET", "/api/devices/pi-1/telemetry/temp", expect=404)

    async def test_properties_are_set_and_told(self, http, central):
        central.registry.add_device("pi-1", template=MODEL_ID)
        path = "/api/devices/pi-1/properties"
        answer = await change(http, "PATCH", path, {"brightness": 2})
        assert answer == {"$metadata": {"brightness": {"desiredValue": 2}}}
        told = await ask(http, "GET", path)
        assert told["$metadata"]["brightness"]["desiredValue"] == 2
        await change(http, "PATCH", path, {**told, "name": "Ann"})
        assert central.store.read(devices.get_twin, "pi-1").desired == {
            "brightness": 2,
            "name": "Ann",
        }
        await change(http, "PUT", path, {"name": "Bo"})
        assert central.store.read(devices.get_twin, "pi-1").desired == {"name": "Bo"}
        await change(http, "PATCH", path, {"name": None})
        assert central.store.read(devices.get_twin, "pi-1").desired == {}

    async def test_a_component_is_marked_as_the_hub_wants_it(self, http, central):
        central.registry.add_device("pi-1", template=MODEL_ID)
        path = "/api/devices/pi-1/components/information/properties"
        answer = await change(http, "PATCH", path, {"limit": 3})
        assert answer == {"$metadata": {"limit": {"desiredValue": 3}}}
        assert central.store.read(devices.get_twin, "pi-1").desired == {
            "information": {"__t": "c", "limit": 3}
        }
        assert (await ask(http, "GET", path))["$metadata"]["limit"]["desiredValue"] == 3
        await change(http, "PUT", path, {})
        assert central.store.read(devices.get_twin, "pi-1").desired == {"information": {"__t": "c"}}
        nested = {"information": {"limit": 4}}
        await change(http, "PATCH", "/api/devices/pi-1/properties", nested)
        assert central.store.read(devices.get_twin, "pi-1").desired["information"] == {
            "__t": "c",
            "limit": 4,
        }

    async def test_the_components_of_a_device(self, http, central):
        central.registry.add_device("pi-1", template=MODEL_ID)
        await central.registry.patch_reported("pi-1", {"extra": {"__t": "c", "a": 1}})
        value = (await ask(http, "GET", "/api/devices/pi-1/components"))["value"]
        assert value == [
            {"@type": "Component", "name": "information", "displayName": "Information"},
            {"@type": "Component", "name": "extra", "displayName": "extra"},
        ]
        path = "/api/devices/pi-1/components/nothing/properties"
        await refused(http, "GET", path, expect=404)
        await refused(http, "PATCH", path, {}, expect=404)

    @pytest.mark.parametrize("body", [{"brightnes": 2}, {"state": True}, {"$version": 2}])
    async def test_what_the_model_does_not_let_be_set_is_refused(self, http, central, body):
        central.registry.add_device("pi-1", template=MODEL_ID)
        path = "/api/devices/pi-1/properties"
        error = await refused(http, "PATCH", path, body, expect=422)
        assert "brightness, name" in error["message"]
        assert central.store.read(devices.get_twin, "pi-1").desired == {}

    async def test_without_a_model_anything_can_be_set_that_a_twin_can_hold(self, http, central):
        central.registry.add_device("pi-1")
        path = "/api/devices/pi-1/properties"
        await change(http, "PATCH", path, {"anything": {"at": ["all"]}})
        await refused(http, "PATCH", path, {"$version": 2}, expect=400)
        await refused(http, "PATCH", path, {"big": ["x" * 4000] * 10}, expect=400)
        assert central.store.read(devices.get_twin, "pi-1").desired == {"anything": {"at": ["all"]}}


class TestCommands:
    async def test_a_device_that_is_not_connected_is_404_and_in_the_history(self, http, central):
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
    async def test_a_bad_call_is_refused(self, http, central, body):
        central.registry.add_device("pi-1")
        await refused(http, "POST", "/api/devices/pi-1/commands/blink", body, expect=400)
        assert central.store.read(history.commands, "pi-1") == []

    @pytest.mark.parametrize("name", ["a%2Fb", "a%23", "%2B", "a%00b", "x" * 65])
    async def test_a_name_that_no_command_has_is_refused(self, http, central, name):
        central.registry.add_device("pi-1")
        await refused(http, "POST", f"/api/devices/pi-1/commands/{name}", {}, expect=400)

    async def test_a_command_is_queued_for_a_device_that_is_away(self, http, central):
        central.registry.add_device("pi-1")
        path = "/console/api/devices/pi-1/queue/blink"
        assert (await ask(http, "POST", path, {"request": 2}))["queued"] is True
        listed = await ask(http, "GET", "/console/api/devices/pi-1/commands")
        assert [(each["name"], each["queued"]) for each in listed["value"]] == [("blink", True)]


class TestTemplates:
    async def test_a_template_is_imported_read_renamed_and_deleted(self, http):
        path = "/api/deviceTemplates/dtmi:test:Other;1"
        body = {"displayName": "Other", "capabilityModel": {"@type": "Interface", "contents": []}}
        created = await ask(http, "PUT", path, body)
        assert created["@type"] == ["ModelDefinition", "DeviceModel"]
        assert created["capabilityModel"]["@id"] == "dtmi:test:Other;1"
        assert await ask(http, "PUT", path, created) == created
        renamed = await ask(http, "PATCH", path, {"displayName": "Another"})
        assert renamed["displayName"] == "Another"
        listed = (await ask(http, "GET", "/api/deviceTemplates"))["value"]
        assert [each["@id"] for each in listed] == [MODEL_ID, INFORMATION_ID, "dtmi:test:Other;1"]
        await ask(http, "DELETE", path, expect=204)
        await refused(http, "GET", path, expect=404)

    async def test_a_template_may_have_another_id_than_its_interface(self, http, central):
        """As in the examples of IoT Central's documentation."""
        model = {"@id": "dtmi:contoso:mythermostat;1", "@type": "Interface", "contents": []}
        path = "/api/deviceTemplates/dtmi:contoso:mythermostattemplate;1"
        created = await ask(http, "PUT", path, {"capabilityModel": model})
        assert created["@id"] == "dtmi:contoso:mythermostattemplate;1"
        assert created["capabilityModel"] == model
        await refused(http, "GET", f"/api/deviceTemplates/{model['@id']}", expect=404)
        await central.registry.register("pi-9", model["@id"])
        device = await ask(http, "GET", "/api/devices/pi-9")
        assert device["template"] == created["@id"]
        await refused(http, "DELETE", path, expect=409)

    async def test_a_template_of_the_documentation_is_taken_and_patched(self, http):
        """Its `@context` is no mistake, and a patch names only what changes (RFC 7396)."""
        capabilities = {"@id": "dtmi:contoso:Thermostat;1", "@type": "Interface", "contents": []}
        body = {
            "displayName": "Thermostat",
            "@id": "dtmi:contoso:mythermostattemplate;1",
            "@type": ["ModelDefinition", "DeviceModel"],
            "@context": ["dtmi:iotcentral:context;2", "dtmi:dtdl:context;2"],
            "capabilityModel": capabilities,
        }
        path = f"/api/deviceTemplates/{body['@id']}"
        named = {**capabilities, "displayName": "Thermostat"}
        assert await ask(http, "PUT", path, body) == {**body, "capabilityModel": named}
        contents = [{"@type": "Telemetry", "name": "temperature", "schema": "double"}]
        changed = await ask(http, "PATCH", path, {"capabilityModel": {"contents": contents}})
        assert changed == {**body, "capabilityModel": {**named, "contents": contents}}

    async def test_a_template_in_use_is_kept(self, http, central):
        central.registry.add_device("pi-1", template=MODEL_ID)
        error = await refused(http, "DELETE", f"/api/deviceTemplates/{MODEL_ID}", expect=409)
        assert "pi-1" in error["message"]

    @pytest.mark.parametrize(
        "model", [None, [], {}, {"@type": "Property"}, {"@type": "Interface", "contents": [1]}]
    )
    async def test_what_is_no_interface_is_refused(self, http, model):
        path = "/api/deviceTemplates/dtmi:test:Other;1"
        await refused(http, "PUT", path, {"capabilityModel": model}, expect=400)

    @pytest.mark.parametrize("dtmi", ["Other", "dtmi:test:Other", "dtmi:test:Other;0"])
    async def test_what_is_no_dtmi_is_refused(self, http, dtmi):
        body = {"capabilityModel": {"@type": "Interface"}}
        await refused(http, "PUT", f"/api/deviceTemplates/{dtmi}", body, expect=400)
