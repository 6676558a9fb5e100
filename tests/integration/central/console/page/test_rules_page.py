"""Rules and alerts in the browser: from making a rule to acknowledging its alert."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web
from browsers import PHONE, watched_page
from consoles import eventually, record
from playwright.async_api import expect

from central.console.run import open_central
from central.storage import rules

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def receiver():
    """Receive webhook messages on loopback."""
    received = []

    async def take(request):
        received.append(await request.json())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/hook", received
    finally:
        await runner.cleanup()


async def make_rule(page, url):
    await page.goto("/#/alerts")
    await page.get_by_role("main").get_by_role("link", name="Rules").click()
    await page.get_by_role("button", name="Add rule").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("Too warm")
    await dialog.get_by_label("Reading").select_option(label="Temperature (°C)")
    await dialog.get_by_label("Limit (°C)").fill("30")
    await dialog.get_by_label("Margin").fill("1.5")
    await dialog.get_by_label("Applies to").select_option("chosen")
    await dialog.get_by_label("Kitchen (pi-1)").check()
    await dialog.get_by_label("Webhook").fill(url)
    await dialog.get_by_role("button", name="Send a test message").click()
    await expect(dialog).to_contain_text("The receiver accepted the test message.")
    await dialog.get_by_role("button", name="Add", exact=True).click()
    await expect(dialog).to_be_hidden()
    await expect(page.locator("main")).to_contain_text("Temperature above 30\u202f°C")


@pytest.mark.parametrize("size", [PHONE, {"width": 1280, "height": 900}], ids=["390", "1280"])
async def test_from_a_rule_to_its_acknowledged_alert_over_a_restart(browser, settings, size):
    settings = replace(settings, local_webhooks=True)
    async with receiver() as (url, received):
        async with open_central(settings) as central:
            template = settings.templates[0]["@id"]
            central.registry.add_device("pi-1", display_name="Kitchen", template=template)
            central.registry.add_device("pi-2", template=template)
            async with watched_page(browser, central, viewport=size) as page:
                await make_rule(page, url)
                await record(central, {"temp": 31.5}, device="pi-2")  # The rule is not for it.
                await record(central, {"temp": 29})
        async with open_central(settings) as central:
            async with watched_page(browser, central, viewport=size) as page:
                await page.goto("/")
                await expect(page).to_have_title("Devices · Central")
                await record(central, {"temp": 32})
                await expect(page).to_have_title("(1) Devices · Central")
                await page.get_by_role("link", name="Alerts 1").click()
                await expect(page).to_have_title("(1) Alerts · Central")
                alert = page.locator(".alert")
                await expect(alert).to_contain_text("OpenKitchenToo warm")
                await expect(alert).to_contain_text("Temperature was 32.0\u202f°C.")
                await expect(alert).to_contain_text("Webhook: delivered")
            await record(central, {"temp": 20})
            await eventually(lambda: len(received) == 3)
        async with (
            open_central(settings) as central,
            watched_page(browser, central, viewport=size) as page,
        ):
            await page.goto("/#/alerts")
            await expect(page.locator(".alert")).to_contain_text("ClosedKitchenToo warm")
            await page.get_by_role("button", name="Acknowledge Too warm of Kitchen").click()
            await expect(page.locator("main")).to_contain_text("No alert waits for you.")
            await expect(page).to_have_title("Alerts · Central")
            await page.get_by_role("radio", name="All").check()
            await expect(page.locator(".alert")).to_contain_text("Acknowledged by a local user")
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width <= size["width"]
    assert [message["type"] for message in received] == ["test", "alert.fired", "alert.returned"]
    assert received[1]["data"]["device"] == {"id": "pi-1", "name": "Kitchen"}
    assert json.dumps(received[2]["data"]["returned"]) != "null"


async def test_a_rule_is_changed_disabled_and_deleted(browser, central):
    async with watched_page(browser, central) as page:
        await page.goto("/#/rules")
        await page.get_by_role("button", name="Add rule").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Name").fill("LED")
        await dialog.get_by_label("Make an alert when").select_option("property")
        await dialog.get_by_label("Status").select_option(label="LED state")
        await dialog.get_by_role("button", name="Add", exact=True).click()
        await expect(dialog).to_contain_text("Choose at least one value.")
        await dialog.get_by_label("Blinking").check()
        await dialog.get_by_role("button", name="Add", exact=True).click()
        main = page.locator("main")
        await expect(main).to_contain_text("LED state is Blinking")
        await page.get_by_role("button", name="Change…").click()
        await expect(dialog.get_by_label("Blinking")).to_be_checked()
        await dialog.get_by_label("For how long").select_option(label="5 minutes")
        await dialog.get_by_role("button", name="Save").click()
        await expect(main).to_contain_text("LED state is Blinking for 5 minutes")
        await page.get_by_role("button", name="Disable").click()
        await expect(main).to_contain_text("Disabled")
        await page.get_by_role("button", name="Delete…").click()
        await dialog.get_by_role("button", name="Delete", exact=True).click()
        await expect(main).to_contain_text("There are no rules yet.")


IN_FAHRENHEIT = "dtmi:tests:InFahrenheit;1"


async def test_a_rule_is_about_readings_in_one_unit(browser, settings):
    first = settings.templates[0]
    contents = [
        {**each, "unit": "degreeFahrenheit"} if each["name"] == "temp" else each
        for each in first["contents"]
    ]
    other = {**first, "@id": IN_FAHRENHEIT, "displayName": "Warm", "contents": contents}
    settings = replace(settings, templates=(*settings.templates, other))
    async with open_central(settings) as central:
        central.registry.add_device("pi-1", template=IN_FAHRENHEIT)
        central.registry.add_device("pi-2", template=first["@id"])
        async with watched_page(browser, central) as page:
            await page.goto("/#/rules")
            await page.get_by_role("button", name="Add rule").click()
            dialog = page.get_by_role("dialog")
            await dialog.get_by_label("Name").fill("Too warm")
            await dialog.get_by_label("Reading").select_option(label="Temperature (°F)")
            await expect(dialog).to_contain_text("For devices of the model Warm.")
            await dialog.get_by_label("Limit (°F)").fill("20")
            await dialog.get_by_role("button", name="Add", exact=True).click()
            card = page.locator(".card", has_text="Temperature above 20\u202f°F")
            await expect(card).to_contain_text("For all devices, of the model Warm only")
            await card.get_by_role("button", name="Change…").click()
            await expect(dialog.get_by_label("Limit (°F)")).to_have_value("20")
            await dialog.get_by_role("button", name="Save").click()
            await expect(dialog).to_be_hidden()
            await record(central, {"temp": 25}, device="pi-2")  # Degrees Celsius.
            await record(central, {"temp": 21}, device="pi-1")
            await page.goto("/#/alerts")
            said = "Temperature above 20\u202f°F. Temperature was 21.0\u202f°F."
            await expect(page.locator("main")).to_contain_text(said)
            assert len(central.store.read(rules.alerts)) == 1
            await page.goto("/#/rules")
            await page.get_by_role("button", name="Disable").click()
            await expect(page.locator("main")).to_contain_text("Its open alerts ended with that")


async def test_an_empty_list_of_alerts_says_if_nothing_is_watched(browser, settings):
    async with open_central(settings) as central, watched_page(browser, central) as page:
        await page.goto("/#/alerts")
        await expect(page.locator("main")).to_contain_text("so nothing is watched")


async def test_the_devices_of_a_rule_are_searched(browser, settings):
    async with open_central(settings) as central:
        for number in range(1, 31):
            central.registry.add_device(f"pi-{number}", display_name=f"Room {number}")
        async with watched_page(browser, central) as page:
            await page.goto("/#/rules")
            await page.get_by_role("button", name="Add rule").click()
            dialog = page.get_by_role("dialog")
            await dialog.get_by_label("Applies to").select_option("chosen")
            boxes = dialog.get_by_role("group", name="Devices").get_by_role("checkbox")
            await expect(boxes).to_have_count(30)
            await dialog.get_by_label("Search devices").fill("room 2")
            await expect(boxes).to_have_count(12)  # Room 12, too.
            await dialog.get_by_label("Room 27 (pi-27)").check()
            await dialog.get_by_label("Search devices").fill("")
            await expect(boxes).to_have_count(30)
            await expect(dialog.get_by_label("Room 27 (pi-27)")).to_be_checked()
