"""Raw data, export, count and faults on the page."""

import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from consoles import climate_device, eventually, record
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="module")


class TestRawData:
    async def test_hidden_columns_stay_hidden(self, page, central):
        await record(central, {"temp": 20.5, "humid": 41})
        await page.goto("/#/devices/pi-1/raw")
        head = page.locator("thead")
        await expect(head).to_contain_text("Humidity")
        await page.get_by_text("Columns").click()
        await page.get_by_label("Humidity").uncheck()
        await expect(head).not_to_contain_text("Humidity")
        await expect(page.locator("tbody")).not_to_contain_text("41.0")
        await page.reload()
        await expect(head).to_contain_text("Temperature")
        await expect(head).not_to_contain_text("Humidity")

    async def test_messages_are_filtered_by_time(self, page, central):
        await record(central, {"temp": 20.5})
        await page.goto("/#/devices/pi-1/raw")
        rows = page.locator("tbody tr")
        await page.get_by_label("Received in").select_option("Last hour")
        await expect(rows).to_have_count(1)
        await page.get_by_label("Received in").select_option("Custom")
        await page.get_by_label("From", exact=True).fill("2020-01-01T00:00:00")
        await page.get_by_label("To", exact=True).fill("2020-01-02T00:00:00")
        await expect(page.get_by_text("No messages in this period.")).to_be_visible()
        await record(central, {"temp": 21.5})
        await page.get_by_label("Received in").select_option("All time")
        await expect(rows).to_have_count(2)

    async def test_older_messages_are_fetched(self, page, central):
        for number in range(60):
            await record(central, {"temp": number})
        await page.goto("/#/devices/pi-1/raw")
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(50)
        await page.get_by_role("button", name="Older messages").click()
        await expect(rows).to_have_count(60)
        await expect(page.get_by_role("button", name="Older messages")).to_be_hidden()

    @pytest.mark.parametrize(("words", "ending"), [("CSV", "csv"), ("JSON lines", "jsonl")])
    async def test_messages_are_saved_as_a_file(self, page, central, tmp_path, words, ending):
        await record(central, {"temp": 20.5, "extra": 1})
        await page.goto("/#/devices/pi-1/raw")
        await page.get_by_text("Export").click()
        async with page.expect_download() as started:
            await page.get_by_role("link", name=words).click()
        download = await started.value
        assert download.suggested_filename == f"pi-1.{ending}"
        await download.save_as(tmp_path / "saved")
        assert "20.5" in (tmp_path / "saved").read_text()
        assert "extra" in (tmp_path / "saved").read_text()

    async def test_an_export_of_the_last_hour_ends_at_the_click(self, page):
        asked_for = []
        page.on("request", lambda request: asked_for.append(request.url))
        await page.clock.install()
        await page.goto("/#/devices/pi-1/raw")
        await page.get_by_label("Received in").select_option("Last hour")
        # At once, after the choice, and after the first event: by the page and by the tab.
        await eventually(lambda: len([url for url in asked_for if "/messages?" in url]) == 5)
        await page.clock.fast_forward("02:00:00")
        await page.get_by_text("Export").click()
        link = page.get_by_role("link", name="CSV")
        await expect(link).to_be_visible()
        asked = parse_qs(urlsplit(await link.get_attribute("href")).query)
        assert float(asked["since"][0]) > time.time() + 3000


RUN, NEXT_RUN = "0123456789ab", "fedcba987654"


class TestCount:
    @pytest_asyncio.fixture(loop_scope="module")
    async def count(self, page):
        await page.goto("/#/devices/pi-1")
        await expect(page.locator(".live")).to_have_text("Live")
        return page.locator(".count")

    async def test_missing_messages_are_shown_until_they_arrive(self, count, central):
        await send(central, RUN, 1)
        await expect(count).to_contain_text(re.compile("1 message since [0-9:]+"))
        await send(central, RUN, 4)
        await expect(count).to_contain_text(re.compile("2 missing: 2-3between .+ and "))
        for number in (2, 3):
            await send(central, RUN, number, created=time.time() - 60)
        await expect(count).to_contain_text("none missing")
        await expect(count).to_contain_text("2 late")
        await send(central, RUN, 4)
        await expect(count).to_have_text(re.compile("1 duplicate$"))

    async def test_a_restart_is_linked_to_the_run_before_it(self, count, central):
        await send(central, RUN, 1)
        await send(central, NEXT_RUN, 1)
        await expect(count).to_contain_text("start unknown")
        await expect(count).not_to_contain_text("none missing")
        await send(central, NEXT_RUN, 1, previous=f"{RUN}:3")
        await expect(count).to_contain_text("2 missing: 2-3after ")
        await expect(count).not_to_contain_text("start unknown")

    async def test_dropped_and_damaged_messages_are_not_missing(self, count, central):
        dropped = f"{RUN}:1-5:age,{RUN}:6-6:room,{RUN}:7-7:memory,{RUN}:8-8:damaged"
        await send(central, RUN, 9, dropped=dropped)
        for words in (
            "none missing",
            "5 dropped: too old",
            "1 dropped: outbox full",
            "1 dropped: memory full",
            "1 damaged on the device",
        ):
            await expect(count).to_contain_text(words)

    async def test_a_device_without_numbered_messages_has_no_count(self, page, count, central):
        async with page.expect_response("**/completeness"):
            await record(central, {"temp": 20}, message_id="7")
        await expect(count).to_be_hidden()


async def send(central, run, number, *, created=None, **properties):
    message_id = f"{run}:{number}"
    await record(
        central, {"temp": 20}, created=created, properties=properties, message_id=message_id
    )


class TestFaults:
    async def test_a_fault_is_shown_on_every_page_and_cleared(self, page, central):
        await page.goto("/#/devices/pi-1")
        await page.get_by_text("Simulate a fault").click()
        slow = page.get_by_role("button", name="Slow")
        await page.get_by_role("radio", name="Until cleared").check()
        await slow.click()
        await expect(slow).to_have_attribute("aria-pressed", "true")
        await expect(slow).to_contain_text("On, until cleared")
        assert central.faults.latency > 0
        await page.get_by_role("link", name="Templates").click()
        banner = page.get_by_role("status").filter(has_text="Simulated for every device")
        await expect(banner).to_contain_text("Slow")
        await banner.get_by_role("button", name="Clear the fault").click()
        await expect(banner).to_be_hidden()
        assert central.faults.latency == 0

    async def test_cut_disconnects_a_device(self, page, central):
        await page.goto("/#/devices/pi-1")
        async with climate_device(central):
            await expect(page.locator(".status")).to_contain_text("Connected since")
            await page.get_by_text("Simulate a fault").click()
            await page.get_by_role("button", name="Cut").click()
            await eventually(lambda: not central.hub.presence.session("pi-1"))
            await expect(page.locator(".status")).to_contain_text("Disconnected since")

    async def test_a_fault_with_a_duration_is_cleared_early(self, page, central):
        await page.goto("/#/devices/pi-1")
        await page.get_by_text("Simulate a fault").click()
        refuse = page.get_by_role("button", name="No network")
        await page.get_by_role("radio", name="10 s").check()
        await refuse.click()
        await expect(refuse).to_contain_text("s left")
        await refuse.click()  # Cleared before its end.
        await expect(refuse).to_have_attribute("aria-pressed", "false")
        assert central.faults.network is None
