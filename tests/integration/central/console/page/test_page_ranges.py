"""The time that charts show: clock changes, entered times, addresses, and times without data."""

import re
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from browsers import watched_page
from consoles import MODEL, MODEL_ID, eventually, record
from playwright.async_api import expect

from central.storage import templates

pytestmark = pytest.mark.asyncio(loop_scope="module")

PI = "/#/devices/pi-1/overview"
HOUR = 3600
# Clocks in Berlin were set back at 03:00 and forward at 02:00.
AUTUMN = datetime(2024, 10, 27, tzinfo=UTC).timestamp()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser, central):
    async with watched_page(browser, central, timezone_id="UTC") as page:
        yield page


async def add(central, *readings, name="temp"):
    """Store readings, each a unix time and a value."""
    rows = [
        ("pi-1", "", name, at, number, str(value)) for number, (at, value) in enumerate(readings)
    ]
    insert = "INSERT INTO telemetry VALUES (?, ?, ?, ?, ?, ?)"
    await central.store.run(lambda db: db.executemany(insert, rows))


def shown(page, name):
    return page.get_by_role("img", name=name)


async def enter(page, begin, end):
    """Enter two local times."""
    await page.get_by_text("Dates", exact=True).click()
    await page.get_by_label("From", exact=True).fill(begin)
    await page.get_by_label("To", exact=True).fill(end)
    await page.get_by_role("button", name="Show", exact=True).click()


async def address(page):
    """Return the range in the page's address, once it has one."""

    def read():
        query = parse_qs(urlsplit(page.url).fragment.partition("?")[2])
        return (query["from"][0], query["to"][0]) if "from" in query else None

    return await eventually(read)


