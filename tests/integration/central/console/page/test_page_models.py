"""The page with models of every kind: components, objects, enums, inheritance; templates."""

import json
from dataclasses import replace
from typing import Any

import pytest
from consoles import INFORMATION, MODEL, eventually, record
from playwright.async_api import expect

from agent.cloud.move import COMMAND
from agent.device.model import CELSIUS, COMPONENTS, interface
from central.storage import devices, history

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = {
    "@context": "dtmi:dtdl:context;2",
    "@id": "dtmi:test:Thermostat;1",
    "@type": "Interface",
    "displayName": "Thermostat",
    "contents": [
        {
            "@type": ["Telemetry", "Temperature"],
            "name": "temperature",
            "displayName": "Temperature",
            "schema": "double",
            "unit": "degreeCelsius",
        },
        {
            "@type": "Command",
            "name": "getMaxMinReport",
            "displayName": "Report",
            "request": {"name": "since", "displayName": "Since", "schema": "dateTime"},
        },
        {
            "@type": "Property",
            "name": "target",
            "displayName": "Target",
            "schema": "double",
            "writable": True,
        },
    ],
}
HOUSE: dict[str, Any] = {
    "@context": "dtmi:dtdl:context;2",
    "@id": "dtmi:test:House;1",
    "@type": "Interface",
    "displayName": {"en": "House", "de": "Haus"},
    "extends": "dtmi:test:Thermostat;1",
    "contents": [
        {"@type": "Telemetry", "name": "door", "displayName": "Door", "schema": "dtmi:test:Door;1"},
        {"@type": "Telemetry", "name": "note", "schema": "string"},
        {
            "@type": "Property",
            "name": "place",
            "displayName": "Place",
            "writable": True,
            "schema": {
                "@type": "Object",
                "fields": [
                    {"name": "floor", "displayName": "Floor", "schema": "integer"},
                    {"name": "room", "displayName": "Room", "schema": "string"},
                    {"name": "heated", "displayName": "Heated", "schema": "boolean"},
                ],
            },
        },
        {"@type": "Component", "name": "cellar", "displayName": "Cellar", "schema": BASE["@id"]},
    ],
    "schemas": [
        {
            "@id": "dtmi:test:Door;1",
            "@type": "Enum",
            "valueSchema": "integer",
            "enumValues": [
                {"name": "shut", "displayName": "Shut", "enumValue": 0},
                {"name": "open", "displayName": "Wide open", "enumValue": 1},
            ],
        }
    ],
}


@pytest.fixture
def settings(settings):
    return replace(settings, templates=(HOUSE, BASE, MODEL, INFORMATION))


class TestComponents:
    async def test_each_component_has_its_own_values_and_chart(self, page, central):
        await record(central, {"temperature": 21.5})
        await record(central, {"temperature": 9.5}, component="cellar")
        await page.goto("/#/devices/pi-1")
        tiles = page.locator(".tile")
        await expect(tiles).to_have_count(2)
        await expect(tiles.nth(0)).to_contain_text("21.5°C")
        await expect(tiles.nth(1)).to_contain_text("Cellar: Temperature")
        await expect(tiles.nth(1)).to_contain_text("9.5°C")
        await expect(page.locator(".chart canvas")).to_have_count(2)
        await record(central, {"temperature": 10.5}, component="cellar")
        await expect(tiles.nth(1)).to_contain_text("10.5")
        await expect(tiles.nth(0)).to_contain_text("21.5")

    async def test_the_list_shows_a_components_value(self, page, central):
        await record(central, {"temperature": 9.5}, component="cellar")
        await page.goto("/")
        card = page.locator(".device-card")
        await expect(card).to_contain_text("Cellar: Temperature")
        await expect(card).to_contain_text("9.5 °C")

    async def test_a_property_of_a_component_is_set(self, page, central):
        await page.goto("/#/devices/pi-1/properties")
        await page.get_by_label("Cellar: Target").fill("8.5")
        await page.get_by_role("button", name="Save").click()
        wanted = {"cellar": {"__t": "c", "target": 8.5}}
        await eventually(lambda: central.store.read(devices.get_twin, "pi-1").desired == wanted)

    async def test_a_command_of_a_component_is_queued(self, page, central):
        await page.goto("/#/devices/pi-1/commands")
        command = page.locator(".command", has_text="Cellar: Report")
        await command.get_by_label("Since").fill("2026-11-24T10:00:00")
        await command.get_by_role("button", name="Queue Cellar: Report").click()
        await expect(page.locator("tbody tr").first).to_contain_text("Cellar: Report")
        [queued] = central.store.read(history.commands, "pi-1")
        assert (queued.name, queued.queued) == ("cellar*getMaxMinReport", True)
        assert queued.request.startswith("2026-11-2")
        assert queued.request.endswith("Z")


