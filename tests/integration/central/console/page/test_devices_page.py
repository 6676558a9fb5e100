"""The list of devices, and changes of many devices, in a real browser."""

import asyncio
import json
import re
import time
from dataclasses import replace

import pytest
from answering import WHY, answering_devices
from browsers import PHONE, watched_page
from consoles import MODEL, MODEL_ID, climate_device, record
from playwright.async_api import expect

from central.console.run import open_central
from central.records import Device
from central.storage import devices, fleet

pytestmark = pytest.mark.asyncio(loop_scope="module")

INTERVAL = {
    "@type": "Property",
    "name": "telemetryInterval",
    "displayName": "Telemetry interval",
    "schema": "long",
    "unit": "second",
    "writable": True,
}
IN_MINUTES = "dtmi:tests:InMinutes;1"
STATES = ["Reporting", "Late", "Silent", "Never seen", "Blocked", "Open alert"]  # As counted.
WIDE = {"width": 1280, "height": 900}


@pytest.fixture
def settings(settings):
    model = {**MODEL, "contents": [*MODEL["contents"], INTERVAL]}
    minutes = [*MODEL["contents"], {**INTERVAL, "unit": "minute"}]
    other = {**MODEL, "@id": IN_MINUTES, "displayName": "In minutes", "contents": minutes}
    return replace(settings, templates=(model, other, *settings.templates[1:]))


def add_devices(central, count):
    """Add devices pi-1 (which is there) to pi-`count`, named Room 1 and so on."""

    def add(db):
        devices.delete(db, "pi-1")
        for number in range(1, count + 1):
            name = f"Room {number}"
            new = Device(f"pi-{number}", name, 1.0, etag=devices.new_etag(), template=MODEL_ID)
            devices.insert(db, new)

    central.store.call(add)


def names(page):
    return page.locator(".device-card .name > a:first-child")


def count(page, state):
    return page.get_by_role("button", name=re.compile(rf"^[\d\u202f]+\s*{state}$"))