class TestTimeZones:
    @pytest.mark.parametrize(
        ("zone", "local", "times"),
        [
            ("Europe/Berlin", "2024-07-01T12:00", ["2024-07-01T10:00"]),
            ("Europe/Berlin", "2024-10-27T02:30", ["2024-10-27T00:30", "2024-10-27T01:30"]),
            ("Europe/Berlin", "2024-10-27T03:00", ["2024-10-27T02:00"]),
            ("Australia/Lord_Howe", "2024-04-07T01:45", ["2024-04-06T14:45", "2024-04-06T15:15"]),
            ("America/St_Johns", "2024-11-03T01:30", ["2024-11-03T04:00", "2024-11-03T05:00"]),
            ("Asia/Kathmandu", "2024-07-01T12:00:30", ["2024-07-01T06:15:30"]),
            ("UTC", "2024-10-27T02:30", ["2024-10-27T02:30"]),
        ],
    )
    async def test_a_local_time_has_one_time_or_two(self, browser, central, zone, local, times):
        found = await self.times_of(browser, central, zone, local)
        assert found == {"times": [utc(each) for each in times], "exists": True}

    @pytest.mark.parametrize(
        ("zone", "local", "used"),
        [
            ("Europe/Berlin", "2024-03-31T02:30", "2024-03-31T01:30"),
            ("Australia/Lord_Howe", "2024-10-06T02:15", "2024-10-05T15:45"),
            ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T22:00"),  # A day that Samoa left out.
        ],
    )
    async def test_a_local_time_that_is_left_out_is_the_one_without_the_change(
        self, browser, central, zone, local, used
    ):
        found = await self.times_of(browser, central, zone, local)
        assert found == {"times": [utc(used)], "exists": False}

    async def times_of(self, browser, central, zone, local):
        async with watched_page(browser, central, timezone_id=zone) as page:
            await page.goto("/")
            return await page.evaluate(
                f"import('/range.js').then((it) => it.localTimes('{local}'))"
            )

    @pytest.mark.parametrize(
        ("zone", "begin", "end", "words"),
        [
            ("Europe/Berlin", "2024-07-01", "2024-07-02", "Europe/Berlin (UTC+2)"),
            ("Europe/Berlin", "2024-10-27", "2024-10-28", "Europe/Berlin (UTC+2, then UTC+1)"),
            ("Europe/Berlin", "2024-01-01", "2025-01-01", "Europe/Berlin (UTC+1 or UTC+2)"),
            ("Asia/Kolkata", "2024-01-01", "2025-01-01", " (UTC+5:30)"),
            ("America/St_Johns", "2024-07-01", "2024-07-02", "America/St_Johns (UTC\u22122:30)"),
            ("UTC", "2024-07-01", "2024-07-02", "UTC"),
        ],
    )
    async def test_each_offset_of_the_period_is_named(
        self, browser, central, zone, begin, end, words
    ):
        async with watched_page(browser, central, timezone_id=zone) as page:
            await page.goto("/")
            text = await page.evaluate(
                f"import('/range.js').then((it) => it.zoneText([{utc(begin)}, {utc(end)}]))"
            )
            assert text.endswith(words)

    @pytest.mark.parametrize(
        ("day", "next_day", "hours"),
        [("2024-10-27", "2024-10-28", 25), ("2024-03-31", "2024-04-01", 23)],
    )
    async def test_a_day_has_its_23_or_25_hours(self, browser, central, day, next_day, hours):
        async with watched_page(browser, central, timezone_id="Europe/Berlin") as page:
            await page.goto(PI)
            await enter(page, f"{day}T00:00:00", f"{next_day}T00:00:00")
            begin, end = (datetime.fromisoformat(each) for each in await address(page))
            assert (end - begin).total_seconds() == hours * HOUR
            await expect(page.locator(".remark")).to_be_hidden()

    async def test_an_hour_that_occurs_twice_is_shown_twice(self, browser, central):
        readings = [(AUTUMN + 1200, 20), (AUTUMN + HOUR + 1200, 10)]
        await add(central, *readings)
        async with watched_page(browser, central, timezone_id="Europe/Berlin") as page:
            await page.goto(PI)
            await enter(page, "2024-10-27T02:00:00", "2024-10-27T02:59:59")
            assert await address(page) == ("2024-10-27T00:00:00Z", "2024-10-27T01:59:59Z")
            await expect(shown(page, "Temperature: 10.0 °C to 20.0 °C")).to_be_visible()
            await expect(page.locator(".remark")).to_have_text(
                "Clocks are set back and show 02:00 on 27 Oct twice; the range begins at the first."
                " Clocks are set back and show 02:59 on 27 Oct twice; the range ends at the second."
            )
            over = page.locator(".u-over").first
            box = await over.bounding_box()
            for share, words in (
                (0.17, "20.0.*02:20:00 UTC\\+2"),
                (0.67, "10.0.*02:20:00 UTC\\+1"),
            ):
                await over.hover(position={"x": box["width"] * share, "y": 50})
                await expect(page.locator(".chart-summary").first).to_have_text(re.compile(words))
            await page.get_by_role("button", name="Zoom out").click()
            await expect(page.locator(".remark")).to_be_hidden()

    async def test_messages_of_an_hour_that_occurs_twice_are_listed_from_both(
        self, browser, central
    ):
        asked = []
        async with watched_page(browser, central, timezone_id="Europe/Berlin") as page:
            page.on("request", lambda request: asked.append(parse_qs(urlsplit(request.url).query)))
            await page.goto("/#/devices/pi-1/raw")
            await page.get_by_label("Received in").select_option("Custom")
            await page.get_by_label("From", exact=True).fill("2024-10-27T02:00:00")
            await page.get_by_label("To", exact=True).fill("2024-10-27T02:30:00")
            ends = {"since": [f"{AUTUMN:.0f}"], "until": [f"{AUTUMN + 1.5 * HOUR:.0f}"]}
            await eventually(lambda: any(ends.items() <= each.items() for each in asked))

    async def test_an_hour_that_is_left_out_is_reported(self, browser, central):
        async with watched_page(browser, central, timezone_id="Europe/Berlin") as page:
            await page.goto(PI)
            await enter(page, "2024-03-31T02:30:00", "2024-03-31T04:00:00")
            assert await address(page) == ("2024-03-31T01:30:00Z", "2024-03-31T02:00:00Z")
            await expect(page.locator(".remark")).to_have_text(
                "Clocks are set forward and do not show 02:30 on 31 Mar; it is 03:30 then."
            )

    async def test_what_is_entered_at_once_is_not_replaced(self, page, central):
        await page.goto(PI)
        await page.get_by_text("Dates", exact=True).wait_for()
        await page.evaluate("""() => {
            const summary = [...document.querySelectorAll("summary")].find(
                (each) => each.textContent === "Dates");
            summary.click();
            const [from, to] = summary.parentElement.querySelectorAll("input");
            [from.value, to.value] = ["2024-03-30T10:00:00", "2024-03-30T11:00:00"];
        }""")
        await page.get_by_role("button", name="Show", exact=True).click()
        assert await address(page) == ("2024-03-30T10:00:00Z", "2024-03-30T11:00:00Z")

    async def test_times_that_are_not_changed_stay_exact(self, browser, central):
        """Both ends are in the second of two hours with the same names."""
        ends = ("2024-10-27T01:10:00.250Z", "2024-10-27T01:40:00Z")
        async with watched_page(browser, central, timezone_id="Europe/Berlin") as page:
            await page.goto(f"{PI}?from={ends[0]}&to={ends[1]}")
            await page.get_by_text("Dates", exact=True).click()
            await page.get_by_label("To", exact=True).fill("2024-10-27T03:30:00")
            await page.get_by_role("button", name="Show", exact=True).click()
            await expect(page).to_have_url(re.compile(r"to=2024-10-27T02:30:00Z"))
            assert (await address(page))[0][:19] == ends[0][:19]


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class TestEntered:
    @pytest.mark.parametrize(
        ("begin", "end", "at", "words"),
        [
            ("2024-01-02T00:00:00", "2024-01-01T00:00:00", "To", "later than the time above."),
            ("1969-01-02T00:00:00", "2024-01-01T00:00:00", "From", "Enter a time after 1970."),
            ("2999-01-02T00:00:00", "2999-01-03T00:00:00", "From", "earlier than now."),
            ("1990-01-02T00:00:00", "2024-01-01T00:00:00", "To", "at most ten years."),
        ],
    )
    async def test_a_range_that_cannot_be_shown_is_refused(self, page, begin, end, at, words):
        await page.goto(PI)
        await enter(page, begin, end)
        field = page.get_by_label(at, exact=True)
        assert (await field.evaluate("field => field.validationMessage")).endswith(words)
        assert "from=" not in page.url

    async def test_an_end_in_the_future_does_not_move_the_beginning(self, page, central):
        begin = time.time() // 1 - 1800
        texts = [
            datetime.fromtimestamp(each, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            for each in (begin, begin + 2 * HOUR)
        ]
        await page.goto(PI)
        await enter(page, *texts)
        assert await address(page) == tuple(f"{each}Z" for each in texts)
        await record(central, {"temp": 21.5})
        await expect(shown(page, "Temperature: 21.5 °C, one reading")).to_be_visible()
        await page.get_by_role("button", name="Back to now").click()
        await expect(page).to_have_url(re.compile(r"last=7200$"))
        await expect(page.get_by_role("button", name="Back to now")).to_be_disabled()

    async def test_a_range_long_ago_stays_where_it_is(self, page):
        await page.goto(PI)
        await enter(page, "2010-01-01T00:00:00", "2010-02-01T00:00:00")
        assert await address(page) == ("2010-01-01T00:00:00Z", "2010-02-01T00:00:00Z")
        await shown(page, "Temperature").focus()
        await page.keyboard.press("End")
        await expect(page).to_have_url(re.compile(r"last=2678400$"))


class TestAddress:
    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("last=soon", "The address has no valid time range."),
            ("from=2024-01-02T00:00:00Z", "The address has no valid time range."),
            ("show=co2", "The device has no telemetry co2 with a chart. All charts are shown."),
            (
                "with=gone",
                re.compile("^The device gone cannot be compared: there is no such device"),
            ),
            (
                "with=a&with=b&with=c&with=d&with=e&with=f&with=g",
                re.compile("Only 5 devices are compared; 2 are left out."),
            ),
        ],
    )
    async def test_what_cannot_be_shown_is_said(self, page, central, query, words):
        await record(central, {"temp": 20.5})
        await page.goto(f"{PI}?{query}")
        await expect(page.locator(".remark")).to_have_text(words)
        await expect(shown(page, "Temperature: 20.5")).to_be_visible()

    async def test_a_device_that_is_gone_is_left_out_of_the_next_address(self, page, central):
        central.registry.add_device("pi-2", display_name="Cellar", template=MODEL_ID)
        await page.goto(f"{PI}?with=gone")
        await expect(page.locator(".remark")).to_be_visible()
        await page.get_by_text("Compare (1)").click()
        await page.get_by_label("Cellar").check()
        await expect(page).to_have_url(re.compile(r"with=pi-2$"))
        assert "gone" not in page.url
        await expect(page.locator(".remark")).to_be_hidden()

    async def test_the_address_of_a_device_that_is_gone_says_so(self, page):
        await page.goto("/#/devices/gone/overview?last=600")
        await expect(page.get_by_text("There is no device gone.")).to_be_visible()

    async def test_numbers_of_another_unit_do_not_share_an_axis(self, page, central):
        """A Fahrenheit device has the humidity in common with a Celsius device, and only that."""
        contents = [
            each | ({"unit": "degreeFahrenheit"} if each["name"] == "temp" else {})
            for each in MODEL["contents"]
        ]
        model = MODEL | {"@id": "dtmi:test:Fahrenheit;1", "contents": contents}
        central.store.call(lambda db: templates.put(db, model["@id"], model))
        central.registry.add_device("pi-2", display_name="Attic", template=model["@id"])
        for device, temp in (("pi-1", 20.5), ("pi-2", 68)):
            await record(central, {"temp": temp, "humid": 40}, device=device)
        await page.goto(f"{PI}?with=pi-2")
        await expect(shown(page, "Humidity. Kitchen: 40.0")).to_be_visible()
        await expect(shown(page, "Temperature: 20.5 °C, one reading")).to_be_visible()


