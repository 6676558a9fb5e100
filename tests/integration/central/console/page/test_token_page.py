"""On loopback, the page asks for central's token before it shows the keys of a device."""

import pytest
from browsers import watched_page
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_keys_are_shown_after_the_token_was_pasted(browser, central):
    async with watched_page(browser, central, has_token=False) as page:
        await page.goto("/#/devices/pi-1")
        await page.get_by_role("button", name="Connect…").click()
        dialog = page.get_by_role("dialog", name="Connect pi-1")
        line = await dialog.locator("pre").text_content()
        assert line == f"cat {central.console_token_file}"
        await dialog.get_by_label("Token", exact=True).fill("a wrong one")
        await dialog.get_by_role("button", name="Continue").click()
        await expect(dialog).to_contain_text("That is not the token of this central.")
        await dialog.get_by_label("Token", exact=True).fill(central.console_token_file.read_text())
        await page.keyboard.press("Enter")
        key = dialog.get_by_label("Primary key", exact=True)
        await expect(key).to_have_value(central.registry.keys("pi-1")[0])
        await page.keyboard.press("Escape")
        # Not asked again, also after the page was loaded again.
        await page.reload()
        await page.get_by_role("button", name="Connect…").click()
        await expect(key).to_have_value(central.registry.keys("pi-1")[0])
        await expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
