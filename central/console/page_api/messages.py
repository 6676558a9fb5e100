"""What the page shows of messages: the table, the charts, the count, and the files to keep."""

import csv
import io
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import Any

from aiohttp import web

from central.console.page_api.live import message_body
from central.console.page_api.overview import last_value
from central.console.responses import (
    CENTRAL,
    answer,
    bad_request,
    find_device,
    iso,
    look_up,
    maybe_iso,
    query_number,
    to_json,
)
from central.errors import CentralError
from central.protocol.twins import parse_json
from central.records import Message
from central.storage import telemetry
from central.storage.store import Store

routes = web.RouteTableDef()

MOST_MESSAGES = 500
MOST_NAMES = 16
MOST_COLUMNS = 256
MOST_POINTS = 2000  # Of one series: more than a chart has pixels.
DAY = 86400.0
FAR = 1e11  # Seconds: later than any time that can be written.
AT_ONCE = 200  # Messages of a file that are in memory.

log = logging.getLogger(__name__)


def time_span(request: web.Request) -> tuple[float, float]:
    """Return what `since` and `until` in the query say, in unix seconds; without them, all time."""
    since = query_number(request, "since", 0, least=0, most=FAR)
    return since, query_number(request, "until", FAR, least=0, most=FAR)


@routes.get("/console/api/devices/{device}/messages")
async def list_messages(request: web.Request) -> web.Response:
    """Answer with messages, newest first: `limit`, `before` a number, `since` and `until`."""
    store, device_id = request.app[CENTRAL].store, request.match_info["device"]
    limit = int(query_number(request, "limit", 100, least=1, most=MOST_MESSAGES))
    before = int(query_number(request, "before", 2.0**53, least=1, most=2.0**53))
    since, until = time_span(request)
    messages = await look_up(
        lambda: store.read(
            telemetry.messages, device_id, limit=limit, before=before, since=since, until=until
        )
    )
    return answer({"value": [message_body(message) for message in messages]})


@routes.get("/console/api/devices/{device}/series")
async def get_series(request: web.Request) -> web.Response:
    """Answer with `times` (unix seconds) and `values` of each name asked, and its last value.

    `late` has the places of those that came late. A name in a component is `component*name`.
    """
    store, device = request.app[CENTRAL].store, await find_device(request)
    names = request.query.getall("name", [])
    if len(names) > MOST_NAMES:
        raise bad_request(f"At most {MOST_NAMES} names.", code="InvalidQuery")
    until = query_number(request, "until", time.time() + DAY, least=0, most=FAR)
    since = query_number(request, "since", until - DAY, least=0, most=FAR)

    def series(name: str) -> dict[str, Any]:
        component, _, plain = name.rpartition("*")
        points = store.read(
            telemetry.series,
            device.id,
            plain,
            component=component or None,
            since=since,
            until=until,
            most=MOST_POINTS,
        )
        return {
            "times": [at for at, _, _ in points],
            "values": [value for _, value, _ in points],
            "late": [index for index, (_, _, late) in enumerate(points) if late],
            "last": last_value(store, device, name),
        }

    return answer(await look_up(lambda: {name: series(name) for name in names}))


@routes.get("/console/api/devices/{device}/sequence")
async def get_sequence(request: web.Request) -> web.Response:
    """Answer with how many messages made since `since` are here, and how many are missing.

    Known from the numbers at the end of message ids, where there are such; the newest source last.
    """
    store, device_id = request.app[CENTRAL].store, request.match_info["device"]
    since, _ = time_span(request)
    found = await look_up(lambda: store.read(telemetry.count_messages, device_id, since))
    return answer({"value": [asdict(each) for each in found]})


@routes.get("/console/api/devices/{device}/export")
async def export(request: web.Request) -> web.StreamResponse:
    """Send the messages of a time span as a file, oldest first: `format` is csv or jsonl.

    `column`s of the CSV are names of telemetry, `component*name` in components; what is in no
    column is in the last one, as JSON.
    """
    store, device = request.app[CENTRAL].store, await find_device(request)
    since, until = time_span(request)
    columns = request.query.getall("column", [])
    if len(columns) > MOST_COLUMNS:
        raise bad_request(f"At most {MOST_COLUMNS} columns.", code="InvalidQuery")
    kind = request.query.get("format")
    if kind not in {"csv", "jsonl"}:
        raise bad_request("format is csv or jsonl.", code="InvalidQuery")
    write = _json_lines if kind == "jsonl" else partial(_csv_lines, columns)
    response = web.StreamResponse()
    response.content_type = "text/csv" if kind == "csv" else "application/x-ndjson"
    response.charset = "utf-8"
    # A device id has no sign that means anything in a header or in the name of a file, but `:`.
    name = device.id.replace(":", "-")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    await response.prepare(request)
    try:
        if kind == "csv":
            names = [_cell(name) for name in columns]
            head = ["received", "taken", "late_s", "component", *names, "other", "properties"]
            await response.write(_csv([head]).encode())
        async for text in _pages(store, device.id, (since, until), write):
            await response.write(text.encode())
    except ConnectionError:
        pass  # The browser wants no more of it.
    except CentralError as error:
        log.warning("A file with messages of %s was broken off: %s", device.id, error)
        if request.transport is not None:
            request.transport.abort()  # Nothing else tells a browser that a file is not whole.
    return response


async def _pages(
    store: Store,
    device_id: str,
    span: tuple[float, float],
    write: Callable[[list[Message]], str],
) -> AsyncIterator[str]:
    """Write the messages of a time span, not too many at once, oldest first."""

    def page(after: int) -> tuple[str, int]:
        since, until = span
        messages = store.read(
            telemetry.messages_after, device_id, after, since=since, until=until, limit=AT_ONCE
        )
        return write(messages), messages[-1].number if messages else 0

    text, last = await look_up(lambda: page(0))
    while last:
        yield text
        text, last = await look_up(partial(page, last))


def _json_lines(messages: list[Message]) -> str:
    return "".join(to_json(_line(message)) + "\n" for message in messages)


def _line(message: Message) -> dict[str, Any]:
    return {
        "received": iso(message.received),
        "created": maybe_iso(message.created),
        "body": _body(message),
        "properties": message.properties,
        "system": message.system,
    }


def _csv_lines(columns: list[str], messages: list[Message]) -> str:
    return _csv(_row(message, columns) for message in messages)


def _row(message: Message, columns: list[str]) -> list[str]:
    """Write a message as a row; where the body is no JSON object, it is all in `other`."""
    body = _body(message)
    component = message.system.get("component", "")
    prefix = f"{component}*" if component else ""
    fields = {prefix + n: v for n, v in body.items()} if isinstance(body, dict) else {}
    other = {name: value for name, value in fields.items() if name not in columns}
    late = "" if message.created is None else f"{message.received - message.created:.3f}"
    return [
        iso(message.received),
        maybe_iso(message.created) or "",
        late,
        _cell(component),
        *[_cell(fields[name]) if name in fields else "" for name in columns],
        _cell((other or "") if isinstance(body, dict) else body),
        _cell({**message.system, **message.properties} or ""),
    ]


def _body(message: Message) -> Any:
    """Return the body as JSON, or as text if it is none."""
    try:
        return parse_json(message.body)
    except ValueError:
        return message.body.decode("utf-8", "replace")


def _cell(value: Any) -> str:
    """Write a value for a spreadsheet, which must not take a text from a device for a formula."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
    return to_json(value)


def _csv(rows: Iterable[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
