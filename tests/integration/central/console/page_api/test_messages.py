"""Messages over HTTP: filtered, counted, as a series and as a file."""

import asyncio
import csv
import io
import json
import threading

import aiohttp
import pytest
from consoles import MODEL_ID, ask, record, refused
from hypothesis import given
from hypothesis import strategies as st

from central.console.page_api import messages
from central.console.page_api.messages import _csv_lines, _json_lines
from central.records import Message, iso
from central.storage.store import READERS

PI = "/console/api/devices/pi-1"


async def test_messages_are_filtered_by_time(http, central):
    first = await record(central, {"n": 1})
    await record(central, {"n": 2})
    answer = await ask(http, "GET", f"{PI}/messages?until={first.received}")
    assert [message["body"] for message in answer["value"]] == ['{"n": 1}']
    assert (await ask(http, "GET", f"{PI}/messages?since=99999999999"))["value"] == []


async def test_a_very_long_message_is_cut(http, central):
    await record(central, b"x" * 100_000)
    [message] = (await ask(http, "GET", f"{PI}/messages"))["value"]
    assert (len(message["body"]), message["length"]) == (16 * 1024, 100_000)
    async with http.get(f"{PI}/export?format=jsonl") as response:
        assert json.loads(await response.text())["body"] == "x" * 100_000


async def test_missing_messages_are_counted(http, central):
    run, last = "0123456789ab", "0a0a0a0a0a0a"
    sent = [await record(central, {}, message_id=f"{run}:{number}") for number in (1, 2, 4)]
    await record(central, {}, message_id="no number")
    dropped = {"previous": f"{run}:4", "dropped": f"{last}:2-3:age"}
    await record(central, {}, created=1.0, properties=dropped, message_id=f"{last}:1")
    gap = {"run": run, "first": 3, "last": 3, "reason": "missing"}
    gap |= {"after": iso(sent[1].received), "before": iso(sent[2].received)}
    old = {"run": last, "first": 2, "last": 3, "reason": "age"}
    old |= {"after": "1970-01-01T00:00:01.000Z", "before": None}
    found = await ask(http, "GET", f"{PI}/completeness")
    assert found == {
        "since": iso(sent[0].received),
        "received": 4,
        "late": 1,
        "duplicates": 0,
        "startUnknown": False,
        "lost": {"missing": 1, "age": 2},
        "gaps": [gap, old],
    }


async def test_telemetry_of_a_component_is_drawn(http, central):
    await record(central, {"temp": 5}, created=100.0, component="cellar")
    await record(central, {"temp": 20}, created=100.0)
    series = await ask(http, "GET", f"{PI}/series?name=temp&name=cellar*temp&since=0&until=200")
    assert series["temp"]["values"] == [20.0]
    assert series["cellar*temp"]["values"] == [5.0]
    assert series["cellar*temp"]["last"]["value"] == 5


async def test_long_look_ups_do_not_delay_short_ones(http, monkeypatch):
    """The series read until the gate opens. There are more of them than readers."""
    gate = threading.Event()
    monkeypatch.setattr(messages, "_series", lambda *_: {"opened": gate.wait(60)})
    series = [asyncio.create_task(ask(http, "GET", f"{PI}/series")) for _ in range(2 * READERS)]
    try:
        async with asyncio.timeout(20):
            for _ in range(20):
                assert (await ask(http, "GET", "/console/api/devices"))["value"]
        assert not any(task.done() for task in series)
    finally:
        gate.set()
    assert await asyncio.gather(*series) == [{"opened": True}] * len(series)


class TestExport:
    async def test_json_lines_are_complete(self, http, central):
        await record(central, {"temp": 20.5}, created=1.5, properties={"a": "b"}, message_id="7")
        await record(central, b"no json")
        async with http.get(f"{PI}/export?format=jsonl") as response:
            assert response.content_type == "application/x-ndjson"
            assert response.headers["Content-Disposition"] == 'attachment; filename="pi-1.jsonl"'
            first, second = map(json.loads, (await response.text()).splitlines())
        assert first["created"] == "1970-01-01T00:00:01.500Z"
        assert first["body"] == {"temp": 20.5}
        assert (first["properties"], first["system"]) == ({"a": "b"}, {"message_id": "7"})
        assert second["body"] == "no json"

    async def test_csv_has_the_requested_columns(self, http, central):
        await record(central, {"temp": 20.5, "extra": [1]}, created=1.5)
        await record(central, {"temp": 4, "n": "x"}, component="cellar")
        await record(central, b"no, json")
        columns = "column=temp&column=humid&column=cellar*temp"
        async with http.get(f"{PI}/export?format=csv&{columns}") as response:
            assert response.content_type == "text/csv"
            rows = list(csv.DictReader(io.StringIO(await response.text())))
        assert [row["temp"] for row in rows] == ["20.5", "", ""]
        assert [row["humid"] for row in rows] == ["", "", ""]
        assert [row["cellar*temp"] for row in rows] == ["", "4", ""]
        assert [row["other"] for row in rows] == ['{"extra": [1]}', '{"cellar*n": "x"}', "no, json"]
        assert rows[0]["taken"] == "1970-01-01T00:00:01.500Z"
        assert float(rows[0]["late_s"]) > 1e9
        assert [row["component"] for row in rows] == ["", "cellar", ""]

    async def test_several_pages_are_exported(self, http, central):
        for number in range(450):
            await record(central, {"n": number})
        async with http.get(f"{PI}/export?format=jsonl") as response:
            lines = (await response.text()).splitlines()
        assert [json.loads(line)["body"]["n"] for line in lines] == list(range(450))
        for span in ("since=99999999999", "until=5"):
            async with http.get(f"{PI}/export?format=jsonl&{span}") as response:
                assert await response.text() == ""

    async def test_a_cancelled_download_is_not_an_error(self, http, monkeypatch, caplog):
        async def closed(*_):
            raise ConnectionResetError
            yield

        monkeypatch.setattr(messages, "_pages", closed)
        async with http.get(f"{PI}/export?format=jsonl") as response:
            await response.read()
        assert "failed" not in caplog.text

    async def test_the_export_of_a_deleted_device_is_aborted(self, http, central, monkeypatch):
        monkeypatch.setattr(messages, "AT_ONCE", 1)
        for _ in range(80):
            await record(central, b"x" * 200_000)
        async with http.get(f"{PI}/export?format=jsonl") as response:
            central.registry.delete_device("pi-1")
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()

    async def test_text_cannot_become_a_formula(self, http, central):
        await record(central, {"temp": "=HYPERLINK(1)", "humid": -3})
        async with http.get(f"{PI}/export?format=csv&column=temp&column=humid") as response:
            [row] = csv.DictReader(io.StringIO(await response.text()))
        assert (row["temp"], row["humid"]) == ("'=HYPERLINK(1)", "-3")
        async with http.get(f"{PI}/export?format=csv&column==A1") as response:
            assert "'=A1" in (await response.text()).splitlines()[0].split(",")

    async def test_the_export_of_an_unknown_device_is_404(self, http):
        path = "/console/api/devices/nobody/export?format=csv"
        await refused(http, "GET", path, expect=404)


