"""Messages that arrive while the page waits for a response."""

import asyncio
import re
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from consoles import eventually, record
from playwright.async_api import expect

from central.records import Event

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR = 3600
MODEL: dict[str, Any] = {
    "@context": "dtmi:dtdl:context;2",
    "@id": "dtmi:test:Room;1",
    "@type": "Interface",
    "displayName": "Room",
    "contents": [
        {"@type": "Telemetry", "name": "temp", "displayName": "Temperature", "schema": "double"},
        {"@type": "Telemetry", "name": "note", "displayName": "Note", "schema": "string"},
    ],
}


@pytest.fixture
def settings(settings):
    return replace(settings, templates=(MODEL,))


@asynccontextmanager
async def held_answers(page, address):
    """Hold the responses to such requests until the block ends. Yield an event for the first."""
    written, let_go = asyncio.Event(), asyncio.Event()

    async def hold(route):
        answer = await route.fetch()
        written.set()
        await let_go.wait()
        await route.fulfill(response=answer)

    await page.route(re.compile(address), hold)
    yield written
    let_go.set()
    await page.unroute_all(behavior="wait")
    await page.evaluate("fetch('/console/api/central').then((answer) => answer.json())")


async def test_a_late_answer_does_not_close_the_faults(page):
    async with held_answers(page, "/console/api/central"):
        await page.goto("/#/devices/pi-1")
        await page.get_by_text("Simulate a fault").click()
    await page.get_by_role("radio", name="10 s").check(timeout=3000)


class TestOverview:
    async def test_a_value_that_arrives_during_a_request_stays(self, page, central):
        await record(central, {"temp": 5}, created=time.time() - 20 * HOUR)
        await record(central, {"temp": 20, "note": "quiet"})
        await page.goto("/#/devices/pi-1")
        facts = page.locator(".overview-side .facts")
        await expect(facts).to_contain_text("quiet")
        async with held_answers(page, "/series") as written:
            await page.get_by_role("radio", name="Day").check()
            await written.wait()
            await record(central, {"temp": 23, "note": "loud"})
            await expect(facts).to_contain_text("loud")
        course = page.get_by_role("img", name=re.compile("5.0.* to 23.0.*, last 23.0"))
        await expect(course).to_be_visible()  # The day's first value: the response has arrived.
        await expect(facts).to_contain_text("loud")
        await expect(page.locator(".tile")).to_contain_text("23.0")

    async def test_late_text_is_not_shown_as_current(self, page, central):
        await page.goto("/#/devices/pi-1")
        await expect(page.locator(".live")).to_have_text("Live")
        await record(central, {"note": "now"})
        facts = page.locator(".overview-side .facts")
        await expect(facts).to_contain_text("now")
        await record(central, {"temp": 20, "note": "an hour ago"}, created=time.time() - HOUR)
        await expect(page.locator(".tile")).to_contain_text("20.0")
        await expect(facts).to_contain_text("now")


class TestRawData:
    async def test_a_message_that_arrives_during_a_request_stays(self, page, central):
        await record(central, {"temp": 20})
        await page.goto("/#/devices/pi-1/raw")
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(1)
        await page.get_by_label("Received in").select_option("Custom")
        await page.get_by_label("From", exact=True).fill("2020-01-01T00:00:00")
        await page.get_by_label("To", exact=True).fill("2020-01-02T00:00:00")
        await expect(rows).to_have_count(0)
        async with held_answers(page, "/messages") as written:
            await page.get_by_label("Received in").select_option("All time")
            await written.wait()
            await record(central, {"temp": 21})
            await expect(rows).to_have_count(1)
        await expect(rows).to_have_count(2)
        await expect(rows.first).to_contain_text("21")

    async def test_the_response_to_an_older_request_is_ignored(self, page, central):
        await record(central, {"temp": 20})
        await page.goto("/#/devices/pi-1/raw")
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(1)
        async with held_answers(page, r"/messages\?(?!.*until)") as written:
            await page.get_by_label("Received in").select_option("Last hour")
            await written.wait()
            await page.get_by_label("Received in").select_option("Custom")
            await page.get_by_label("From", exact=True).fill("2020-01-01T00:00:00")
            await page.get_by_label("To", exact=True).fill("2020-01-02T00:00:00")
            await expect(rows).to_have_count(0)
        await expect(page.get_by_text("No messages in this period.")).to_be_visible()

    async def test_older_messages_survive_a_concurrent_reload(self, page, central):
        for number in range(60):
            await record(central, {"temp": number})
        await page.goto("/#/devices/pi-1/raw")
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(50)
        await expect(page.locator(".live")).to_have_text("Live")
        async with held_answers(page, r"/messages\?.*before=") as written:
            await page.get_by_role("button", name="Older messages").click()
            await written.wait()
            central.registry.events.publish(Event("lagged", ""))
            await expect(rows).to_have_count(60)

    async def test_a_failed_request_for_older_messages_is_reported(self, page, central):
        for number in range(51):
            await record(central, {"temp": number})
        await page.goto("/#/devices/pi-1/raw")
        await expect(page.locator("tbody tr")).to_have_count(50)
        await page.route(re.compile("/messages"), lambda route: route.abort())
        await page.get_by_role("button", name="Older messages").click()
        await expect(page.get_by_text("Central does not respond.", exact=True)).to_be_visible()
        await expect(page.locator("tbody tr")).to_have_count(50)


async def test_a_long_open_page_requests_thinned_points(page, central):
    asked = []

    async def answer(route):
        asked.append(route.request.url)
        now = time.time()
        temp = {"times": [now - 3000 + each / 2 for each in range(4000)], "values": [20.5] * 4000}
        about = {"late": [], "gaps": [], "interval": 0.5, "keptSince": now - 3000, "last": None}
        await route.fulfill(json={"temp": temp | about})

    await page.route(re.compile("/series"), answer)
    await page.goto("/#/devices/pi-1")
    await expect(page.locator(".live")).to_have_text("Live")
    await expect(page.get_by_role("img", name="Temperature: 20.5")).to_be_visible()
    for number in range(4):  # More often than it requests at the start.
        before = len(asked)
        await record(central, {"temp": number})
        await eventually(lambda before=before: len(asked) > before)
