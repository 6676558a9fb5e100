"""axe-core checks every page of the console for accessibility, in both themes."""

import pytest
import pytest_asyncio
from addresses import own_address
from browsers import PHONE, watched_page
from consoles import INFORMATION, MODEL, MODEL_ID, climate_device, record
from optional import NODE, need_from_npm
from playwright.async_api import expect

from central.application import Settings
from central.console.run import open_central
from central.records import Rule, Threshold
from central.storage import rules

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLACES = ["/", "/#/templates", "/#/alerts", "/#/rules"] + [
    f"/#/devices/pi-1/{tab}"
    for tab in ("overview", "commands", "properties", "about", "raw", "connections")
]
PLACES += [
    "/#/devices/pi-1/overview?from=2024-01-01T00:00:00Z&to=2024-01-02T00:00:00Z&with=gone",
    "/#/devices/more-1/overview?last=all&with=more-2",
]


@pytest.fixture(scope="module")
def axe():
    need_from_npm("axe-core")
    return (NODE / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def central(tmp_path_factory):
    """A central with data for every part of the page."""
    directory = tmp_path_factory.mktemp("axe")
    settings = Settings(
        directory, listen=own_address(), http_port=0, templates=(MODEL, INFORMATION)
    )
    async with open_central(settings) as central:
        registry = central.registry
        registry.add_device("pi-1", display_name="Kitchen", template=MODEL_ID)
        hot = Threshold("temp", above=True, limit=20.5, margin=0.0, seconds=0.0)
        rule = Rule(0, 0, "Too warm", True, 0.0, hot, webhook="http://127.0.0.1:9/")
        central.store.call(rules.add_rule, rule)
        central.alerts.changed()
        for number in range(10):
            registry.add_device(f"more-{number}")
        for device in ("more-1", "more-2"):
            await record(central, {"co2": 400}, device=device)
        async with climate_device(central) as device:
            for number, created in ((1, 1.0), (2, None), (5, None)):
                body = {"temp": 20 + number, "humid": 40, "extra": 1}
                await record(
                    central,
                    body,
                    created=created,
                    properties={"dropped": "0123456789ab:6-7:damaged"},
                    message_id=f"0123456789ab:{number}",
                )
            await device.report({"state": True, "ledState": "blinking"})
            await central.hub.call("pi-1", "blink", 2)
            await central.hub.call("pi-1", "rundiagnostics", None)
            await central.hub.call("pi-1", "blink", "x")
            await central.hub.set_desired("pi-1", {"brightness": 9, "name": "Ann"})
            await registry.record_connection("pi-1", "refused", "the key is wrong")
            central.faults.latency = 0.001  # So that the banner is shown.
            yield central


async def violations(page, axe):
    await page.evaluate(axe)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        (each["id"], each["help"], [node["html"][:200] for node in each["nodes"]])
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("place", PLACES)
async def test_no_page_has_serious_violations(browser, central, axe, place, theme):
    async with watched_page(browser, central, color_scheme=theme) as page:
        await page.goto(place)
        await expect(page.locator(".live")).to_have_text("Live")
        await expect(page.locator("main .card:visible").first).to_be_visible()
        for details in await page.locator("main details").all():
            await details.evaluate("each => each.open = true")
        assert await violations(page, axe) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_no_dialog_has_serious_violations(browser, central, axe, theme):
    async with watched_page(browser, central, color_scheme=theme, viewport=PHONE) as page:
        await page.goto("/#/devices/pi-1")
        await page.get_by_role("button", name="Connect…").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert await violations(page, axe) == []
        await page.goto("/")
        await page.get_by_role("button", name="Add device").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert await violations(page, axe) == []
        await page.goto("/#/rules")
        await page.get_by_role("button", name="Add rule").click()
        await page.get_by_label("Make an alert when").select_option("property")
        await page.get_by_label("Applies to").select_option("chosen")
        assert await violations(page, axe) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_no_dialog_of_many_devices_has_serious_violations(browser, central, axe, theme):
    async with watched_page(browser, central, color_scheme=theme, viewport=PHONE) as page:
        await page.goto("/#/devices/pi-1")
        await page.get_by_role("button", name="Edit name and tags").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert await violations(page, axe) == []
        await page.goto("/")
        await page.get_by_label("Select Kitchen").check()
        await page.get_by_role("button", name="Select all").click()
        await page.get_by_role("button", name="Change a property…").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert await violations(page, axe) == []
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Tags…").click()
        await page.get_by_role("dialog").get_by_label("Tags").fill("north")
        assert await violations(page, axe) == []
        await page.get_by_role("dialog").get_by_role("button", name="Add").click()
        await expect(page.get_by_role("dialog")).to_contain_text("Applied")
        await page.locator("summary", has_text="Applied").click()
        assert await violations(page, axe) == []


async def test_axe_detects_a_violation(browser, central, axe):
    async with watched_page(browser, central) as page:
        await page.goto("/#/devices/pi-1/about")
        await expect(page.locator("main .card:visible").first).to_be_visible()
        await page.evaluate(
            "document.querySelector('main').append(document.createElement('input'))"
        )
        assert [name for name, *_ in await violations(page, axe)] == ["label"]