async def test_messages_have_pages_newest_first(http, central):
    for number in range(5):
        await record(central, b"%d" % number)
    first = (await ask(http, "GET", f"{PI}/messages?limit=3"))["value"]
    before = first[-1]["number"]
    rest = (await ask(http, "GET", f"{PI}/messages?limit=3&before={before}"))["value"]
    assert [message["body"] for message in first + rest] == ["4", "3", "2", "1", "0"]


async def test_a_series_has_numbers_in_order_of_time(http, central):
    for created, value in [(200.0, 21.5), (100.0, 20), (300.0, True), (900.0, 1)]:
        await record(central, {"temp": value}, created=created)
    series = await ask(http, "GET", f"{PI}/series?name=temp&name=none&since=50&until=500")
    assert series["temp"]["times"] == [100.0, 200.0, 900.0]  # And the next one.
    assert series["temp"]["values"] == [20.0, 21.5, 1.0]
    assert series["temp"]["last"] == {"timestamp": "1970-01-01T00:15:00.000Z", "value": 1}
    assert series["temp"]["late"] == [0, 1]
    assert (series["temp"]["interval"], series["temp"]["keptSince"]) == (100, 100)
    nothing: dict[str, object] = {"times": [], "values": [], "late": [], "gaps": []}
    assert series["none"] == nothing | {"interval": None, "keptSince": None, "last": None}


async def test_a_series_says_where_its_gaps_are(http, central):
    for created in (100.0, 110.0, 120.0, 200.0, 210.0):
        await record(central, {"temp": 20}, created=created)
    found = (await ask(http, "GET", f"{PI}/series?name=temp&since=50&until=500"))["temp"]
    assert (found["gaps"], found["times"][3]) == ([3], 200.0)
    found = (await ask(http, "GET", f"{PI}/series?name=temp&since=150&until=160"))["temp"]
    assert (found["times"], found["gaps"]) == ([120.0, 200.0], [1])


async def test_devices_with_the_same_telemetry_are_comparable(http, central):
    for device in ("pi-2", "raw", "other", "silent"):
        central.registry.add_device(device, template=MODEL_ID if device == "pi-2" else None)
    central.registry.update_device("pi-1", template=MODEL_ID)
    for device, name in (("raw", "temp"), ("other", "co2")):
        await record(central, {name: 20}, device=device)
    found = await ask(http, "GET", f"{PI}/comparable")
    same = {"id": "pi-2", "displayName": "pi-2", "telemetry": ["humid", "temp"]}
    assert found["value"] == [same]
    found = await ask(http, "GET", "/console/api/devices/raw/comparable")
    assert found["value"] == []  # The numbers of a device without a model have no unit.
    await record(central, {"temp": 1, "co2": 2}, device="silent")
    found = await ask(http, "GET", "/console/api/devices/silent/comparable")
    assert [each["id"] for each in found["value"]] == ["other", "raw"]
    await refused(http, "GET", "/console/api/devices/nobody/comparable", expect=404)


@pytest.mark.parametrize(
    "query",
    [
        *("series?since=x", "series?until=nan", "messages?limit=0", "messages?limit=501"),
        *("export", "export?format=xls", "export?format=csv&since=x"),
    ],
)
async def test_a_bad_query_is_refused(http, query):
    error = await refused(http, "GET", f"{PI}/{query}", expect=400)
    assert error["code"] == "InvalidQuery"


@given(
    body=st.binary(max_size=60)
    | st.dictionaries(st.text(max_size=5), st.integers() | st.floats() | st.text(max_size=5)).map(
        lambda value: json.dumps(value).encode()
    ),
    component=st.text(max_size=4),
    columns=st.lists(st.text(max_size=5), max_size=3),
)
def test_any_message_is_one_row_and_one_line(body, component, columns):
    message = Message(1, "pi", 2.0, None, body, {"p": "\r\n"}, {"component": component})
    [row] = csv.reader(io.StringIO(_csv_lines(columns, [message])))
    assert len(row) == 6 + len(columns)
    assert json.loads(_json_lines([message])).keys() >= {"body", "received"}