class TestList:
    async def test_it_is_searched_narrowed_and_sorted_by_its_address(self, page, central):
        add_devices(central, 60)
        central.store.call(fleet.set_tags, "pi-3", ["north"])
        await record(central, {"temp": 1}, device="pi-12")
        central.registry.update_device("pi-13", enabled=False)
        await page.goto("/")
        await expect(page.get_by_role("heading", name="Devices (60)")).to_be_visible()
        await expect(names(page)).to_have_count(50)
        assert (await names(page).all_text_contents())[:3] == ["Room 1", "Room 2", "Room 3"]
        assert (await names(page).all_text_contents())[9] == "Room 10"
        await page.get_by_role("button", name="Next").click()
        await expect(names(page)).to_have_count(10)
        await expect(page.get_by_text("51 to 60 of 60")).to_be_visible()

        await count(page, "Blocked").click()
        await expect(names(page)).to_have_text(["Room 13"])
        await count(page, "All").click()
        await page.get_by_label("Search devices").fill("room 12")
        await expect(names(page)).to_have_text(["Room 12"])
        await expect(count(page, "Late")).to_contain_text("1")
        await page.reload()
        await expect(page.get_by_label("Search devices")).to_have_value("room 12")
        await expect(names(page)).to_have_text(["Room 12"])
        await names(page).click()
        await expect(page.get_by_role("heading", name="Room 12")).to_be_visible()
        await page.get_by_label("Breadcrumb").get_by_role("link", name="Devices").click()
        await expect(names(page)).to_have_text(["Room 12"])
        await page.get_by_label("Search devices").fill("nothing like it")
        await expect(page.get_by_text("No device matches.")).to_be_visible()

        await page.goto("/#/?sort=newest")
        await expect(names(page).first).to_have_text("Room 12")
        await page.get_by_label("Tag").select_option("north")
        await expect(names(page)).to_have_text(["Room 3"])
        assert "tag=north" in page.url
        await page.go_back()
        await expect(names(page)).to_have_count(50)

    @pytest.mark.parametrize(
        "query", ["state=gone&sort=size&page=x", "page=900", "search=%25&page=-1"]
    )
    async def test_an_address_that_makes_no_sense_shows_a_list(self, page, central, query):
        add_devices(central, 60)
        central.registry.update_device("pi-7", display_name="100 %")
        await page.goto(f"/#/?{query}")
        await expect(names(page).first).to_be_visible()

    async def test_the_states_are_explained_without_a_pointer(self, browser, central):
        central.registry.add_device("pi-2")
        async with watched_page(browser, central, viewport=PHONE) as page:
            await page.goto("/")
            await page.get_by_text("What the states mean").click()
            meanings = page.locator(".meanings")
            await expect(meanings).to_contain_text("SilentNo message for more than 5 intervals")
            await expect(meanings).to_contain_text("Open alertThe condition of a rule holds")
            for state in STATES:
                await expect(meanings.get_by_text(state, exact=True)).to_be_visible()

    async def test_a_late_reading_is_not_taken_for_a_new_one(self, page, central):
        central.registry.add_device("pi-2")
        await record(central, {"temp": 5}, created=time.time() - 7300)
        await page.goto("/")
        row = page.locator(".device-card", has_text="Kitchen")
        await expect(row).to_contain_text("taken 2 h ago")
        await expect(row.locator("td").last).to_contain_text(re.compile("s ago|now"))

    async def test_a_sensor_that_fails_is_seen_in_the_list(self, page, central):
        central.registry.add_device("pi-2")
        async with climate_device(central) as device:
            await device.report({"sensorStatus": "ok"})
            await page.goto("/")
            row = page.locator(".device-card", has_text="Kitchen")
            await expect(row).to_contain_text("Connected since")
            await expect(row).not_to_contain_text("Sensor:")
            await device.report({"sensorStatus": "failed"})
            await expect(row).to_contain_text("Sensor: failed")

    async def test_a_narrowed_list_says_of_how_many(self, page, central):
        add_devices(central, 12)
        await page.goto("/#/?search=room+1")
        await expect(page.get_by_role("heading", name="Devices (4 of 12)")).to_be_visible()

    async def test_columns_are_chosen_and_kept_in_the_browser(self, page, central):
        central.registry.add_device("pi-2")
        async with climate_device(central) as device:
            await device.report({"ledState": "blinking", "brightness": {"value": 2}})
            await page.goto("/")
            await expect(page.get_by_role("columnheader", name="Last message")).to_be_visible()
            await page.get_by_text("Columns", exact=True).click()
            await page.get_by_label("LED state").check()
            await page.get_by_label("Last message").uncheck()
            await expect(page.get_by_label("State", exact=True).first).to_be_checked()
            # Of the same title, but a property of the model.
            await expect(page.get_by_label("State", exact=True).last).not_to_be_checked()
            row = page.locator(".device-card", has_text="Kitchen")
            await expect(row).to_contain_text("Blinking")
            await page.reload()
            await expect(page.get_by_role("columnheader", name="LED state")).to_be_visible()
            await expect(page.get_by_role("columnheader", name="Last message")).to_have_count(0)
            await expect(row).to_contain_text("Blinking")
            await expect(row).not_to_contain_text("Last reported")
        await expect(row).to_contain_text("Last reported")

    async def test_a_thousand_devices_are_shown_and_searched_quickly(self, page, central):
        add_devices(central, 1000)
        await page.goto("/")
        await expect(page.get_by_role("heading", name="Devices (1000)")).to_be_visible()
        await expect(count(page, "Never seen")).to_contain_text("1000")
        await page.get_by_label("Search devices").fill("pi-999")
        await expect(names(page)).to_have_text(["Room 999"], timeout=5000)

    @pytest.mark.parametrize("width", [320, 390, 760, 761, 1280])
    async def test_nothing_is_cut_off(self, browser, central, width):
        add_devices(central, 3)
        long = ["<b>bold</b> " + "very long name " * 15, "W" * 250, '=HYPERLINK("x")']
        for number, name in enumerate(long, 1):
            central.registry.update_device(f"pi-{number}", display_name=name)
            await record(central, {"temp": 21.5, "humid": 40}, device=f"pi-{number}")
            tags = ["T" * 48, "greenhouse", "<i>"]
            central.store.call(fleet.set_tags, f"pi-{number}", tags)
        size = {"width": width, "height": 800}
        async with watched_page(browser, central, viewport=size) as page:
            await page.goto("/")
            await expect(names(page)).to_have_count(3)
            await page.get_by_label("Select <b>").check()
            await expect(page.get_by_text("1 selected")).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            region = page.locator(".card > .scroll")
            assert await region.evaluate("each => each.scrollWidth - each.clientWidth") <= 0
            assert await page.locator("main b, main i").count() == 0
            await page.goto("/#/devices/pi-1")
            await expect(page.locator(".tile").first).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") <= width


