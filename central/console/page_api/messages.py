"""Messages for the page: the table, the charts, what is missing, and the export."""

import csv
import io
import logging
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import Any

from aiohttp import web

from central.console.page_api.devices import last_value
from central.console.page_api.live import message_body
from central.console.responses import (
    answer,
    bad_request,
    find_device,
    look_up,
    look_up_long,
    maybe_iso,
    query_number,
    to_json,
)
from central.console.routes import Routes
from central.console.sign_in.roles import Permission
from central.errors import CentralError
from central.protocol.twins import parse_json
from central.records import Device, Message, iso
from central.storage import completeness, series, telemetry

routes = Routes()

MOST_MESSAGES = 500
MOST_NAMES = 16
MOST_COLUMNS = 256
MOST_POINTS = 2000  # Of one series. A chart has fewer pixels.
STEPS = 1000  # In the time that a chart shows, at least.
DAY = 86400.0
FAR = 1e11  # Seconds: later than any time that `iso` can format.
AT_ONCE = 200  # Exported messages in memory.

log = logging.getLogger(__name__)


def time_span(request: web.Request) -> tuple[float, float]:
    """Return `since` and `until` of the query in unix seconds, by default all time."""
    since = query_number(request, "since", 0, least=0, most=FAR)
    return since, query_number(request, "until", FAR, least=0, most=FAR)


@routes.on("GET", "/console/api/devices/{device}/messages", needs=Permission.VIEW)
async def list_messages(request: web.Request) -> web.Response:
    """Return messages, newest first. The query has `limit`, `before` (a number) and a time span."""
    limit = int(query_number(request, "limit", 100, least=1, most=MOST_MESSAGES))
    before = int(query_number(request, "before", 2.0**53, least=1, most=2.0**53))
    since, until = time_span(request)
    messages = await look_up_long(
        request,
        telemetry.messages,
        request.match_info["device"],
        limit=limit,
        before=before,
        since=since,
        until=until,
    )
    return answer({"value": [message_body(message) for message in messages]})


@routes.on("GET", "/console/api/devices/{device}/series", needs=Permission.VIEW)
async def get_series(request: web.Request) -> web.Response:
    """Return `times` (unix seconds), `values` and the last value of each `name` in the query.

    The nearest value on each side of the time span is included. `late` has the indexes of late
    values, `gaps` those of values before which the line is interrupted. `interval` is the usual
    pause between the last values, in seconds, and `keptSince` the time of the oldest one. A name in
    a component is `component*name`.
    """
    device = await find_device(request)
    names = tuple(request.query.getall("name", []))
    if len(names) > MOST_NAMES:
        raise bad_request(f"At most {MOST_NAMES} names are allowed.", code="InvalidQuery")
    until = query_number(request, "until", time.time() + DAY, least=0, most=FAR)
    since = query_number(request, "since", until - DAY, least=0, most=FAR)

    span = whole_steps(since, until, time.time())
    return answer(await look_up_long(request, _series, device, names, span))


def whole_steps(since: float, until: float, now: float) -> tuple[float, float]:
    """Widen a span to whole steps of at most a thousandth of it, in seconds.

    So pages that show the same period at about the same time ask for the same.
    """
    shown = min(until, now) - since
    if shown <= 0:
        return since, until
    step = 2.0 ** math.floor(math.log2(shown / STEPS))
    return math.floor(since / step) * step, math.ceil(until / step) * step


@routes.on("GET", "/console/api/devices/{device}/completeness", needs=Permission.VIEW)
async def get_completeness(request: web.Request) -> web.Response:
    """Return how many messages were received, and which ones are missing or were dropped.

    Counted from the message ids `<run>:<number>` since the time `since`; see
    `central.storage.completeness`. `lost` has a number and `gaps` some ranges for each reason.
    """
    found = await look_up(request, completeness.completeness, request.match_info["device"])
    return answer(
        {
            "since": maybe_iso(found.since),
            "received": found.received,
            "late": found.late,
            "duplicates": found.duplicates,
            "startUnknown": found.start_unknown,
            "lost": found.lost,
            "gaps": [
                asdict(gap) | {"after": maybe_iso(gap.after), "before": maybe_iso(gap.before)}
                for gap in found.gaps
            ],
        }
    )


