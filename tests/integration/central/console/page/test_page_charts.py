"""The charts of a device: time shown, gaps, zooming, other devices, limits, and their address."""

import asyncio
import json
import math
import re
import time
from datetime import UTC, datetime
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest
from browsers import PHONE, watched_page
from consoles import MODEL, MODEL_ID, eventually, record
from playwright.async_api import expect

from central.storage import templates

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR = 3600
DAY = 86400
PI = "/#/devices/pi-1/overview"
CONTENTS = MODEL["contents"]
LIMITED = "dtmi:test:Limited;1"


async def add_readings(central, ages, *, device="pi-1", name="temp", value=20.5):
    """Store readings of these ages, in seconds."""
    now = time.time()
    rows = [(device, "", name, now - age, number, str(value)) for number, age in enumerate(ages)]
    insert = "INSERT INTO telemetry VALUES (?, ?, ?, ?, ?, ?)"
    await central.store.run(lambda db: db.executemany(insert, rows))


def bounds(page):
    """Return the two ends of the time in the page's address, in unix seconds."""
    query = parse_qs(urlsplit(page.url).fragment.partition("?")[2])
    if "from" not in query:
        return None
    return [datetime.fromisoformat(query[end][0]).timestamp() for end in ("from", "to")]


async def zoomed(page):
    """Wait until the address has two ends, and return them."""
    return await eventually(lambda: bounds(page))


def chart(page, title="Temperature"):
    return page.locator(".chart", has=page.get_by_role("heading", name=title))


async def drag(page, begin, end, *, shift=False):
    """Drag the mouse over the first chart, from one share of its width to another."""
    over = page.locator(".u-over").first
    await over.scroll_into_view_if_needed()
    box = await over.bounding_box()
    if shift:
        await page.keyboard.down("Shift")
    middle = box["y"] + box["height"] / 2
    await page.mouse.move(box["x"] + box["width"] * begin, middle)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * (begin + end) / 2, middle, steps=3)
    await page.mouse.move(box["x"] + box["width"] * end, middle, steps=3)
    await page.mouse.up()
    if shift:
        await page.keyboard.up("Shift")


# The shares of a chart's width, in steps of 1 %, at which something has a colour of the theme.
PAINTED = """(element, name) => {
    const canvas = element.querySelector("canvas");
    const over = element.querySelector(".u-over").getBoundingClientRect();
    const box = canvas.getBoundingClientRect();
    const scale = canvas.width / box.width;
    const left = Math.round((over.left - box.left) * scale);
    const width = Math.round(over.width * scale);
    const { data } = canvas.getContext("2d").getImageData(left, 0, width, canvas.height);
    const wanted = document.createElement("canvas").getContext("2d");
    wanted.fillStyle = getComputedStyle(element).getPropertyValue(name).trim();
    wanted.fillRect(0, 0, 1, 1);
    const [red, green, blue] = wanted.getImageData(0, 0, 1, 1).data;
    const found = new Set();
    for (let at = 0; at < data.length; at += 4)
        if (data[at] === red && data[at + 1] === green && data[at + 2] === blue)
            found.add(Math.floor((((at / 4) % width) / width) * 100));
    return [...found].sort((a, b) => a - b);
}"""


async def painted(page, colour="--series-1"):
    return set(await chart(page).evaluate(PAINTED, colour))


