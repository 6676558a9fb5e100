"""What all paths share: JSON responses, bounded JSON bodies, and IoT Central's error body."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from aiohttp import web

from central import errors
from central.protocol.twins import parse_json
from central.records import iso
from central.storage import devices
from central.storage.store import LONG_READERS, Query, Store

if TYPE_CHECKING:
    from central.application import Central
    from central.records import Device

log = logging.getLogger(__name__)

LARGEST_BODY = 256 * 1024  # Bytes: enough for a template with hundreds of capabilities.

CENTRAL: "web.AppKey[Central]" = web.AppKey("central")
LONG_LOOK_UPS: "web.AppKey[LongLookUps]" = web.AppKey("long look-ups")

MAKER = web.RequestKey("maker", str)
"""Who makes a request: a user or an API token, or an address before it has signed in."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")
P = ParamSpec("P")


class RestError(errors.CentralError):
    """A refused request, with IoT Central's `status` and `code` and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str, *, code: str | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code or code_of(status)


def code_of(status: HTTPStatus) -> str:
    """Return IoT Central's error code for a status."""
    return CODES.get(status) or status.phrase.title().replace(" ", "")


CODES = {
    HTTPStatus.BAD_REQUEST: "InvalidBody",
    HTTPStatus.CONFLICT: "InvalidState",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestTooLarge",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalError",
    HTTPStatus.GATEWAY_TIMEOUT: "Timeout",
}


def bad_request(sentence: str, *, code: str | None = None) -> RestError:
    """Return the error for a malformed request."""
    return RestError(HTTPStatus.BAD_REQUEST, sentence, code=code)


def not_found(sentence: str) -> RestError:
    """Return the error for something that does not exist."""
    return RestError(HTTPStatus.NOT_FOUND, sentence)


def maybe_iso(seconds: float | None) -> str | None:
    """Format a time, or return None for None."""
    return None if seconds is None else iso(seconds)


def to_json(value: Any) -> str:
    """Return JSON. NaN and infinity, which devices may send, become null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None))


def answer(value: Any, *, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Return a JSON response."""
    return web.Response(text=to_json(value), status=status, content_type="application/json")


def refusal(status: int, code: str, sentence: str) -> web.Response:
    """Return a response with IoT Central's error body."""
    error = {
        "code": code,
        "message": sentence,
        "requestId": str(uuid.uuid4()),
        "time": iso(time.time()),
    }
    response = answer({"error": error}, status=HTTPStatus(status))
    response.headers["x-ms-error-code"] = code
    return response