@routes.on("GET", "/console/api/devices/{device}/export", needs=Permission.VIEW)
async def export(request: web.Request) -> web.StreamResponse:
    """Send the messages of a time span as a file, oldest first. `format` is csv or jsonl.

    `column` is the name of telemetry (`component*name` in a component) with a column of its own in
    the CSV. Other fields are in the column `other`, as JSON.
    """
    device = await find_device(request)
    since, until = time_span(request)
    columns = request.query.getall("column", [])
    if len(columns) > MOST_COLUMNS:
        raise bad_request(f"At most {MOST_COLUMNS} columns are allowed.", code="InvalidQuery")
    kind = request.query.get("format")
    if kind not in {"csv", "jsonl"}:
        raise bad_request("format must be csv or jsonl.", code="InvalidQuery")
    write = _json_lines if kind == "jsonl" else partial(_csv_lines, columns)
    response = web.StreamResponse()
    response.content_type = "text/csv" if kind == "csv" else "application/x-ndjson"
    response.charset = "utf-8"
    # The only special character in a device id, for a header or a file name, is `:`.
    name = device.id.replace(":", "-")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    await response.prepare(request)
    try:
        if kind == "csv":
            names = [_cell(name) for name in columns]
            head = ["received", "taken", "late_s", "component", *names, "other", "properties"]
            await response.write(_csv([head]).encode())
        async for text in _pages(request, device.id, (since, until), write):
            await response.write(text.encode())
    except ConnectionError:
        pass  # The browser closed the connection.
    except CentralError as error:
        log.warning("The export of messages of %s was aborted: %s", device.id, error)
        if request.transport is not None:
            request.transport.abort()  # Only this shows the browser that the file is incomplete.
    return response


def _series(
    db: sqlite3.Connection, device: Device, names: tuple[str, ...], span: tuple[float, float]
) -> dict[str, Any]:
    answers = {}
    for name in names:
        component, _, plain = name.rpartition("*")
        found = series.series(
            db,
            device.id,
            plain,
            component=component or None,
            since=span[0],
            until=span[1],
            most=MOST_POINTS,
        )
        answers[name] = {
            "times": [point.time for point in found.points],
            "values": [point.value for point in found.points],
            "late": [at for at, point in enumerate(found.points) if point.late],
            "gaps": [at for at, point in enumerate(found.points) if point.after_gap],
            "interval": found.interval,
            "keptSince": found.kept_since,
            "last": last_value(db, device, name),
        }
    return answers


async def _pages(
    request: web.Request,
    device_id: str,
    span: tuple[float, float],
    write: Callable[[list[Message]], str],
) -> AsyncIterator[str]:
    """Yield the messages of a time span as text, oldest first, a page at a time."""
    since, until = span

    def page(db: sqlite3.Connection, after: int) -> tuple[str, int]:
        messages = telemetry.messages_after(
            db, device_id, after, since=since, until=until, limit=AT_ONCE
        )
        return write(messages), messages[-1].number if messages else 0

    text, last = await look_up_long(request, page, 0)
    while last:
        yield text
        text, last = await look_up_long(request, page, last)


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
    """Return a message as a row. A body that is not a JSON object is in `other`."""
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
    """Return the body as JSON, or else as text."""
    try:
        return parse_json(message.body)
    except ValueError:
        return message.body.decode("utf-8", "replace")


def _cell(value: Any) -> str:
    """Return a value as a cell, quoted if a spreadsheet would read it as a formula."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
    return to_json(value)


def _csv(rows: Iterable[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