class TestRange:
    """The pure functions of range.js, gestures.js and chart.js."""

    async def evaluate(self, page, module, expression):
        await page.goto("/")
        return await page.evaluate(f"import('/{module}.js').then((it) => {expression})")

    @pytest.mark.parametrize(
        ("expression", "result"),
        [
            ("it.boundsOf({span: 60}, 1000)", [940, 1000]),
            ("it.boundsOf({from: 10, to: 20}, 1000)", [10, 20]),
            ("it.boundsOf({span: Infinity}, 10000, 300)", [300, 10000]),
            ("it.boundsOf({span: Infinity}, 10000, null)", [6400, 10000]),
            # A step to the left leaves the present, a step to the right comes back to it.
            ("it.panned({span: 100}, -0.5, 1000, 0)", {"from": 850, "to": 950}),
            ("it.panned({from: 850, to: 950}, 0.5, 1000, 0)", {"span": 100}),
            ("it.panned({from: 100, to: 200}, -2, 1000, 50)", {"from": 50, "to": 150}),
            # What ends now goes on doing so.
            ("it.zoomed({span: 100}, 0.5, 1000, 0)", {"span": 50}),
            ("it.zoomed({span: 100}, 0.5, 1000, 0, 0.25)", {"from": 912.5, "to": 962.5}),
            ("it.zoomed({from: 100, to: 200}, 2, 1000, 0)", {"from": 50, "to": 250}),
            ("it.zoomed({from: 100, to: 101}, 0.5, 1000, 0)", {"from": 95.5, "to": 105.5}),
            ("it.zoomed({span: 900}, 4, 1000, 50).span === Infinity", True),
            # Of a new device, less is kept than what is shown.
            ("it.zoomed({span: 600}, 2, 1000, 980)", {"span": 600}),
            ("it.panned({span: 600}, -0.5, 1000, 980)", {"span": 600}),
            ("it.panned({span: 500}, -0.5, 1000, 500)", {"span": 500}),
            ("it.panned({span: Infinity}, 0.5, 1000, 490).span === Infinity", True),
            ("it.latest({from: 100, to: 700}, 1000, 980)", {"span": 600}),
            ("it.latest({span: 600}, 1000, 980)", {"span": 600}),
            # Neither longer than what is kept nor later than now.
            ("it.between(2000, 2100, 1000, 0)", {"span": 100}),
            ("it.between(0, 60, 1000, 20)", {"from": 20, "to": 80}),
        ],
    )
    async def test_ranges_are_moved_and_zoomed(self, page, expression, result):
        assert await self.evaluate(page, "range", expression) == result

    @pytest.mark.parametrize(
        "query",
        [
            "last=3600",
            "last=all",
            "last=90&show=cellar*temp",
            "from=2026-11-26T10:00:00Z&to=2026-11-26T12:30:00Z&show=temp&with=a%2Cb%26c&with=pi-2",
        ],
    )
    async def test_an_address_is_read_as_it_was_written(self, page, query):
        written = await self.evaluate(page, "range", f"it.writeQuery(it.readQuery('{query}'))")
        assert parse_qs(written) == parse_qs(query)

    @pytest.mark.parametrize(
        "query",
        ["", "last=-5", "last=x", "from=x&to=y", "from=2026-01-02&to=2026-01-01", "last=1e99"],
    )
    async def test_an_address_without_a_valid_range_has_none(self, page, query):
        assert await self.evaluate(page, "range", f"it.readQuery('{query}').range") is None

    async def test_the_time_under_each_finger_stays_there(self, page):
        """Of a chart from pixel 100 to 300. Fingers at 150 and 250 move to 120 and 280."""
        moved = "it.dragged([0, 1000], [[150, 120], [250, 280]], 100, 200)"
        [begin, end] = await self.evaluate(page, "gestures", moved)
        at = lambda pixel: begin + (end - begin) * (pixel - 100) / 200  # noqa: E731
        assert math.isclose(at(120), 250)
        assert math.isclose(at(280), 750)
        assert await self.evaluate(page, "gestures", "it.dragged([0, 100], [[9, 19]], 0, 100)") == [
            -10,
            90,
        ]

    async def test_a_reading_long_after_the_last_is_after_a_gap(self, page):
        make = "const line = it.makeLine('a', {times: [0, 5, 10], values: [1, 2, 3], late: [], "
        make += "gaps: [], interval: 5});"
        body = f"(() => {{ {make} return [it.addReading(line, 15, 4, false), "
        body += "it.addReading(line, 31, 5, false), it.addReading(line, 20, 6, true), "
        body += (
            "it.addReading(line, 20, 6, true), line.times, line.gaps, it.withGaps(line)[1]]; })()"
        )
        found = await self.evaluate(page, "chart", body)
        assert found[:4] == [False, True, True, False]
        assert found[4] == [0, 5, 10, 15, 20, 31]
        assert found[5] == [False, False, False, False, False, True]
        assert found[6] == [1, 2, 3, 4, 6, None, 5]

    async def test_close_limits_are_within_the_chart(self, page):
        limits = "[{value: 17}, {value: 90}]"
        low, high = await self.evaluate(page, "chart", f"it.valueRange(19, 21, {limits})")
        assert low < 17
        assert 21 < high < 30


