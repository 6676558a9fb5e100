"""The page in a real browser."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from urllib.parse import quote, unquote

import pytest
from browsers import PHONE, watched_page
from consoles import MODEL, MODEL_ID, climate_device, eventually, record
from places import ROOT
from playwright.async_api import expect

from central.console.page_api import live
from central.console.run import open_central
from central.records import Command
from central.storage import devices, history, templates

SETUP = "sudo sensor-agent setup"
HOSTILE = "<img src=x onerror=\"window.hacked='yes'\"><script>window.hacked='yes'</script>"

COUNT_ALIVE = """
window.heard = 0;
const listen = EventSource.prototype.addEventListener;
EventSource.prototype.addEventListener = function (kind, heard) {
  listen.call(this, kind, heard);
  if (kind === "alive") listen.call(this, kind, () => (window.heard += 1));
};
"""

# One loop and one browser for the whole file: starting a browser takes a while.
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def reachable(route):
    """Answer as a central that other machines can reach."""
    answer = await (await route.fetch()).json()
    await route.fulfill(json={**answer, "local": False})


def status_of(page, label):
    return page.locator(".row", has=page.get_by_label(label, exact=True)).locator(".badge")


class TestOverview:
    async def test_a_reading_appears_by_itself(self, page, central):
        await page.goto("/#/devices/pi-1")
        await expect(page.get_by_role("heading", name="Kitchen")).to_be_visible()
        await expect(page.locator(".tile")).to_have_count(2)
        await expect(page.locator(".live")).to_have_text("Live")
        async with climate_device(central) as device:
            await expect(page.locator(".status")).to_contain_text("Connected since")
            await device.send({"temp": 21.54, "humid": 40})
            await expect(page.locator(".tile").nth(0)).to_contain_text("21.5°C")
            await expect(page.locator(".tile").nth(1)).to_contain_text("40.0%")
            await expect(page.locator(".chart canvas")).to_have_count(2)
            chart = page.get_by_role("img", name=re.compile("Temperature: 21.5"))
            await expect(chart).to_be_visible()
        await expect(page.locator(".status")).to_contain_text("Disconnected")

    async def test_a_late_reading_is_not_shown_as_current(self, page, central):
        await page.goto("/#/devices/pi-1")
        await expect(page.locator(".live")).to_have_text("Live")
        async with climate_device(central) as device:
            await device.send({"temp": 30.0})
            await expect(page.locator(".tile").nth(0)).to_contain_text("30.0")
            await device.send(
                {"temp": 10.0}, **{"iothub-creation-time-utc": "2020-01-01T00:00:00Z"}
            )
            await device.send({"humid": 50})
            await expect(page.locator(".tile").nth(1)).to_contain_text("50.0")
            await expect(page.locator(".tile").nth(0)).to_contain_text("30.0")

    async def test_the_numbers_of_a_device_without_a_model_are_shown(self, page, central):
        central.registry.add_device("raw")
        await page.goto("/#/devices/raw")
        await expect(page.get_by_text("No readings yet.")).to_be_visible()
        await record(central, {"co2": 612, "ok": True}, device="raw")
        await expect(page.locator(".tile")).to_have_count(1)
        await expect(page.locator(".tile")).to_contain_text("co2")
        await expect(page.locator(".tile")).to_contain_text("612")

    async def test_the_led_state_is_shown(self, page, central):
        await page.goto("/#/devices/pi-1")
        bulb = page.locator(".led-bulb")
        await expect(bulb).to_have_attribute("data-state", "unknown")
        async with climate_device(central):
            await expect(page.locator(".status")).to_contain_text("Connected since")
            blink = page.locator(".command", has_text="Blink")
            await blink.get_by_label("Interval").fill("2")
            await blink.get_by_label("Interval").press("Enter")
            await expect(blink.locator("output")).to_contain_text("Blinking every 2 s")
            await expect(bulb).to_have_attribute("data-state", "blinking")
            await expect(page.locator(".led")).to_contain_text("Blinking every 2 s")


class TestCommands:
    async def test_commands_are_run_refused_and_completed(self, page, central):
        await page.goto("/#/devices/pi-1/commands")
        blink = page.locator(".command", has_text="Blink")
        rows = page.locator("tbody tr")
        async with climate_device(central) as device:
            await blink.get_by_role("button", name="Run Blink").click()
            await expect(blink.locator("output")).to_have_text("Interval is required.")
            assert device.calls == []
            await blink.get_by_label("Interval").fill("3")
            await blink.get_by_role("button").click()
            await expect(blink.locator("output")).to_contain_text("Done in")
            await expect(rows.first).to_contain_text("Blinking every 3 s")
            await page.get_by_role("button", name="Run Run diagnostics").click()
            await expect(rows.first).to_contain_text("All is well.")
            await expect(rows.first).to_contain_text("Completed")
            form = page.locator(".command", has_text="Run diagnostics")
            await expect(form.locator("output")).to_contain_text(
                re.compile("^Completed at .*: All is well.$")
            )
            assert device.calls == [("blink", 3), ("rundiagnostics", None)]

    @pytest.mark.parametrize(("width", "height"), [(360, 230), (390, 230), (1280, 130)])
    async def test_a_long_diagnosis_is_one_line_until_it_is_opened(
        self, page, central, width, height
    ):
        await page.set_viewport_size({"width": width, "height": 800})
        await page.goto("/#/devices/pi-1/commands")
        row = page.locator("tbody tr").first
        async with climate_device(central) as device:
            wrong = [f"failed: check-{number}: It is wrong. Mend it." for number in range(20)]
            device.diagnosis = "\n".join(["20 checks: 20 failed", *wrong])
            await page.get_by_role("button", name="Run Run diagnostics").click()
            await expect(row).to_contain_text("20 checks: 20 failed")
            last = row.get_by_text("check-19")
            await expect(last).not_to_be_visible()
            assert await row.evaluate("row => row.offsetHeight") < height
            await row.locator("summary").click()
            await expect(last).to_be_visible()
            await device.report({"ledState": "on"})  # The list is drawn again.
            await page.get_by_role("button", name="Run Turn off").click()
            await expect(page.locator("tbody tr")).to_have_count(2)
            await expect(page.get_by_text("check-19")).to_be_visible()

    async def test_a_command_for_an_offline_device_is_queued(self, page, central):
        await page.goto("/#/devices/pi-1/commands")
        await page.get_by_role("button", name="Queue Turn off").click()
        await expect(page.locator("tbody tr").first).to_contain_text("Queued")
        [command] = central.store.read(history.commands, "pi-1")
        assert (command.name, command.queued) == ("turnoff", True)
        output = page.locator(".command", has_text="Turn off").locator("output")
        await expect(output).to_contain_text("Queued.")
        await central.registry.record_answer(
            command.id, answered=time.time(), status=None, response=None
        )
        await expect(output).to_have_text("Delivered to the device.")

    async def test_a_queued_command_expires(self, page, central):
        asked = time.time() - 25 * 3600
        old = Command("1", "pi-1", "turnoff", None, asked, queued=True)
        await central.registry.record_command(old)
        await page.goto("/#/devices/pi-1/commands")
        await expect(page.locator("tbody tr").first).to_contain_text("Expired")


class TestProperties:
    async def test_a_value_is_pending_then_synced_or_refused(self, page, central):
        await page.goto("/#/devices/pi-1/properties")
        await page.get_by_label("Brightness level").fill("2")
        await page.get_by_role("button", name="Save").click()
        await expect(status_of(page, "Brightness level")).to_contain_text("Pending")
        await expect(page.get_by_text("Saved. The device receives it when")).to_be_visible()
        async with climate_device(central):
            await page.get_by_label("Brightness level").fill("3")
            await page.get_by_role("button", name="Save").click()
            await expect(status_of(page, "Brightness level")).to_have_text("Synced")
            await page.get_by_label("Brightness level").fill("9")
            await page.get_by_label("Customer name").fill("Ann")
            await page.keyboard.press("Enter")
            await expect(status_of(page, "Customer name")).to_have_text("Synced")
            await expect(status_of(page, "Brightness level")).to_have_text(
                "Refused: Brightness is 1, 2 or 3, not 9."
            )
            result = page.locator("form > .actions output")
            await expect(result).to_have_text("The device refused Brightness level.")
            await page.get_by_label("Brightness level").fill("1")
            await page.keyboard.press("Enter")
            await expect(result).to_have_text("Saved. The device has confirmed it.")

    async def test_numbers_with_a_meaning_are_a_choice(self, page, central):
        central.store.call(templates.put, MODEL_ID, model_with_choices())
        await central.registry.patch_reported("pi-1", {"brightness": 9, "name": ""})
        await page.goto("/#/devices/pi-1/properties")
        choice = page.get_by_label("Brightness level")
        await expect(choice).to_have_value("9")  # Not among them, and shown.
        await expect(page.locator(".row", has_text="Customer name")).to_contain_text("(empty)")
        await choice.select_option("Medium")
        await page.get_by_role("button", name="Save").click()
        await eventually(lambda: central.store.read(devices.get_twin, "pi-1").desired)
        assert central.store.read(devices.get_twin, "pi-1").desired == {"brightness": 2}
        await central.registry.patch_reported("pi-1", {"brightness": 2})
        row = page.locator(".row", has_text="Brightness level")
        await expect(row).to_contain_text("reported: Medium")

    async def test_an_unsaved_change_is_not_overwritten(self, page, central):
        await page.goto("/#/devices/pi-1/properties")
        await page.get_by_label("Customer name").fill("half writ")
        await central.registry.patch_reported("pi-1", {"name": {"value": "Bo"}})
        await expect(page.locator(".row", has_text="Customer name")).to_contain_text(
            "Last reported: Bo"
        )
        await expect(page.get_by_label("Customer name")).to_have_value("half writ")
        await page.get_by_role("button", name="Discard changes").click()
        await expect(page.get_by_label("Customer name")).to_have_value("Bo")


class TestDevices:
    async def test_a_device_is_added_and_its_configuration_shown(self, page, central):
        asked = []
        page.on("request", lambda request: asked.append(unquote(request.url)))
        await page.goto("/")
        await expect(page.get_by_role("heading", name="Devices (1)")).to_be_visible()
        await page.get_by_role("button", name="Add device").click()
        await page.get_by_label("Device id").fill("pi-2")
        await page.get_by_role("button", name="Add", exact=True).click()
        dialog = page.get_by_role("dialog", name="Connect pi-2")
        await expect(dialog.get_by_label("ID scope", exact=True)).to_have_value(central.id_scope)
        primary, _ = central.registry.keys("pi-2")
        await expect(dialog.get_by_label("Primary key", exact=True)).to_have_value(primary)
        string = dialog.get_by_label("Connection string", exact=True)
        await expect(string).to_have_value(
            f"HostName={central.mqtt_host};DeviceId=pi-2;SharedAccessKey={primary}"
        )
        await expect(string).to_have_attribute("type", "password")
        line, _, config, run = await dialog.locator("pre").all_text_contents()
        directory = central.settings.data_dir
        assert line == f"sudo sensor-agent setup --central {directory} --device-id pi-2"
        assert run == "sensor-agent run --config pi-2.toml"
        assert config.splitlines() == [
            "[device]",
            'id = "pi-2"',
            "",
            "[cloud]",
            f'id_scope = "{central.id_scope}"',
            f'provisioning_host = "{central.mqtt_host}"',
            'key_file = "pi-2.key"',
            f"ca_file = {json.dumps(str(central.ca_file))}",
        ]
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await expect(page.get_by_role("heading", name="pi-2")).to_be_visible()
        assert asked
        assert not [url for url in asked if primary in url]

    async def test_a_device_id_may_have_every_character_of_a_hub(self, page, central):
        device_id = "pi.%41_*?!(),:=@;$'-2"
        await page.goto("/")
        await page.get_by_role("button", name="Add device").click()
        await page.get_by_label("Device id").fill(device_id)
        await page.get_by_role("button", name="Add", exact=True).click()
        dialog = page.get_by_role("dialog", name=f"Connect {device_id}")
        await expect(dialog).to_be_visible()  # Only then does central have the device.
        primary, _ = central.registry.keys(device_id)
        await expect(dialog.get_by_label("Primary key", exact=True)).to_have_value(primary)
        config = (await dialog.locator("pre").all_text_contents())[2]
        assert tomllib.loads(config)["device"]["id"] == device_id
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("heading", name=device_id)).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("heading", name=device_id)).to_be_visible()
        await page.get_by_role("link", name="About").click()
        await page.get_by_role("button", name="Delete device").click()
        await page.get_by_role("button", name="Delete", exact=True).click()
        await expect(page.get_by_role("heading", name="Devices (1)")).to_be_visible()

    async def test_an_invalid_device_id_is_refused(self, page):
        await page.goto("/")
        await page.get_by_role("button", name="Add device").click()
        await page.get_by_label("Device id").fill("pi 2")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_contain_text("cannot be a device id")

    async def test_the_list_shows_the_last_values(self, page, central):
        await page.goto("/")
        await expect(page.locator(".device-card")).to_contain_text("Never seen")
        async with climate_device(central) as device:
            await device.send({"temp": 21.5, "humid": 40})
            await expect(page.locator(".device-card")).to_contain_text("21.5 °C")
        await page.get_by_role("link", name="Kitchen").click()
        await expect(page.get_by_role("link", name="Overview")).to_be_visible()

    async def test_a_device_on_another_machine_gets_the_address_and_the_files(self, page, central):
        await page.route("**/console/api/central", reachable)
        await page.goto("/#/devices/pi-1")
        await page.get_by_role("button", name="Connect…").click()
        dialog = page.get_by_role("dialog", name="Connect pi-1")
        await expect(dialog.get_by_role("link", name="central-ca.pem")).to_be_visible()
        certificate, string, line, _, config, _ = await dialog.locator("pre").all_text_contents()
        assert certificate == (
            f"cat > central-ca.pem <<'END'\n{central.ca_file.read_text().strip()}\nEND"
        )
        assert string == "(umask 077; cat > pi-1.connection)"
        assert line == (
            "sudo sensor-agent setup --connection-string-file pi-1.connection "
            "--ca-file central-ca.pem"
        )
        assert 'ca_file = "central-ca.pem"' in config

    async def test_the_setup_lines_are_those_that_setup_takes(self, page, central, tmp_path):
        """As pasted into a terminal of another machine, with a dry run in place of sudo."""
        await page.route("**/console/api/central", reachable)
        await page.goto("/#/devices/pi-1")
        await page.get_by_role("button", name="Connect…").click()
        dialog = page.get_by_role("dialog", name="Connect pi-1")
        await expect(dialog.get_by_role("link", name="central-ca.pem")).to_be_visible()
        certificate, string, line, *_ = await dialog.locator("pre").all_text_contents()
        secret = await dialog.get_by_label("Connection string", exact=True).input_value()
        dry = f"{sys.executable} -m agent setup --dry-run --fake-hw"
        lines = (certificate, f"{string} <<'END'\n{secret}\nEND", line.replace(SETUP, dry))
        done = await asyncio.create_subprocess_exec(
            "sh", "-euc", "\n".join(lines),
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        said = (await done.communicate())[0].decode()
        assert done.returncode == 0, said
        assert "Writing /etc/sensor-agent/credentials/device.connection" in said
        assert "Writing /etc/sensor-agent/ca.pem" in said

    async def test_a_device_is_deleted_after_confirmation(self, page, central):
        await page.goto("/#/devices/pi-1/about")
        await page.get_by_role("button", name="Delete device").click()
        await page.get_by_role("button", name="Delete", exact=True).click()
        await expect(page.get_by_role("heading", name="No devices yet")).to_be_visible()
        assert central.store.read(devices.get_all) == []

    async def test_an_unknown_device_is_reported(self, page):
        await page.goto("/#/devices/nobody")
        await expect(page.get_by_text("There is no device nobody")).to_be_visible()


class TestRawData:
    async def test_data_that_is_not_in_the_model_is_shown(self, page, central):
        await page.goto("/#/devices/pi-1/raw")
        await expect(page.get_by_text("No messages yet.")).to_be_visible()
        for body in ({"temp": 20.5, "extra": [1, 2]}, b"no json at all"):
            await record(central, body, created=1.0, properties={"clock": "off"})
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(2)
        await expect(rows.nth(0)).to_contain_text("no json at all")
        await expect(rows.nth(1)).to_contain_text('{"extra":[1,2]}')
        await expect(rows.nth(1)).to_contain_text("20.5")
        await expect(rows.nth(1)).to_contain_text("clock off")
        await expect(rows.nth(1).locator(".badge")).to_have_text(re.compile(r"\d+ d"))


class TestSafety:
    @pytest.mark.parametrize(
        "tab", ["overview", "commands", "properties", "about", "raw", "connections"]
    )
    async def test_script_from_a_device_is_text(self, page, central, tab):
        registry = central.registry
        registry.update_device("pi-1", display_name=HOSTILE)
        central.store.call(templates.put, MODEL_ID, hostile_model())
        body = {"temp": HOSTILE, HOSTILE: 1, "humid": 5}
        await record(central, body, properties={HOSTILE: HOSTILE}, message_id=HOSTILE)
        await registry.record_connection("pi-1", "refused", HOSTILE)
        name = HOSTILE.replace(".", "").replace(" ", "")
        await registry.patch_reported(
            "pi-1", {"name": HOSTILE, "ledState": HOSTILE, "maker": HOSTILE, name: HOSTILE}
        )
        await central.hub.queue_command("pi-1", "blink", HOSTILE)
        await page.goto(f"/#/devices/pi-1/{tab}")
        await expect(page.get_by_role("heading", name="window.hacked")).not_to_have_count(0)
        await expect(page.locator(".panel")).to_contain_text(
            "onerror" if tab != "properties" else "Customer name"
        )
        assert await page.locator("img[src=x]").count() == 0
        await page.goto("/")
        await expect(page.locator(".device-card")).to_contain_text("onerror")

    async def test_script_as_a_device_id_is_text(self, page):
        await page.goto(f"/#/devices/{quote(HOSTILE, safe='')}")
        await expect(page.get_by_text("There is no device <img src=x")).to_be_visible()
        await page.goto("/")
        await page.get_by_role("button", name="Add device").click()
        await page.get_by_label("Device id").fill(HOSTILE)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_contain_text("cannot be a device id")
        assert await page.locator("img[src=x]").count() == 0

    async def test_inline_script_would_not_run(self, browser, central):
        page = await browser.new_page(base_url=central.http)
        await page.goto("/")
        await expect(page.locator(".device-card")).to_have_count(1)
        refused = await page.evaluate(
            """() => new Promise((resolve) => {
                const tell = (event) => resolve(event.violatedDirective);
                document.addEventListener("securitypolicyviolation", tell);
                const script = document.createElement("script");
                script.textContent = "window.hacked = 'yes'";
                document.body.append(script);
            })"""
        )
        assert await page.evaluate("window.hacked") is None
        await page.close()
        assert refused.startswith("script-src")


def model_with_choices():
    words = "The brightness of the LED: 1 (high), 2 (medium) or 3 (low)."
    contents = [
        {**element, "description": words} if element["name"] == "brightness" else element
        for element in MODEL["contents"]
    ]
    return {**MODEL, "contents": contents}


def hostile_model():
    contents = [
        {**element, "description": HOSTILE, "unit": HOSTILE} for element in MODEL["contents"]
    ]
    return {**MODEL, "displayName": HOSTILE, "contents": contents}


class TestConnectionToCentral:
    async def test_the_page_reports_a_lost_connection_and_reconnects(
        self, browser, settings, tmp_path
    ):
        async with open_central(settings) as central:
            central.registry.add_device("pi-1", template=MODEL_ID)
            port = int(central.http.rstrip("/").rsplit(":", 1)[1])
            context = await browser.new_context(base_url=central.http)
            page = await context.new_page()
            await page.goto("/#/devices/pi-1")
            await expect(page.locator(".live")).to_have_text("Live")
        await expect(page.get_by_role("alert")).to_contain_text("No live data from central")
        again = replace(settings, http_port=port)
        async with open_central(again) as central:
            await expect(page.get_by_role("alert")).to_be_hidden()
            await record(central, {"temp": 17.5})
            await expect(page.locator(".tile").nth(0)).to_contain_text("17.5")
            await context.close()

    async def test_a_stream_that_falls_silent_is_noticed(self, page, central, monkeypatch):
        """As when the network is unplugged: no connection ends."""
        monkeypatch.setattr(live, "QUIET", 1000.0)
        await page.clock.install()
        await page.goto("/")
        await expect(page.locator(".live")).to_have_text("Live")
        await page.route("**/console/api/events*", lambda route: route.abort())
        await page.clock.fast_forward(13_000)
        await page.clock.fast_forward(2_000)
        await expect(page.get_by_role("alert")).to_contain_text("No live data from central")
        await expect(page.locator(".live")).to_have_text("Not live")
        await page.unroute("**/console/api/events*")
        await expect(page.locator(".live")).to_have_text("Live")
        await expect(page.get_by_role("alert")).to_be_hidden()

    async def test_a_quiet_central_is_not_taken_for_a_dead_one(self, page, central, monkeypatch):
        monkeypatch.setattr(live, "QUIET", 0.05)
        await page.add_init_script(COUNT_ALIVE)
        await page.clock.install()
        await page.goto("/")
        await expect(page.locator(".live")).to_have_text("Live")
        await page.route("**/console/api/events*", lambda route: route.abort())
        for _ in range(4):
            before = await page.evaluate("heard")
            await page.wait_for_function("before => heard > before", arg=before)
            await page.clock.fast_forward(8_000)
        await expect(page.locator(".live")).to_have_text("Live")


class TestForm:
    @pytest.mark.parametrize("tab", ["", "commands", "properties", "about", "raw", "connections"])
    async def test_nothing_is_wider_than_the_narrowest_phone(self, browser, central, tab):
        await record(central, {"temp": 1, "x": "y" * 300})
        narrow = {"width": 320, "height": 700}
        async with watched_page(browser, central, viewport=narrow) as page:
            await page.goto(f"/#/devices/pi-1/{tab}")
            await expect(page.locator(".panel .card").first).to_be_visible()
            for menu in await page.locator(".menu summary").all():
                await menu.click()
            live = page.locator(".live")
            for words in ("Connecting", "Live", "Not live"):
                await live.evaluate("(live, words) => (live.textContent = words)", words)
                assert await page.evaluate("document.documentElement.scrollWidth") <= 320

    @pytest.mark.parametrize("tab", ["commands", "raw", "connections"])
    async def test_a_table_is_not_cut_on_a_phone(self, browser, central, tab):
        long = "x" * 300
        await record(central, {"temp": 1, long: 2}, properties={"a": long})
        await central.registry.record_connection("pi-1", "refused", long)
        await central.hub.queue_command("pi-1", "blink", long)
        async with watched_page(browser, central, viewport=PHONE) as page:
            await page.goto(f"/#/devices/pi-1/{tab}")
            await expect(page.get_by_role("cell").first).to_be_visible()
            for region in await page.locator(".scroll").all():
                hidden = await region.evaluate("each => each.scrollWidth - each.clientWidth")
                assert hidden == 0

    async def test_a_phone_shows_all_tabs(self, browser, central):
        async with watched_page(browser, central, viewport=PHONE) as page:
            await page.goto("/#/devices/pi-1/connections")
            tabs = page.get_by_role("navigation", name="Device").get_by_role("link")
            await expect(tabs).to_have_count(6)
            for tab in await tabs.all():
                await expect(tab).to_be_in_viewport(ratio=1)

    async def test_it_can_be_used_by_keyboard_alone(self, page, central):
        await page.goto("/")
        await expect(page.locator(".device-card")).to_have_count(1)
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("button", name="Add device")).to_be_focused()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Kitchen")).to_be_visible()
