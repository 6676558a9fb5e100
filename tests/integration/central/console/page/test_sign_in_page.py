"""Users in a real browser: signing in, and what each role sees and may do."""

import re

import pytest
import pytest_asyncio
from browsers import PHONE, watched_page
from consoles import MODEL_ID, eventually
from optional import NODE, need_from_npm
from playwright.async_api import expect
from signed_in import PASSWORD, network_settings

from central.console.run import open_central
from central.console.sign_in import passwords
from central.storage import accounts

pytestmark = pytest.mark.asyncio(loop_scope="module")

DESKTOP = {"width": 1280, "height": 900}
TABS = ("overview", "commands", "properties", "about", "raw", "connections")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def central(tmp_path_factory):
    n, passwords.N = passwords.N, 2**4
    try:
        settings = network_settings(tmp_path_factory.mktemp("users"))
        async with open_central(settings) as central:
            central.registry.add_device("pi-1", display_name="Kitchen", template=MODEL_ID)
            yield central
    finally:
        passwords.N = n


@pytest.fixture
def visit(browser, central):
    """Open a browser of its own, which does not have the authority of the console."""

    def visit(**options):
        options = {"viewport": DESKTOP, "ignore_https_errors": True} | options
        return watched_page(browser, central, has_token=False, **options)

    return visit


async def sign_in(page, name, password=PASSWORD):
    await page.get_by_label("User").fill(name)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Sign in").click()


async def test_a_user_signs_in_where_the_address_leads_and_out_again(visit):
    async with visit() as page:
        await page.goto("/#/devices/pi-1/about")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        await sign_in(page, "ann", "a wrong one")
        await expect(page.locator(".result")).to_have_text("The name or the password is wrong.")
        await sign_in(page, "ann")
        await expect(page.get_by_role("heading", name="Kitchen")).to_be_visible()
        await expect(page.locator(".live")).to_have_text("Live")
        await page.locator(".bar summary", has_text="ann").click()
        await expect(page.get_by_text("Role: administrator")).to_be_visible()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        await page.goto("/")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_the_page_says_in_one_line_how_a_phone_trusts_it(visit, central):
    async with visit(viewport=PHONE) as page:
        await page.goto("/")
        await expect(page.get_by_text("To trust this page on a phone")).to_be_visible()
        async with page.expect_download() as download:
            await page.get_by_role("link", name="its certificate").click()
        path = await (await download.value).path()
        assert path.read_bytes() == central.console_ca_file.read_bytes()


async def test_a_viewer_sees_and_changes_nothing(visit):
    async with visit() as page:
        await page.goto("/")
        await sign_in(page, "vera")
        await expect(page.get_by_role("heading", name="Devices (1)")).to_be_visible()
        await expect(page.get_by_role("button", name="Add device")).to_be_hidden()
        for tab in TABS:
            await page.goto(f"/#/devices/pi-1/{tab}")
            await expect(page.locator(".panel .card:visible").first).to_be_visible()
            cards = await page.locator(".panel .card:visible").all_inner_texts()
            assert all(cards), tab  # None is an empty frame around what is hidden.
            for name in ("Connect…", "Run", "Queue", "Save", "Block", "Delete device…", "Edit"):
                buttons = page.get_by_role("button", name=re.compile(f"^{name}"))
                await expect(buttons.filter(visible=True)).to_have_count(0)
        await expect(page.get_by_role("heading", name="Changes here")).to_be_hidden()
        await page.goto("/#/devices/pi-1/properties")
        await expect(page.get_by_label("Customer name")).to_be_disabled()
        status = await page.evaluate(
            "fetch('/api/devices/pi-1', {method: 'DELETE'}).then((answer) => answer.status)"
        )
        assert status == 403
        status = await page.evaluate(
            """fetch('/console/api/changes', {
                method: 'POST', body: JSON.stringify({devices: ['pi-1'], addTags: ['x']})
            }).then((answer) => answer.status)"""
        )
        assert status == 403


@pytest.fixture
def other_device(central):
    central.registry.add_device("pi-2")
    yield
    central.registry.delete_device("pi-2")