class TestTime:
    async def test_any_time_that_is_kept_can_be_shown(self, page, central):
        await add_readings(central, [20 * DAY, 20 * DAY - 60], value=5)
        await add_readings(central, range(0, HOUR, 10))
        await page.goto(PI)
        await expect(page.get_by_role("img", name="Temperature: 20.5")).to_be_visible()
        await page.get_by_role("radio", name="All").check()
        await expect(page.get_by_role("img", name="Temperature: 5.0")).to_be_visible()
        await expect(page).to_have_url(re.compile(r"\?last=all$"))
        await page.get_by_text("Dates", exact=True).click()
        begin = time.time() - 20 * DAY - 600
        for label, at in (("From", begin), ("To", begin + HOUR)):
            local = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            await page.get_by_label(label, exact=True).fill(local)
        await page.get_by_role("button", name="Show", exact=True).click()
        await expect(
            page.get_by_role("img", name=re.compile("Temperature: 5.0 °C, last"))
        ).to_be_visible()
        assert [int(each) for each in await zoomed(page)] == [int(begin), int(begin) + HOUR]
        await expect(page.get_by_role("radio", name="All")).not_to_be_checked()

    async def test_dates_in_the_wrong_order_are_refused(self, page):
        await page.goto(PI)
        await page.get_by_text("Dates", exact=True).click()
        await page.get_by_label("From", exact=True).fill("2026-01-02T00:00:00")
        await page.get_by_label("To", exact=True).fill("2026-01-01T00:00:00")
        await page.get_by_role("button", name="Show", exact=True).click()
        to = page.get_by_label("To", exact=True)
        assert await to.evaluate("to => to.validationMessage") == (
            "This must be later than the time above."
        )

    async def test_the_time_zone_is_named(self, browser, central):
        await add_readings(central, [10, 20])
        async with watched_page(browser, central, timezone_id="America/St_Johns") as page:
            await page.goto(f"{PI}?from=2026-07-01T10:00:00Z&to=2026-07-01T11:00:00Z")
            await expect(page.locator(".period")).to_contain_text("07:30:00 to 1 Jul")
            await expect(page.locator(".period")).to_contain_text(
                "America/St_Johns (UTC\u22122:30)"
            )
        async with watched_page(browser, central, timezone_id="Europe/Berlin") as page:
            await page.goto(f"{PI}?from=2026-10-24T10:00:00Z&to=2026-10-26T10:00:00Z")
            await expect(page.locator(".period")).to_contain_text(
                "Europe/Berlin (UTC+2, then UTC+1)"
            )

    async def test_a_range_that_ends_now_goes_on_and_another_does_not(self, page, central):
        await add_readings(central, range(0, HOUR, 10))
        now = datetime.fromtimestamp(time.time() - 60, UTC)
        earlier = datetime.fromtimestamp(time.time() - HOUR, UTC)
        ends = "&".join(
            f"{name}={each.isoformat().replace('+00:00', 'Z')}"
            for name, each in (("from", earlier), ("to", now))
        )
        await page.goto(f"{PI}?{ends}")
        shown = page.get_by_role("img", name=re.compile("20.5 °C, last 20.5"))
        await expect(shown).to_be_visible()
        await expect(page.locator(".live")).to_have_text("Live")
        await record(central, {"temp": 30})
        await expect(page.locator(".tile").first).to_contain_text("30.0")
        await expect(shown).to_be_visible()
        await page.get_by_role("button", name="Later").click()
        await expect(page.get_by_role("img", name="last 30.0")).to_be_visible()
        await record(central, {"temp": 31})
        await expect(page.get_by_role("img", name="last 31.0")).to_be_visible()


