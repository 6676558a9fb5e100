"""What every path has in common: JSON out, JSON in with bounds, IoT Central's error body."""

import asyncio
import json
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from central import errors
from central.protocol.twins import parse_json
from central.storage import devices

if TYPE_CHECKING:
    from central.application import Central
    from central.records import Device

log = logging.getLogger(__name__)

LARGEST_BODY = 256 * 1024  # Bytes. A device template with a few hundred capabilities fits.

CENTRAL: "web.AppKey[Central]" = web.AppKey("central")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")


class RestError(errors.CentralError):
    """A request that is refused: `status` and `code` as IoT Central has them, and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str, *, code: str | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code or code_of(status)


def code_of(status: HTTPStatus) -> str:
    """Return IoT Central's word for a status."""
    return CODES.get(status) or status.phrase.title().replace(" ", "")


CODES = {
    HTTPStatus.BAD_REQUEST: "InvalidBody",
    HTTPStatus.CONFLICT: "InvalidState",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestTooLarge",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalError",
    HTTPStatus.GATEWAY_TIMEOUT: "Timeout",
}


def bad_request(sentence: str, *, code: str | None = None) -> RestError:
    """Make the refusal of a request that is malformed."""
    return RestError(HTTPStatus.BAD_REQUEST, sentence, code=code)


def not_found(sentence: str) -> RestError:
    """Make the refusal of a request for what is not there."""
    return RestError(HTTPStatus.NOT_FOUND, sentence)


def iso(seconds: float) -> str:
    """Write a time (unix seconds) as IoT Central does: UTC, milliseconds, `Z`."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def maybe_iso(seconds: float | None) -> str | None:
    """Write a time, or null for none."""
    return None if seconds is None else iso(seconds)


def to_json(value: Any) -> str:
    """Write JSON. A number that JSON has no word for (a device may have sent NaN) becomes null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None))


def answer(value: Any, *, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Answer with JSON."""
    return web.Response(text=to_json(value), status=status, content_type="application/json")


def refusal(status: int, code: str, sentence: str) -> web.Response:
    """Answer with IoT Central's error body."""
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
    errors.NotConnected: HTTPStatus.NOT_FOUND,
    errors.DeviceExists: HTTPStatus.CONFLICT,
    errors.QueueFull: HTTPStatus.CONFLICT,
    errors.NoAnswer: HTTPStatus.GATEWAY_TIMEOUT,
    errors.StoreError: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The statuses of what store and hub refuse; anything else they refuse is a bad request."""


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into an answer with IoT Central's error body."""
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
    except Exception:
        log.exception("The request %s %s failed.", request.method, request.path)
        sentence = "Central failed to answer this; its log says more."
        return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", sentence)


def _as_refusal(error: errors.CentralError) -> RestError:
    if isinstance(error, RestError):
        return error
    status = STATUS_OF.get(type(error), HTTPStatus.BAD_REQUEST)
    return RestError(status, str(error))


def _http_error(request: web.Request, error: web.HTTPException) -> tuple[str, str]:
    """Return code and sentence for what the HTTP server itself refuses."""
    status = HTTPStatus(error.status)
    sentences = {
        HTTPStatus.NOT_FOUND: f"There is nothing at {request.path}.",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.path} does not take {request.method}.",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"A body may have at most {LARGEST_BODY} bytes.",
    }
    return code_of(status), sentences.get(status, f"{status.phrase}.")


async def look_up(work: Callable[[], T]) -> T:
    """Do what only reads from the store, in a thread: the event loop is for the devices."""
    return await asyncio.to_thread(work)


async def find_device(request: web.Request) -> "Device":
    """Return the device that the path names, or raise UnknownDevice."""
    store = request.app[CENTRAL].store
    return await look_up(lambda: store.read(devices.get, request.match_info["device"]))


async def read_json(request: web.Request) -> Any:
    """Read the body: JSON as RFC 8259 has it, so no NaN, no Infinity, no half of a character."""
    body = await request.read()
    try:
        value = parse_json(body.decode())
        json.dumps(value, ensure_ascii=False).encode()  # "\\ud800" is JSON, but no text.
    except UnicodeError as error:
        raise bad_request("The body is not UTF-8 text.") from error
    except ValueError as error:
        raise bad_request(f"The body is not JSON: {error}.") from error
    return value


async def read_object(request: web.Request) -> dict[str, Any]:
    """Read a body that must be a JSON object."""
    value = await read_json(request)
    if not isinstance(value, dict):
        raise bad_request("The body must be a JSON object.")
    return value


def query_number(
    request: web.Request, name: str, default: float, *, least: float, most: float
) -> float:
    """Read a number from the query string, within bounds."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise bad_request(
            f"{name} must be a number from {least:g} to {most:g}, not {text[:40]!r}.",
            code="InvalidQuery",
        )
    return number