class TestNoLine:
    """What is said where a chart has no line to show."""

    async def test_without_any_reading(self, page):
        await page.goto(PI)
        empty = page.locator(".chart-empty")
        await expect(empty).to_have_text(["No readings yet.", "No readings yet."])

    async def test_before_and_after_what_is_kept(self, page, central):
        await add(central, *[(AUTUMN + 60 * each, 20) for each in range(10)])
        await page.goto(f"{PI}?from=2024-10-26T20:00:00Z&to=2024-10-26T21:00:00Z")
        empty = page.locator(".chart-empty").first
        await expect(empty).to_have_text(
            "No readings in this period. The oldest one that is kept is from 27 Oct 2024, 00:00:00."
        )
        await page.goto(f"{PI}?from=2024-10-28T20:00:00Z&to=2024-10-28T21:00:00Z")
        await expect(empty).to_have_text(
            "No readings in this period. The last one is from 27 Oct 2024, 00:09:00."
        )
        label = "Temperature: No readings in this period."
        await expect(shown(page, label)).to_be_visible()
        await page.goto(f"{PI}?from=2024-10-27T00:00:00Z&to=2024-10-27T01:00:00Z")
        await expect(empty).to_be_hidden()

    async def test_a_line_between_two_readings_is_not_empty(self, page, central):
        await add(central, *[(AUTUMN + 600 * each, 20) for each in range(10)])
        await page.goto(f"{PI}?from=2024-10-27T00:22:00Z&to=2024-10-27T00:26:00Z")
        label = "Temperature: No readings in this period."
        await expect(shown(page, label)).to_be_visible()
        await expect(page.locator(".chart-empty").first).to_be_hidden()

    async def test_while_central_does_not_respond(self, page, central):
        await add(central, *[(AUTUMN + 60 * each, 20) for each in range(10)])
        await page.goto(f"{PI}?from=2024-10-27T00:00:00Z&to=2024-10-27T01:00:00Z")
        await expect(shown(page, "Temperature: 20.0")).to_be_visible()
        await page.route("**/series?*", lambda route: route.abort())
        await page.get_by_role("button", name="Later").click()
        await expect(shown(page, "Temperature: loading.")).to_be_visible()
        await expect(page.locator(".chart-empty").first).to_be_hidden()
        await page.unroute("**/series?*")
        await page.get_by_role("button", name="Later").click()
        await expect(page.locator(".chart-empty").first).to_contain_text("The last one")

    async def test_a_constant_value_and_a_single_reading(self, page, central):
        await add(central, *[(AUTUMN + 60 * each, 20.5) for each in range(10)])
        await add(central, (AUTUMN + 60, 45), name="humid")
        await page.goto(f"{PI}?from=2024-10-27T00:00:00Z&to=2024-10-27T01:00:00Z")
        await expect(shown(page, "Temperature: 20.5 °C, last 20.5 °C.")).to_be_visible()
        await expect(shown(page, "Humidity: 45.0 %, one reading, last 45.0 %.")).to_be_visible()