class TestNamesAndTags:
    async def test_a_device_is_renamed_and_tagged(self, page, central):
        await page.goto("/#/devices/pi-1")
        await page.get_by_role("button", name="Edit name and tags").click()
        await page.get_by_label("Name", exact=True).fill("Cellar")
        await page.get_by_label("Tags", exact=True).fill("north, top floor")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="Cellar")).to_be_visible()
        await page.get_by_role("link", name="top floor").click()
        await expect(page.get_by_role("heading", name="Devices (1)")).to_be_visible()
        await expect(names(page)).to_have_text(["Cellar"])

    async def test_a_name_that_cannot_be_is_refused(self, page, central):
        await page.goto("/#/devices/pi-1")
        await page.get_by_role("button", name="Edit name and tags").click()
        await page.get_by_label("Name", exact=True).fill(" ")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("dialog")).to_contain_text("Enter a name.")
        await page.get_by_label("Name", exact=True).fill("x" * 257)
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("dialog")).to_contain_text("1 to 256 characters")


class TestManyDevices:
    @pytest.mark.parametrize(
        ("viewport", "theme"), [(PHONE, "dark"), (WIDE, "light")], ids=["phone", "desktop"]
    )
    async def test_the_interval_of_fifty_devices_is_changed(
        self, browser, central, viewport, theme
    ):
        """Five devices are away, and one refuses."""
        add_devices(central, 51)
        away = {"pi-5", "pi-15", "pi-25", "pi-35", "pi-45"}
        ids = [f"pi-{number}" for number in range(1, 51)]
        here = [each for each in ids if each not in away]
        options = {"viewport": viewport, "color_scheme": theme}
        async with (
            answering_devices(central, here, refusing=["pi-7"]),
            watched_page(browser, central, **options) as page,
        ):
            await page.goto("/")
            await page.get_by_label("Select Room 1", exact=True).check()
            await page.get_by_role("button", name="Select all 51").click()
            await expect(page.get_by_text("51 selected")).to_be_visible()
            await page.get_by_role("button", name="Next").click()
            await page.get_by_label("Select Room 51", exact=True).uncheck()
            await page.get_by_role("button", name="Change a property…").click()
            dialog = page.get_by_role("dialog", name="Change 50 devices")
            await expect(dialog.get_by_label("Property")).to_have_value(
                re.compile("telemetryInterval")
            )
            await dialog.get_by_role("button", name="Change", exact=True).click()
            await expect(dialog).to_contain_text("Enter a value.")
            await dialog.get_by_label("Value").fill("30")
            await dialog.get_by_role("button", name="Change", exact=True).click()
            await expect(dialog).to_contain_text("All 50 devices done.")
            await expect(dialog).to_contain_text("Applied: 44")
            waiting = dialog.locator("details", has_text="Waits until it connects: 5")
            await expect(waiting.get_by_role("link")).to_have_count(5)
            refused = dialog.locator("details", has_text="Refused: 1")
            await expect(refused.locator("li")).to_have_text(f"Room 7 {WHY}")
            desired = [central.store.read(devices.get_twin, each).desired for each in ids]
            assert desired == [{"telemetryInterval": 30}] * 50
            assert central.store.read(devices.get_twin, "pi-51").desired == {}
            await dialog.get_by_role("button", name="Close").last.click()

    async def test_a_value_goes_to_the_devices_with_its_unit(self, page, central):
        add_devices(central, 3)
        central.registry.update_device("pi-2", template=IN_MINUTES)
        await page.goto("/")
        await page.get_by_label("Select all devices on this page").check()
        await page.get_by_role("button", name="Change a property…").click()
        dialog = page.get_by_role("dialog", name="Change 3 devices")
        await dialog.get_by_label("Property").select_option("Telemetry interval (min)")
        await expect(dialog).to_contain_text(
            "Only 1 device: 2 of the selected ones have another unit."
        )
        await dialog.get_by_label("Value").fill("2")
        await dialog.get_by_role("button", name="Change", exact=True).click()
        await expect(dialog).to_contain_text("Done.")
        await expect(dialog).to_contain_text("Telemetry interval: 2 min")
        ids = ("pi-1", "pi-2", "pi-3")
        desired = [central.store.read(devices.get_twin, each).desired for each in ids]
        assert desired == [{}, {"telemetryInterval": 2}, {}]

    async def test_tags_are_given_and_removed(self, page, central):
        add_devices(central, 3)
        await page.goto("/")
        await page.get_by_label("Select all devices on this page").check()
        await page.get_by_label("Select Room 2").uncheck()
        await page.get_by_role("button", name="Tags…").click()
        dialog = page.get_by_role("dialog", name="Tags of 2 devices")
        await dialog.get_by_label("Tags").fill("north, <b>")
        await dialog.get_by_role("button", name="Add").click()
        await expect(dialog).to_contain_text("Applied: 2")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("link", name="north")).to_have_count(2)
        assert central.store.read(fleet.tagged, "<b>") == ["pi-1", "pi-3"]
        await page.get_by_role("button", name="Tags…").click()
        await dialog.get_by_label("Tags").fill("north")
        await dialog.get_by_role("button", name="Remove").click()
        await expect(dialog).to_contain_text("Applied: 2")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("link", name="north")).to_have_count(0)


