"""The console's server: paths, page and life cycle."""

import asyncio
import errno
import socket
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING

from aiohttp import web

from central.console import metrics, page_api, rest
from central.console.connections import (
    CONNECTIONS,
    HTTP_LOG,
    KEEP_ALIVE,
    Connections,
    note_request,
    read_body,
)
from central.console.middleware import UNDER_WAY, add_headers, bound, guard
from central.console.page_api import faults, live
from central.console.responses import (
    CENTRAL,
    LARGEST_BODY,
    LONG_LOOK_UPS,
    Handler,
    LongLookUps,
    errors_as_json,
)
from central.errors import PortTaken, StartError, in_words
from central.transport.listener import accept_clients

if TYPE_CHECKING:
    from central.application import Central

LOOPBACK = "127.0.0.1"
USUAL_PORT = 8080
PORTS_TRIED = 100
SHUTDOWN_SECONDS = 1.0  # For requests to end when the console is closed.

TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}


class Console:
    """A console that listens at `url` until `close`."""

    def __init__(
        self, runner: web.AppRunner, listener: socket.socket, accepting: asyncio.Task[None]
    ) -> None:
        self._runner = runner
        self._listener = listener
        self._accepting = accepting
        self.url = f"http://{LOOPBACK}:{listener.getsockname()[1]}/"

    async def close(self) -> None:
        """Stop listening and end open requests."""
        await self._runner.cleanup()
        self._accepting.cancel()
        await asyncio.wait([self._accepting])
        self._listener.close()


async def start_console(central: "Central", *, port: int | None) -> Console:
    """Start the console on 127.0.0.1 only, because it has no passwords.

    With `port` None, use 8080 or the next free port. Raises `PortTaken` if a given port is in use,
    and `StartError` for any other reason not to listen.
    """
    listener = listen(port)
    app = make_app(central)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
        handle_signals=False,
        keepalive_timeout=KEEP_ALIVE,
        logger=HTTP_LOG,
    )
    # The application is frozen once the runner is set up, and the server is made only then.
    app[CONNECTIONS] = connections = Connections(partial(_handler, runner))
    await runner.setup()
    accepting = asyncio.create_task(
        accept_clients(listener, connections.serve, name="console", pause=_at_once),
        name="central-console",
    )
    return Console(runner, listener, accepting)


def _handler(runner: web.AppRunner) -> asyncio.Protocol:
    if runner.server is None:
        raise ConnectionAbortedError("the console is being closed")
    return runner.server()


async def _at_once() -> None:
    """Accept the next client without a pause."""


def make_app(central: "Central") -> web.Application:
    """Create the application with all paths."""
    app = web.Application(
        middlewares=[note_request, guard, bound, errors_as_json, read_body],
        client_max_size=LARGEST_BODY,
    )
    app[CENTRAL] = central
    app[LONG_LOOK_UPS] = LongLookUps(central.store)
    app[UNDER_WAY] = set()
    app[live.STREAMS] = set()
    app[faults.BENCH] = faults.Bench(central)
    app.add_routes([*rest.ROUTES, *page_api.ROUTES, *metrics.routes])
    app.add_routes([web.get(path, handler) for path, handler in _page().items()])
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(live.close_streams)
    app.on_shutdown.append(faults.cancel_timers)
    app.on_cleanup.append(_end_look_ups)
    return app


async def _end_look_ups(app: web.Application) -> None:
    app[LONG_LOOK_UPS].close()


def _page() -> dict[str, Handler]:
    """Read the page's files. Each is served under its name, and index.html at /."""
    files = {}
    for file in resources.files("central.console").joinpath("page").iterdir():
        suffix = file.name[file.name.rindex(".") :]
        if suffix in TYPES:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            files[path] = _serve(file.read_bytes(), TYPES[suffix])
    return files


def _serve(content: bytes, kind: str) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=content, content_type=kind, charset="utf-8")

    return handler


def listen(port: int | None) -> socket.socket:
    """Return a listening socket. Raises StartError."""
    ports = range(USUAL_PORT, USUAL_PORT + PORTS_TRIED) if port is None else [port]
    for candidate in ports:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, candidate))
            listener.listen()  # Now, because Linux lets several processes bind until one listens.
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                raise StartError(
                    f"Port {candidate} of {LOOPBACK} cannot be used: {in_words(error)}. Choose "
                    "another one with --http-port."
                ) from None
            continue
        listener.setblocking(False)
        return listener
    if port is None:
        raise StartError(f"No port from {USUAL_PORT} to {ports[-1]} is free for the console.")
    raise PortTaken(LOOPBACK, port, hint="stop that program, or give another port with --http-port")