class TestMigration:
    @pytest.fixture
    def settings(self, settings):
        models = (CELSIUS, *COMPONENTS)
        return replace(settings, templates=tuple(map(interface, models)), id_scopes=2)

    async def test_a_device_is_moved_with_the_form_of_its_component(self, page, central):
        await page.goto("/#/devices/pi-1")
        await expect(page.locator(".command", has_text="Turn off")).to_be_visible()
        command = page.locator(".command", has_text="Migration: DeviceMove")
        await expect(command).to_have_count(0)  # Not among what is used each day.
        await page.get_by_role("link", name="Commands").click()
        await command.get_by_label("Id Scope").fill("0ne00000000")
        await command.get_by_role("button", name="Queue Migration: DeviceMove").click()
        await eventually(lambda: central.store.read(history.commands, "pi-1"))
        [queued] = central.store.read(history.commands, "pi-1")
        assert (queued.name, queued.request) == (COMMAND, {"idScope": "0ne00000000"})

    async def test_the_connect_dialog_lists_all_id_scopes(self, page, central):
        await page.goto("/#/devices/pi-1")
        await page.get_by_role("button", name="Connect").click()
        _, (other, hub) = central.id_scopes.items()
        dialog = page.get_by_role("dialog", name="Connect pi-1")
        scope = dialog.get_by_label(f"Another ID scope, with hub {hub}", exact=True)
        await expect(scope).to_have_value(other)


class TestSchemas:
    async def test_telemetry_that_is_not_a_number_is_shown_as_text(self, page, central):
        await record(central, {"door": 1, "note": "hello"})
        await page.goto("/#/devices/pi-1")
        facts = page.locator(".overview-side .facts")
        await expect(facts).to_contain_text("Wide open")
        await expect(facts).to_contain_text("hello")
        await record(central, {"door": 0})
        await expect(facts).to_contain_text("Shut")
        await page.goto("/#/devices/pi-1/raw")
        await expect(page.locator("tbody tr").first).to_contain_text("Shut")

    async def test_an_object_is_set_field_by_field(self, page, central):
        await page.goto("/#/devices/pi-1/properties")
        place = page.get_by_role("group", name="Place")
        await place.get_by_label("Floor").fill("2")
        await place.get_by_label("Room").fill("Kitchen")
        await place.get_by_label("Heated").select_option("true")
        await page.get_by_role("button", name="Save").click()
        wanted = {"place": {"floor": 2, "room": "Kitchen", "heated": True}}
        await eventually(lambda: central.store.read(devices.get_twin, "pi-1").desired == wanted)
        await central.registry.patch_reported("pi-1", wanted)
        row = page.locator(".row", has_text="Place")
        await expect(row).to_contain_text("Floor 2, Room Kitchen, Heated Yes")

    async def test_a_fraction_in_an_integer_field_is_refused(self, page, central):
        await page.goto("/#/devices/pi-1/properties")
        await page.get_by_role("group", name="Place").get_by_label("Floor").fill("2.5")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("Floor must be a whole number.")).to_be_visible()
        assert central.store.read(devices.get_twin, "pi-1").desired == {}


class TestTemplates:
    async def test_a_model_is_imported_used_and_removed(self, page, central, tmp_path):
        model = {**BASE, "@id": "dtmi:test:Other;1", "displayName": "Another"}
        file = tmp_path / "other.json"
        file.write_text(json.dumps(model))
        await page.goto("/#/templates")
        await page.get_by_label("Files to import").set_input_files(file)
        await expect(page.get_by_text("Imported dtmi:test:Other;1", exact=True)).to_be_visible()
        await page.get_by_role("link", name="Devices").click()
        await page.get_by_role("button", name="Add device").click()
        await page.get_by_label("Device id").fill("other-1")
        await page.get_by_label("Model").select_option("Another")
        await page.get_by_role("button", name="Add", exact=True).click()
        await expect(page.get_by_role("dialog", name="Connect other-1")).to_be_visible()
        assert central.store.read(devices.get, "other-1").template == "dtmi:test:Other;1"
        await page.keyboard.press("Escape")
        await page.get_by_role("link", name="Templates").click()
        card = page.locator(".card", has_text="dtmi:test:Other;1")
        await expect(card).to_contain_text("1 device")
        await card.get_by_role("button", name="Remove").click()
        remove = page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True)
        await remove.click()
        await expect(page.get_by_role("dialog")).to_contain_text("among them other-1")
        central.registry.delete_device("other-1")
        await remove.click()
        await expect(card).to_have_count(0)

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("{", "is not JSON"),
            ("{}", 'has no "@id"'),
            ('{"@id": "dtmi:a;1"}', 'must have the @type "Interface"'),
            ('{"@id": "nonsense", "@type": "Interface"}', "is not a DTMI"),
        ],
    )
    async def test_an_invalid_model_is_refused(self, page, tmp_path, text, sentence):
        file = tmp_path / "bad.json"
        file.write_text(text)
        await page.goto("/#/templates")
        await page.get_by_label("Files to import").set_input_files(file)
        await expect(page.locator(".result[data-kind=bad]")).to_contain_text(sentence)