async def test_a_viewer_cannot_select_devices(visit, other_device):
    async with visit() as page:
        await page.goto("/")
        await sign_in(page, "vera")
        await expect(page.get_by_role("heading", name="Devices (2)")).to_be_visible()
        await expect(page.get_by_role("checkbox").filter(visible=True)).to_have_count(0)


async def test_an_operator_names_and_tags_devices(visit, central, other_device):
    async with visit() as page:
        await page.goto("/#/devices/pi-2")
        await sign_in(page, "otto")
        await page.get_by_role("button", name="Edit name and tags").click()
        await page.get_by_label("Name", exact=True).fill("Cellar")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="Cellar")).to_be_visible()
        # The page hears of the new name before the request is done.
        [audited] = await eventually(lambda: central.store.read(accounts.audit_of, "pi-2"))
        assert (audited.who, audited.request, audited.status) == (
            "otto (operator)",
            "PATCH /console/api/devices/pi-2",
            200,
        )


async def test_an_operator_sends_commands_and_sees_no_keys(visit, central):
    async with visit() as page:
        await page.goto("/#/devices/pi-1/commands")
        await sign_in(page, "otto")
        await page.get_by_role("button", name="Queue Turn off").click()
        await expect(page.locator("tbody")).to_contain_text("Turn off")
        await expect(page.get_by_role("button", name="Connect…")).to_be_hidden()
        await page.goto("/#/devices/pi-1/properties")
        await page.get_by_label("Customer name").fill("Ann")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator(".result").first).not_to_be_empty()
        await page.goto("/#/devices/pi-1/about")
        await expect(page.get_by_role("button", name="Delete device…")).to_be_hidden()
        for path, method in (("/api/devices/pi-1", "DELETE"), ("/api/devices/x", "PUT")):
            status = await page.evaluate(
                "([path, method]) => fetch(path, {method}).then((answer) => answer.status)",
                [path, method],
            )
            assert status == 403


async def test_an_administrator_reads_keys_and_sees_who_changed_what(visit, central):
    async with visit() as page:
        await page.goto("/#/devices/pi-1/about")
        await sign_in(page, "ann")
        await page.get_by_role("button", name="Connect…").click()
        dialog = page.get_by_role("dialog", name="Connect pi-1")
        key = await dialog.get_by_label("Primary key", exact=True).input_value()
        assert key == central.registry.keys("pi-1")[0]
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Block").click()
        await expect(page.get_by_role("button", name="Allow to connect")).to_be_visible()
        await page.get_by_role("button", name="Allow to connect").click()
        await expect(page.get_by_role("button", name="Block")).to_be_visible()
        await page.goto("/#/devices/pi-1/connections")
        rows = page.get_by_role("region", name="Changes by users").locator("tbody tr")
        await expect(rows.first).to_contain_text("ann (administrator)")
        await expect(rows.filter(has_text="GET /api/devices/pi-1/credentials")).not_to_have_count(0)


async def test_a_page_whose_user_is_removed_asks_to_sign_in(visit, central):
    store = central.store
    vera = store.read(accounts.find_user, "vera")
    async with visit() as page:
        await page.goto("/")
        await sign_in(page, "vera")
        await expect(page.get_by_role("heading", name="Devices (1)")).to_be_visible()
        await store.run(accounts.remove_user, "vera")
        # Not with a click: the list may have asked again and left, too.
        await page.evaluate("location.hash = '#/devices/pi-1'")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await store.run(accounts.add_user, vera)


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_sign_in_page_is_accessible_and_fits(visit, size, theme):
    need_from_npm("axe-core")
    axe = (NODE / "node_modules" / "axe-core" / "axe.min.js").read_text()
    async with visit(viewport=size, color_scheme=theme) as page:
        await page.goto("/")
        await expect(page.get_by_text("To trust this page on a phone")).to_be_visible()
        await page.evaluate(axe)
        found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert [each["id"] for each in found["violations"]] == []
        await sign_in(page, "ann")
        await expect(page.locator(".live")).to_have_text("Live")
        await page.evaluate(axe)
        found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = {"serious", "critical"}
        assert [e["id"] for e in found["violations"] if e["impact"] in serious] == []
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= size["width"]
