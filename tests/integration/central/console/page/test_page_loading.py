"""What the page loads: how much, what only on demand, and what it says if that fails."""

import asyncio
from urllib.parse import urlsplit

import pytest
from browsers import watched_page
from consoles import MODEL_ID, record
from playwright.async_api import Response, Route, expect

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST = 250_000  # Bytes of the page's own files, uncompressed, for the devices and one device.
DATA = ("/api/", "/console/api/")
FAILED = "This part of the page could not be loaded: central does not respond"
ON_DEMAND = {"about", "add-device", "bulk", "connect", "properties", "raw", "rules", "templates"}


async def test_the_devices_and_one_device_need_less_than_250_kilobytes(browser, central):
    central.registry.add_device("pi-2", display_name="Cellar", template=MODEL_ID)
    await record(central, {"temp": 20.5})
    responses: dict[str, Response] = {}
    async with watched_page(browser, central) as page:
        page.on("response", lambda each: responses.setdefault(urlsplit(each.url).path, each))
        await page.goto("/")
        await page.get_by_role("link", name="Kitchen").click()
        await expect(page.get_by_role("img", name="Temperature: 20.5")).to_be_visible()
        sizes = {
            path: len(await each.body())
            for path, each in list(responses.items())  # Others may arrive meanwhile.
            if not path.startswith(DATA)
        }
    assert {"/", "/main.js", "/chart.js", "/uplot.min.js", "/console.css"} <= sizes.keys()
    assert not {f"/{name}.js" for name in ON_DEMAND} & sizes.keys()
    assert sum(sizes.values()) < MOST, sizes


class TestWithoutCentral:
    """Playwright's `abort` looks to the page as a central that does not respond."""

    @pytest.mark.parametrize(
        ("place", "module", "shown"),
        [
            ("/#/devices/pi-1/about", "about", "Allowed to connect"),
            ("/#/devices/pi-1/properties", "properties", "Brightness level"),
            ("/#/devices/pi-1/raw", "raw", '{"new":1}'),
            ("/#/templates", "templates", MODEL_ID),
            ("/#/rules", "rules", "Add rule"),
        ],
    )
    async def test_a_part_that_cannot_be_loaded_says_so(self, page, central, place, module, shown):
        await record(central, {"temp": 20.5, "new": 1})
        await page.route(f"**/{module}.js", lambda route: route.abort())
        await page.goto("/")
        await expect(page.get_by_role("link", name="Kitchen")).to_be_visible()
        await page.evaluate("place => (location.hash = place)", place.removeprefix("/"))
        await expect(page.get_by_role("alert").filter(has_text=FAILED)).to_be_visible()
        await page.unroute(f"**/{module}.js")
        await page.get_by_role("button", name="Try again").click()
        await expect(page.get_by_text(shown).first).to_be_visible()

    async def test_a_dialog_that_cannot_be_loaded_says_so(self, page):
        await page.route("**/add-device.js", lambda route: route.abort())
        await page.goto("/")
        await page.get_by_role("button", name="Add device").click()
        await expect(page.get_by_role("dialog")).to_contain_text(FAILED)
        await page.get_by_role("button", name="Close").click()
        await page.unroute("**/add-device.js")
        await page.get_by_role("button", name="Add device").click()
        await expect(page.get_by_label("Device ID")).to_be_visible()

    async def test_a_change_of_devices_that_cannot_be_loaded_says_so(self, page, central):
        central.registry.add_device("pi-2", display_name="Cellar", template=MODEL_ID)
        await page.route("**/bulk.js", lambda route: route.abort())
        await page.goto("/")
        await page.get_by_label("Select Kitchen").check()
        await page.get_by_role("button", name="Tags…").click()
        await expect(page.locator(".selection output")).to_contain_text(FAILED)
        await page.unroute("**/bulk.js")
        await page.get_by_role("button", name="Tags…").click()
        await expect(page.get_by_role("dialog")).to_be_visible()

    async def test_a_tab_that_was_left_while_it_loads_does_not_appear(self, page):
        waiting: asyncio.Queue[Route] = asyncio.Queue()
        await page.route("**/about.js", waiting.put)
        await page.goto("/#/devices/pi-1/about")
        await expect(page.get_by_role("link", name="About")).to_have_attribute(
            "aria-current", "page"
        )
        await page.get_by_role("link", name="Commands").click()
        await expect(page.get_by_role("heading", name="Blink")).to_be_visible()
        await (await waiting.get()).continue_()
        await page.evaluate("import('/about.js')")
        await expect(page.get_by_role("heading", name="Blink")).to_be_visible()
        await expect(page.get_by_text("Allowed to connect")).to_have_count(0)