class TestDevicesThatAreAway:
    async def test_what_they_reported_is_not_shown_as_present(self, page, central):
        async with climate_device(central) as device:
            await device.report({"state": True, "ledState": "blinking", "brightness": {"value": 2}})
            await device.send({"temp": 21.5})
            await page.goto("/#/devices/pi-1")
            await expect(page.locator(".status")).to_contain_text("Reporting")
            await expect(page.locator(".led-bulb")).to_have_attribute("data-state", "blinking")
            online = page.locator(".badge", has_text="Online")
            await expect(online).to_have_attribute("data-kind", "fine")
            await expect(page.get_by_text("Last reported")).to_have_count(0)
        await expect(page.locator(".status")).to_contain_text("Late")
        await expect(online).to_have_attribute("data-kind", "quiet")
        await expect(online).to_have_text("Was online")
        await expect(page.locator(".led-bulb")).to_have_attribute("data-state", "unknown")
        await expect(page.locator(".led")).to_contain_text("Last reported")
        await expect(page.locator(".tile").first).to_contain_text("Last reading")
        await page.get_by_role("link", name="Properties").click()
        row = page.locator(".row", has_text="Brightness level")
        await expect(row).to_contain_text("Last reported: 2")
        await page.get_by_role("link", name="About").click()
        await expect(page.locator(".facts", has_text="LED state")).to_contain_text("Last reported")

    async def test_a_device_becomes_late_while_the_page_is_open(self, page, central):
        async with climate_device(central) as device:
            await device.report({"telemetryInterval": 1})
            await device.send({"temp": 21.5})
            await page.goto("/")
            await expect(page.locator(".device-card")).to_contain_text("Reporting")
            clock = central.settings.clock
            object.__setattr__(central.settings, "clock", lambda: clock() + 31)
            await expect(page.locator(".device-card")).to_contain_text("Late")

    async def test_values_that_say_nothing_are_left_out(self, page, central):
        await central.registry.patch_reported("pi-1", {"sensorWarning": "none"})
        await page.goto("/#/devices/pi-1")
        await expect(page.locator(".facts").first).to_contain_text("Not reported yet")
        await expect(page.locator(".facts").first).not_to_contain_text("None")


class TestSimulatedRoom:
    async def test_it_is_shown_only_for_the_device_that_is_in_it(self, browser, settings, tmp_path):
        room = {
            "temperature": None,
            "humidity": None,
            "fault": None,
            "faults": ["no_answer"],
            "climate": {"temperature": 21.5, "humidity": 40.0},
        }
        reply = json.dumps({"ok": True, "room": room, "device": "pi-1"}).encode() + b"\n"

        async def serve(reader, writer):
            await reader.readline()
            writer.write(reply)
            writer.close()

        settings = replace(settings, room_socket=tmp_path / "room.sock")
        async with (
            await asyncio.start_unix_server(serve, settings.room_socket),
            open_central(settings) as central,
            watched_page(browser, central) as page,
        ):
            for device_id in ("pi-1", "real"):
                central.registry.add_device(device_id)
            await page.goto("/#/devices/real")
            async with page.expect_response("**/console/api/room"):
                await page.goto("/#/devices/pi-1")
            await expect(page.get_by_role("heading", name="Simulated room")).to_be_visible()
            async with page.expect_response("**/console/api/room"):
                await page.goto("/#/devices/real")
            await expect(page.locator(".overview")).to_be_visible()
            await expect(page.get_by_role("heading", name="Simulated room")).to_be_hidden()