class TestGaps:
    async def test_a_gap_in_a_thinned_series_interrupts_the_line(self, page, central):
        await add_readings(central, [*range(DAY, DAY // 2, -5), *range(DAY // 4, 0, -5)])
        await page.goto(f"{PI}?last={DAY}")
        await eventually(partial(painted, page))
        there = await painted(page)
        assert {10, 30, 45, 80, 95} <= there
        assert not there & set(range(52, 73))

    async def test_a_gap_of_one_device_is_not_bridged_by_the_readings_of_another(
        self, page, central
    ):
        central.registry.add_device("pi-2", display_name="Cellar", template=MODEL_ID)
        await add_readings(central, range(HOUR, 0, -7), value=22)
        await add_readings(
            central, [*range(HOUR, 1800, -5), *range(900, 0, -5)], device="pi-2", value=20
        )
        await page.goto(f"{PI}?last={HOUR}&with=pi-2")
        await eventually(partial(painted, page, "--line-2"))
        there = await painted(page, "--line-2")
        assert {10, 30, 45, 80, 95} <= {each + near for each in there for near in (-1, 0, 1)}
        assert not there & set(range(52, 73))
        assert set(range(5, 95)) <= await painted(page, "--line-1")

    async def test_a_longer_interval_is_not_a_gap(self, page, central):
        await add_readings(central, [*range(3500, 1800, -5), *range(1500, 0, -300)])
        await page.goto(f"{PI}?last={HOUR}")
        await eventually(partial(painted, page))
        assert set(range(55, 85)) <= await painted(page)

    async def test_each_device_has_gaps_of_its_own_interval(self, page, central):
        """Two minutes are a gap of a device that reports each 5 s, and none of one each 100 s."""
        central.registry.add_device("pi-2", display_name="Cellar", template=MODEL_ID)
        fast = [*range(600, 360, -5), *range(240, 0, -5)]
        await add_readings(central, fast, value=22)
        slow = [600, 500, 400, 280, 180, 80, 0]
        await add_readings(central, slow, device="pi-2", value=20)
        await page.goto(f"{PI}?last=600&with=pi-2")
        await eventually(partial(painted, page, "--line-2"))
        assert not await painted(page, "--line-1") & set(range(42, 58))
        there = await painted(page, "--line-2")
        assert set(range(5, 95)) <= {each + near for each in there for near in (-1, 0, 1)}

    async def test_isolated_readings_are_drawn(self, page, central):
        ages = [*range(3500, 2400, -5), 1500, *range(600, 0, -5)]
        await add_readings(central, ages)
        await page.goto(f"{PI}?last={HOUR}")
        await eventually(partial(painted, page))
        there = await painted(page) & set(range(40, 80))
        assert there
        assert there <= set(range(56, 61))


class TestZoom:
    async def open(self, page, central):
        await add_readings(central, [5 * DAY, *range(0, DAY, 5)])
        await page.goto(f"{PI}?last={DAY}")
        await expect(page.get_by_role("img", name="Temperature: 20.5")).to_be_visible()

    async def test_dragging_fetches_what_is_finer(self, page, central):
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        await self.open(page, central)
        now = time.time()
        await drag(page, 0.25, 0.5)
        begin, end = await zoomed(page)
        assert abs(begin - (now - 0.75 * DAY)) < 0.02 * DAY
        assert abs(end - (now - 0.5 * DAY)) < 0.02 * DAY
        # Once, or again for a message that arrives meanwhile.
        queries = await eventually(
            lambda: [parse_qs(urlsplit(url).query) for url in asked if "until=" in url]
        )
        for query in queries:
            assert abs(float(query["since"][0]) - begin) < 1
            assert abs(float(query["until"][0]) - end) < 1
        await page.go_back()
        await expect(page.get_by_role("radio", name="Day")).to_be_checked()
        await page.go_forward()
        assert await zoomed(page) == [begin, end]
        await expect(page.get_by_role("radio", name="Day")).not_to_be_checked()

    async def test_shift_and_drag_moves(self, page, central):
        await self.open(page, central)
        await drag(page, 0.3, 0.8, shift=True)
        begin, end = await zoomed(page)
        assert abs(end - begin - DAY) < 5
        assert abs(end - (time.time() - DAY / 2)) < DAY / 50

    async def test_a_double_click_resets(self, page, central):
        await self.open(page, central)
        await drag(page, 0.25, 0.5)
        await zoomed(page)
        await page.locator(".u-over").first.dblclick()
        await expect(page.get_by_role("radio", name="Day")).to_be_checked()
        await eventually(lambda: bounds(page) is None)

    async def test_keys_move_and_zoom(self, page, central):
        await self.open(page, central)
        await page.get_by_role("img", name="Temperature").focus()
        await page.keyboard.press("ArrowLeft")
        first = await zoomed(page)
        await page.keyboard.press("+")
        begin, end = await eventually(lambda: bounds(page) != first and bounds(page))
        assert abs(end - begin - DAY / 2) < 3
        assert abs((end + begin) / 2 - sum(first) / 2) < 3
        await page.keyboard.press("-")
        await eventually(lambda: bounds(page) != [begin, end])
        await page.keyboard.press("ArrowRight")
        await eventually(lambda: bounds(page) is None)
        await page.keyboard.press("+")
        await expect(page).to_have_url(re.compile(r"last=432\d\d$"))  # Half a day.
        await page.keyboard.press("0")
        await expect(page.get_by_role("radio", name="Day")).to_be_checked()

    async def test_buttons_move_and_zoom(self, page, central):
        await self.open(page, central)
        await page.get_by_role("button", name="Zoom in").click()
        await expect(page).to_have_url(re.compile(rf"last={DAY // 2}$"))
        await page.get_by_role("button", name="Earlier").click()
        begin, end = await zoomed(page)
        assert abs(end - begin - DAY / 2) < 5
        await page.get_by_role("button", name="Zoom out").click()
        await page.get_by_role("button", name="Reset the time shown").click()
        await expect(page.get_by_role("radio", name="Day")).to_be_checked()

    async def test_a_touchpad_pans_and_zooms_around_the_pointer(self, page, central):
        await self.open(page, central)
        over = page.locator(".u-over").first
        box = await over.bounding_box()
        await over.hover(position={"x": box["width"] / 4, "y": 50})
        under = time.time() - 0.75 * DAY
        await page.keyboard.down("Control")
        await page.mouse.wheel(0, -300)
        await page.keyboard.up("Control")
        begin, end = await zoomed(page)
        assert 0.4 * DAY < end - begin < 0.7 * DAY
        assert abs(begin + (end - begin) / 4 - under) < DAY / 50
        await page.mouse.wheel(-box["width"] / 2, 0)
        [earlier, _] = await eventually(lambda: bounds(page) != [begin, end] and bounds(page))
        assert abs(earlier - (begin - (end - begin) / 2)) < DAY / 50
        await page.mouse.wheel(0, 10)  # This scrolls the page.
        await expect(page.locator(".period")).to_be_visible()
        assert bounds(page)[0] == earlier

    async def test_fingers_move_and_pinch(self, browser, central):
        await add_readings(central, range(0, DAY, 5))
        async with watched_page(browser, central, viewport=PHONE, has_touch=True) as page:
            await page.goto(f"{PI}?last={HOUR}")
            await expect(page.get_by_role("img", name="Temperature: 20.5")).to_be_visible()
            over = page.locator(".u-over").first
            await over.scroll_into_view_if_needed()
            box = await over.bounding_box()
            touch = await page.context.new_cdp_session(page)

            async def move(*shares):
                """Move fingers through these places, shares of the chart's width."""
                y = box["y"] + box["height"] / 2
                for kind, places in zip(
                    ["touchStart", *["touchMove"] * (len(shares) - 1)], shares, strict=True
                ):
                    points = [
                        {"x": box["x"] + box["width"] * share, "y": y, "id": number}
                        for number, share in enumerate(places)
                    ]
                    await touch.send(
                        "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
                    )
                await touch.send(
                    "Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []}
                )

            await move([0.2], [0.3], [0.5], [0.7])
            first = await zoomed(page)
            assert abs(first[1] - (time.time() - HOUR / 2)) < HOUR / 8
            await move([0.4, 0.6], [0.3, 0.7], [0.2, 0.8])
            begin, end = await eventually(lambda: bounds(page) != first and bounds(page))
            assert abs((end - begin) - HOUR / 3) < HOUR / 10
            assert abs((end + begin) - sum(first)) < HOUR / 10

    async def test_the_response_to_an_older_request_is_ignored(self, page, central):
        await self.open(page, central)
        held, let_go = asyncio.Event(), asyncio.Event()

        async def answer(route):
            if "until=" in route.request.url and not held.is_set():
                held.set()
                await let_go.wait()
                values = {"times": [time.time() - HOUR], "values": [99], "late": [], "gaps": []}
                body = {**values, "interval": None, "keptSince": 1, "last": None}
                await route.fulfill(json={"temp": body, "humid": body})
            else:
                await route.continue_()

        await page.route(re.compile("/series"), answer)
        failed = []
        page.on("requestfailed", lambda request: failed.append(request.url))
        await page.get_by_role("button", name="Earlier").click()
        await held.wait()
        await page.get_by_role("radio", name="Hour").check()
        await eventually(lambda: failed)
        let_go.set()
        await expect(page).to_have_url(re.compile(r"last=3600$"))
        await expect(page.get_by_role("img", name="Temperature: 20.5")).to_be_visible()
        await page.unroute_all(behavior="ignoreErrors")


class TestSeveralDevices:
    async def open(self, page, central):
        central.registry.add_device("pi-2", display_name="Cellar", template=MODEL_ID)
        central.registry.add_device("other", display_name="Garage")
        await record(central, {"co2": 400}, device="other")
        await add_readings(central, range(0, HOUR, 10))
        await add_readings(central, range(0, HOUR, 10), device="pi-2", value=12)
        await page.goto(PI)
        await expect(page.get_by_role("img", name="Temperature: 20.5")).to_be_visible()

    async def test_devices_with_the_same_telemetry_share_a_chart(self, page, central):
        await self.open(page, central)
        await page.get_by_text("Compare", exact=True).click()
        await expect(page.get_by_label("Garage")).to_have_count(0)
        await page.get_by_label("Cellar").check()
        legend = chart(page).locator(".legend li")
        await expect(legend.nth(0)).to_contain_text("Kitchen 20.5\u202f°C")
        await expect(legend.nth(1)).to_contain_text("Cellar 12.0")
        described = "Temperature. Kitchen: 20.5.*; Cellar: 12.0"
        await expect(page.get_by_role("img", name=re.compile(described))).to_be_visible()
        await expect(page).to_have_url(re.compile(r"with=pi-2"))
        for colour in ("--line-1", "--line-2"):
            assert len(await painted(page, colour)) > 20
        dashes = await legend.locator("path").evaluate_all(
            "paths => paths.map((path) => path.getAttribute('stroke-dasharray'))"
        )
        assert len(set(dashes)) == len(dashes)
        await page.get_by_role("checkbox", name="Cellar").uncheck()
        await expect(legend).to_have_count(0)

    async def test_an_address_shows_the_same_elsewhere(self, browser, page, central):
        await self.open(page, central)
        await page.get_by_text("Compare", exact=True).click()
        await page.get_by_label("Cellar").check()
        await page.get_by_label("Charts shown").select_option("Temperature")
        await page.get_by_role("button", name="Zoom in").click()
        await page.get_by_role("button", name="Earlier").click()
        await zoomed(page)
        await expect(chart(page, "Humidity")).to_have_count(0)
        label = await page.get_by_role("img", name="Temperature").get_attribute("aria-label")
        period = await page.locator(".period").text_content()
        async with watched_page(browser, central) as other:
            await other.goto(page.url)
            await expect(other.get_by_role("img", name=label)).to_be_visible()
            await expect(other.locator(".legend li").nth(1)).to_contain_text("Cellar 12.0")
            await expect(other.locator(".period")).to_have_text(period)
            await expect(chart(other, "Humidity")).to_have_count(0)

    async def test_one_menu_is_open_at_a_time(self, page, central):
        await self.open(page, central)
        await page.get_by_text("Compare", exact=True).click()
        await page.get_by_role("checkbox", name="Cellar").check()
        await expect(page.get_by_role("checkbox", name="Cellar")).to_be_visible()
        await page.get_by_text("Dates", exact=True).click()
        await expect(page.get_by_role("checkbox", name="Cellar")).to_be_hidden()
        await page.get_by_label("From", exact=True).focus()
        await page.keyboard.press("Escape")
        await expect(page.get_by_label("From", exact=True)).to_be_hidden()
        await expect(page.locator("summary", has_text="Dates")).to_be_focused()
        await page.get_by_text("Compare (1)").click()
        await page.get_by_role("heading", name="Temperature").first.click()
        await expect(page.get_by_role("checkbox", name="Cellar")).to_be_hidden()

    async def test_the_address_is_copied(self, browser, central):
        permissions = ["clipboard-read", "clipboard-write"]
        async with watched_page(browser, central, permissions=permissions) as page:
            await page.goto(f"{PI}?last=900")
            await page.get_by_role("button", name="Copy link").click()
            copied = await page.evaluate("navigator.clipboard.readText()")
            assert copied == f"{central.http.rstrip('/')}{PI}?last=900"

    async def test_readings_of_other_devices_appear_by_themselves(self, page, central):
        await page.clock.install()
        await self.open(page, central)
        await page.goto(f"{PI}?last=600&with=pi-2")
        await expect(chart(page).locator(".legend li").nth(1)).to_contain_text("12.0")
        await record(central, {"temp": 14}, device="pi-2")
        await page.clock.fast_forward(10_000)
        await expect(chart(page).locator(".legend li").nth(1)).to_contain_text("to 14.0")

    async def test_a_deleted_device_does_not_hide_the_others(self, page, central):
        await self.open(page, central)
        await page.goto(f"{PI}?last=600&with=gone&with=pi-2")
        legend = chart(page).locator(".legend li")
        await expect(legend.nth(1)).to_contain_text("Cellar 12.0")
        await expect(legend).to_have_count(2)


def limited_model(unit):
    """Return the model with limits of the temperature, all in one unit."""
    limits = [
        {
            "@type": ["Property", "Temperature"],
            "name": name,
            "displayName": label,
            "schema": "double",
            "unit": unit,
            "writable": True,
        }
        for name, label in (("temperatureLow", "Low limit"), ("temperatureHigh", "High limit"))
    ]
    telemetry = [each | ({"unit": unit} if each["name"] == "temp" else {}) for each in CONTENTS]
    return MODEL | {"@id": LIMITED, "contents": [*telemetry, *limits]}


class TestLimits:
    async def open(self, page, central, limits, *, age=2 * HOUR, unit="degreeCelsius"):
        """Open a chart of the last hour, with limits that were reported some time before."""
        await central.store.run(partial(templates.put, dtmi=LIMITED, interface=limited_model(unit)))
        central.registry.update_device("pi-1", template=LIMITED)
        ack = {"ac": 200, "av": 1}
        reported = {name: {"value": value, **ack} for name, value in limits.items()}
        await central.registry.patch_reported("pi-1", reported)
        times = json.dumps(dict.fromkeys(limits, time.time() - age))
        change = "UPDATE twins SET reported_times = ?"
        await central.store.run(lambda db: db.execute(change, (times,)))
        await add_readings(central, range(0, HOUR, 10))
        await page.goto(f"{PI}?last={HOUR}")
        await expect(page.get_by_role("img", name="Temperature: 20.5")).to_be_visible()
        return chart(page).locator(".legend li")

    async def test_limits_are_drawn_and_named(self, page, central):
        legend = await self.open(page, central, {"temperatureLow": 20, "temperatureHigh": 21})
        await expect(legend).to_have_text(["Low limit 20.0\u202f°C", "High limit 21.0\u202f°C"])
        there = await painted(page, "--bad")
        assert {each + near for each in there for near in (-1, 0, 1)} >= set(range(2, 98))

    async def test_a_limit_at_the_end_of_the_range_is_none(self, page, central):
        legend = await self.open(page, central, {"temperatureLow": -40, "temperatureHigh": 21})
        await expect(legend).to_have_text(["High limit 21.0\u202f°C"])

    async def test_limits_have_the_unit_of_the_device(self, page, central):
        limits = {"temperatureLow": 19.5, "temperatureHigh": 257}
        legend = await self.open(page, central, limits, unit="degreeFahrenheit")
        await expect(legend).to_have_text(["Low limit 19.5\u202f°F"])

    async def test_a_limit_far_away_is_said_to_be_there(self, page, central):
        legend = await self.open(page, central, {"temperatureLow": 0, "temperatureHigh": 60})
        await expect(legend).to_have_text(
            ["Low limit 0.0\u202f°C, below the chart", "High limit 60.0\u202f°C, above the chart"]
        )
        assert await painted(page, "--bad") == set()

    async def test_a_limit_is_faint_before_it_was_reported(self, page, central):
        legend = await self.open(page, central, {"temperatureHigh": 21}, age=HOUR / 2)
        await expect(legend).to_contain_text(re.compile(r"High limit 21.0.°C, not known before \d"))
        there = await painted(page, "--bad")
        assert {55, 70, 95} <= {each + near for each in there for near in (-1, 0, 1)}
        assert min(there) >= 48

    async def test_a_limit_that_is_not_confirmed_is_drawn_beside_the_one_in_force(
        self, page, central
    ):
        legend = await self.open(page, central, {"temperatureHigh": 21})
        await central.registry.patch_desired("pi-1", {"temperatureHigh": 22}, replace_all=False)
        await expect(legend).to_have_text(
            ["High limit 21.0\u202f°C", "High limit 22.0\u202f°C, not confirmed by the device"]
        )
        assert await painted(page, "--bad")
        assert await painted(page, "--muted")

    async def test_a_limit_that_changes_while_the_page_is_open_is_drawn_again(self, page, central):
        legend = await self.open(page, central, {"temperatureHigh": 21})
        await central.registry.patch_reported(
            "pi-1", {"temperatureHigh": {"value": 20, "ac": 200, "av": 1}}
        )
        await expect(legend).to_contain_text("High limit 20.0\u202f°C, not known before")
        await central.registry.patch_reported("pi-1", {"temperatureHigh": None})
        await expect(legend).to_have_count(0)

    async def test_limits_are_drawn_without_readings(self, page, central):
        await self.open(page, central, {"temperatureHigh": 21, "temperatureLow": 19})
        await page.goto(f"{PI}?from=2024-01-01T00:00:00Z&to=2024-01-02T00:00:00Z")
        await expect(page.locator(".chart-empty").first).to_contain_text("No readings")
        legend = chart(page).locator(".legend li")
        await expect(legend.first).not_to_contain_text("the chart")

    async def test_limits_among_several_devices_have_the_name_of_theirs(self, page, central):
        legend = await self.open(page, central, {"temperatureHigh": 21})
        central.registry.add_device("pi-2", display_name="Cellar", template=LIMITED)
        await add_readings(central, range(0, HOUR, 10), device="pi-2", value=20)
        await page.goto(f"{PI}?last={HOUR}&with=pi-2")
        await expect(legend.nth(2)).to_have_text("Kitchen: High limit 21.0\u202f°C")