STATUS_OF = {
    errors.UnknownDevice: HTTPStatus.NOT_FOUND,
    errors.UnknownTemplate: HTTPStatus.NOT_FOUND,
    errors.UnknownRule: HTTPStatus.NOT_FOUND,
    errors.UnknownAlert: HTTPStatus.NOT_FOUND,
    errors.NotConnected: HTTPStatus.NOT_FOUND,
    errors.DeviceExists: HTTPStatus.CONFLICT,
    errors.QueueFull: HTTPStatus.CONFLICT,
    errors.ModelTooLarge: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NoAnswer: HTTPStatus.GATEWAY_TIMEOUT,
    errors.StoreError: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The status for each error of store and hub. All others are bad requests."""


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn any exception of a handler into a response with IoT Central's error body."""
    try:
        return await handler(request)
    except errors.CentralError as error:
        refused = _as_refusal(error)
        return refusal(refused.status, refused.code, str(refused))
    except web.HTTPException as error:
        response = refusal(error.status, *_http_error(request, error))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except (web.RequestPayloadError, ConnectionError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        log.info("The body of a request to %s cannot be read: %s.", request.path, reason)
        return refusal(HTTPStatus.BAD_REQUEST, "InvalidBody", "The body cannot be read.")
    except Exception:
        log.exception("The request %s %s failed.", request.method, request.path)
        sentence = "Internal error of central. See its log."
        return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", sentence)


def _as_refusal(error: errors.CentralError) -> RestError:
    if isinstance(error, RestError):
        return error
    status = STATUS_OF.get(type(error), HTTPStatus.BAD_REQUEST)
    return RestError(status, str(error))


def _http_error(request: web.Request, error: web.HTTPException) -> tuple[str, str]:
    """Return code and sentence for an error of the HTTP server itself."""
    status = HTTPStatus(error.status)
    sentences = {
        HTTPStatus.NOT_FOUND: f"Nothing found at {request.path}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"Method {request.method} is not allowed for {request.path}",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"A body can have at most {LARGEST_BODY} bytes.",
    }
    return code_of(status), sentences.get(status, f"{status.phrase}.")


async def look_up(request: web.Request, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a query that only reads, in a thread, to keep the event loop responsive."""
    store = request.app[CENTRAL].store
    return await asyncio.to_thread(lambda: store.read(query, *args, **kwargs))


class LongLookUps:
    """Runs queries that may take seconds, in threads of their own.

    Equal ones at the same time are run once: pages that show the same ask the same. Of one user, as
    many are run or waiting for a thread as there are threads: others wait for no more than these.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(LONG_READERS, thread_name_prefix="central-long")
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def run(self, maker: str, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a query. It may be another caller's, too, so leave it unchanged.

        `maker` is the user who asks. All arguments must be hashable.
        """
        key = query, args, tuple(sorted(kwargs.items()))
        under_way: asyncio.Task[T] | None = self._under_way.get(key)
        if under_way is None:
            look_up = partial(self._store.read_long, query, *args, **kwargs)
            under_way = asyncio.create_task(self._in_turn(maker, look_up))
            self._under_way[key] = under_way
            under_way.add_done_callback(lambda done: self._forget(key, done))
        # A caller that is cancelled does not take the result away from the others.
        return await asyncio.shield(under_way)

    async def _in_turn(self, maker: str, look_up: Callable[[], T]) -> T:
        turns = self._turns.get(maker) or asyncio.Semaphore(LONG_READERS)
        self._turns[maker] = turns  # Until the last of the user's look-ups ends.
        async with turns:
            return await asyncio.get_running_loop().run_in_executor(self._threads, look_up)

    def _forget(self, key: Hashable, done: asyncio.Task[Any]) -> None:
        del self._under_way[key]
        if not done.cancelled():
            done.exception()  # Perhaps no caller is left to raise it to.

    def close(self) -> None:
        """Drop the queries that wait."""
        for task in self._under_way.values():
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)


async def look_up_long(
    request: web.Request, query: Query[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a query that may read all messages of a device. Short queries do not wait for it.

    See `LongLookUps.run`.
    """
    return await request.app[LONG_LOOK_UPS].run(request[MAKER], query, *args, **kwargs)


async def find_device(request: web.Request) -> "Device":
    """Return the device in the path. Raises UnknownDevice."""
    return await look_up(request, devices.get, request.match_info["device"])


async def read_json(request: web.Request) -> Any:
    """Return the body, which must be JSON by RFC 8259: no NaN, Infinity or lone surrogates."""
    body = await request.read()
    try:
        value = parse_json(body.decode())
        json.dumps(value, ensure_ascii=False).encode()  # "\\ud800" is JSON, but not text.
    except UnicodeError as error:
        raise bad_request("The body is not UTF-8 text.") from error
    except ValueError as error:
        raise bad_request(f"The body is not JSON: {error}.") from error
    return value


async def read_object(request: web.Request) -> dict[str, Any]:
    """Return the body, which must be a JSON object."""
    value = await read_json(request)
    if not isinstance(value, dict):
        raise bad_request("The body must be a JSON object.")
    return value


def query_number(
    request: web.Request, name: str, default: float, *, least: float, most: float
) -> float:
    """Return a number from the query string. Raises RestError outside of its range."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        number: object = float(text)
    except ValueError:
        number = text
    return checked_number(number, name, least=least, most=most, code="InvalidQuery")


def checked_number(
    value: object, name: str, *, least: float, most: float, code: str | None = None
) -> float:
    """Return a JSON value that must be a number in a range. Raises RestError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
        return float(value)
    found = str(value)[:40]
    raise bad_request(
        f"{name} must be a number from {least:g} to {most:g}, not {found!r}.", code=code
    )
