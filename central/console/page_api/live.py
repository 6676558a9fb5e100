"""Server-sent events for the page."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from aiohttp import web

from central.console.responses import CENTRAL, RestError, maybe_iso, to_json
from central.console.routes import Routes
from central.console.sign_in.gate import identify, still_may
from central.console.sign_in.roles import Permission
from central.records import Event, Message, iso

routes = Routes()

MOST_STREAMS = 128
MOST_SHOWN = 16 * 1024  # Bytes of a message's body.
GATHERED = 0.3  # Seconds for which events of all devices are gathered.
# Seconds after which `alive` is sent. Without it, neither side notices that the other is gone: a
# network that is unplugged ends no connection.
QUIET = 5.0
CHECKED_AGAIN = 15.0  # Seconds between two looks at whether the user may still see the events.
RECONNECT = 1000  # Milliseconds after which a browser reconnects.

STREAMS: web.AppKey[dict[asyncio.Task[Any], str]] = web.AppKey("streams")
"""The open streams with whose they are, the oldest first."""


def message_body(message: Message) -> dict[str, Any]:
    """Return a message for the page, with replacement characters for invalid UTF-8.

    A very long body is cut and has its `length` beside it. The export has the whole body.
    """
    shown = message.body[:MOST_SHOWN]
    cut = {} if len(message.body) <= MOST_SHOWN else {"length": len(message.body)}
    return {
        "number": message.number,
        "received": iso(message.received),
        "created": maybe_iso(message.created),
        "body": shown.decode("utf-8", errors="replace"),
        "properties": message.properties,
        "system": message.system,
        **cut,
    }


@routes.on("GET", "/console/api/events", needs=Permission.VIEW, head=False)
async def events(request: web.Request) -> web.StreamResponse:
    """Stream the events of one device (`?device=`) with its messages, or of all devices.

    Events of all devices are gathered for a moment, and name only what changed. After `lagged`,
    the page has missed events and reads everything again.
    """
    watched = request.query.get("device")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    identity = await identify(request)
    with (
        _counted(request.app[STREAMS], identity.sign_in or identity.name),
        request.app[CENTRAL].registry.subscribe(watched) as subscription,
    ):
        try:
            await response.prepare(request)
            hello = {"now": iso(time.time())}
            await response.write(f"retry: {RECONNECT}\n{_frame('hello', hello)}".encode())
            checked = time.monotonic()
            while True:
                if time.monotonic() - checked > CHECKED_AGAIN:
                    if not await still_may(request):
                        break  # The user signed out or was removed.
                    checked = time.monotonic()
                try:
                    async with asyncio.timeout(QUIET):
                        event = await anext(subscription)
                except TimeoutError:
                    frames = [_frame("alive", {})]
                else:
                    if watched is None:
                        await asyncio.sleep(GATHERED)
                    frames = [_event_frame(e, watched) for e in (event, *subscription.waiting())]
                await response.write("".join(dict.fromkeys(frames)).encode())
        except ConnectionError:
            pass  # The page was closed.
    return response


@contextmanager
def _counted(streams: dict[asyncio.Task[Any], str], user: str) -> Iterator[None]:
    """Count a stream of this user in the block.

    If there are too many, the oldest of the user with the most of them ends. If that is this user,
    raise RestError.
    """
    if len(streams) >= MOST_STREAMS:
        counts = Counter(streams.values())
        crowd = max(counts, key=counts.__getitem__)
        if counts[user] >= counts[crowd]:
            sentence = f"{MOST_STREAMS} pages are already open. Close one."
            raise RestError(HTTPStatus.SERVICE_UNAVAILABLE, sentence, code="TooManyPages")
        oldest = next(task for task, owner in streams.items() if owner == crowd)
        del streams[oldest]
        oldest.cancel()
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a handler runs in a task.
    streams[task] = user
    try:
        yield
    finally:
        streams.pop(task, None)


async def close_streams(app: web.Application) -> None:
    """End the streams: the server must not wait until the pages are closed."""
    streams = app[STREAMS]
    for task in list(streams):
        task.cancel()


def _event_frame(event: Event, watched: str | None) -> str:
    data: dict[str, Any] = {"device": event.device_id}
    if event.kind == "telemetry" and event.device_id == watched:
        data["message"] = message_body(event.data)
    return _frame(event.kind, data)


def _frame(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {to_json(data)}\n\n"
