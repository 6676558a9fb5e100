"""Server-sent events: what happens, as it happens, for the page."""

import asyncio
import time
from http import HTTPStatus
from typing import Any

from aiohttp import web

from central.console.responses import CENTRAL, RestError, iso, maybe_iso, to_json
from central.records import Event, Message

routes = web.RouteTableDef()

MOST_STREAMS = 64
MOST_SHOWN = 16 * 1024  # Bytes of one message's body.
GATHERED = 0.3  # Seconds for which a list of all devices gathers what happens.
QUIET = 15.0  # Seconds after which a comment is sent, so that a browser that is gone is noticed.
RECONNECT = 1000  # Milliseconds after which a browser tries again.

STREAMS: web.AppKey[set[asyncio.Task[Any]]] = web.AppKey("streams")


def message_body(message: Message) -> dict[str, Any]:
    """Write a message for the page. What is no UTF-8 is shown with replacement characters.

    Of a very long body only the beginning is shown, and its `length`; the export has all of it.
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


@routes.get("/console/api/events", allow_head=False)
async def events(request: web.Request) -> web.StreamResponse:
    """Stream events: with `?device=` of that device alone, its messages whole.

    Else of every device, gathered for a moment; each says only what changed, and the page asks
    for the rest. After `lagged` the page has missed something and reads anew.
    """
    streams = request.app[STREAMS]
    if len(streams) >= MOST_STREAMS:
        raise RestError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{MOST_STREAMS} pages are open already; close one.",
            code="TooManyPages",
        )
    watched = request.query.get("device")
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a handler runs in one.
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    with request.app[CENTRAL].registry.subscribe(watched) as subscription:
        streams.add(task)
        try:
            await response.prepare(request)
            hello = {"now": iso(time.time())}
            await response.write(f"retry: {RECONNECT}\n{_frame('hello', hello)}".encode())
            while True:
                try:
                    async with asyncio.timeout(QUIET):
                        event = await anext(subscription)
                except TimeoutError:
                    frames = [": still here\n\n"]
                else:
                    if watched is None:
                        await asyncio.sleep(GATHERED)
                    frames = [_event_frame(e, watched) for e in (event, *subscription.waiting())]
                await response.write("".join(dict.fromkeys(frames)).encode())
        except ConnectionError:
            pass  # The page was closed.
        finally:
            streams.discard(task)
    return response


async def close_streams(app: web.Application) -> None:
    """End the streams, so that the server need not wait for pages to be closed."""
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
