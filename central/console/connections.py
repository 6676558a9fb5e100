"""The console's connections: how many there are, and how long each may take to send a request.

aiohttp would accept any number of them, and wait without end for the rest of a request.
"""

import asyncio
import logging
import socket
import ssl
import time
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from central.console.responses import Handler, RestError
from central.console.sign_in.gate import ACCESS
from central.transport.admission import Admission, Room, Turns, Waiting
from central.transport.listener import has_begun

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_REQUEST = 15.0  # Seconds for TLS and the head of the first request, after its first byte.
KEEP_ALIVE = 75.0  # Seconds until a connection without requests is closed.
BODY = 30.0  # Seconds for the body of a request.
MAX_OPEN = 512  # Connections that have sent a request.
MAX_BODIES = 128  # Requests whose body is still arriving.
LARGEST_OF_STRANGERS = 16_384  # Bytes of a body from somebody who has not signed in yet.
LONGEST_REASON = 200  # Characters in the log.

log = logging.getLogger(__name__)


class Connections:
    """Accepts the clients of an HTTP server, over TLS if there is a `context`."""

    def __init__(
        self, server: "Callable[[], asyncio.Protocol]", context: ssl.SSLContext | None = None
    ) -> None:
        self._server = server
        self._context = context
        self.admission = Admission(time.monotonic)
        self._turns = Turns()
        self._open = Room(MAX_OPEN)
        self.bodies = Room(MAX_BODIES)
        self._waiting: dict[object, tuple[Waiting, asyncio.TimerHandle]] = {}

    async def serve(self, client: socket.socket) -> None:
        """Serve one client until its connection ends."""
        try:
            address = str(client.getpeername()[0])
        except OSError:
            return  # It has disconnected already.
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one.
        with self.admission.entering(address, task.cancel) as waiting:
            if not await has_begun(client):
                return
            if self._context is not None:
                await self._turns.take(is_known=waiting.is_known)
            waiting.enter(self.admission.waiting)
            try:
                await self._serve(client, waiting)
            except OSError as error:
                log.info("The connection of a browser at %s failed: %s.", address, error)

    async def _serve(self, client: socket.socket, waiting: Waiting) -> None:
        handler = self._server()
        protocol = _Watched(handler)
        loop = asyncio.get_running_loop()
        limit: dict[str, Any] = {}
        if self._context is not None:
            limit = {"ssl": self._context, "ssl_handshake_timeout": FIRST_REQUEST}
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, **limit)
        deadline = loop.call_later(FIRST_REQUEST, transport.abort)
        self._waiting[handler] = waiting, deadline
        try:
            await protocol.ended.wait()
        finally:
            deadline.cancel()
            self._waiting.pop(handler, None)
            transport.abort()

    def note_request(self, request: web.Request) -> None:
        """Note that the head of a request is complete."""
        if found := self._waiting.pop(request.protocol, None):
            waiting, deadline = found
            deadline.cancel()
            waiting.enter(self._open)


class _Watched(asyncio.Protocol):
    """Passes everything on to another protocol; `ended` is set at the end of the connection."""

    def __init__(self, to: asyncio.Protocol) -> None:
        self._to = to
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._to.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        self._to.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._to.data_received(data)

    def eof_received(self) -> bool | None:
        return self._to.eof_received()

    def pause_writing(self) -> None:
        self._to.pause_writing()

    def resume_writing(self) -> None:
        self._to.resume_writing()


CONNECTIONS: web.AppKey[Connections] = web.AppKey("connections")


@web.middleware
async def note_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note that a connection has sent a request, so that it may stay open."""
    if (connections := request.app.get(CONNECTIONS)) is not None:
        connections.note_request(request)
    return await handler(request)


@web.middleware
async def read_body(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Read the whole body before anything else, and refuse it with 408 if it takes too long.

    If too many are arriving, one of the address with the most of them ends, with its connection.
    """
    if request.can_read_body:
        with ExitStack() as stack:
            if (connections := request.app.get(CONNECTIONS)) is not None:
                address, end = request.remote or "unknown", partial(_abort, request)
                stack.enter_context(
                    connections.admission.entering(address, end, connections.bodies)
                )
            await _read(request)
    return await handler(request)


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _read(request: web.Request) -> None:
    # The limit for signed-in users is aiohttp's `client_max_size`.
    length = request.content_length
    if ACCESS.get().identity is None and (length is None or length > LARGEST_OF_STRANGERS):
        raise RestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"Before signing in, a body needs a Content-Length of at most {LARGEST_OF_STRANGERS}.",
        )
    try:
        async with asyncio.timeout(BODY):
            await request.read()
    except TimeoutError:
        sentence = f"The body did not arrive within {BODY:g} s."
        raise RestError(HTTPStatus.REQUEST_TIMEOUT, sentence) from None


class OneLine(logging.Filter):
    """Logs malformed HTTP as one line with its reason, in place of a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, web.RequestPayloadError):
            return False  # It is logged where the body is read.
        if isinstance(error, HttpProcessingError):
            client = record.args[0] if isinstance(record.args, tuple) and record.args else "unknown"
            lines = str(error.message).splitlines() or [type(error).__name__]
            # After a colon, aiohttp quotes the request, which may have a cookie or a token.
            reason = lines[0].partition(":")[0][:LONGEST_REASON].rstrip(". ")
            record.msg = "Refused a malformed HTTP request from %s: %s."
            record.args = (client, reason)
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.exc_info = record.exc_text = None
        return True


HTTP_LOG = logging.getLogger(f"{__name__}.http")
HTTP_LOG.addFilter(OneLine())
