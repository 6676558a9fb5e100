"""The console's server: paths, page and life cycle."""

import asyncio
import gzip
from collections import Counter
from collections.abc import Iterator
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING

from aiohttp import web

from central.console import metrics, page_api, rest
from central.console.addresses import Place, keep_certificate, open_place
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
from central.console.routes import Route
from central.console.sign_in import token_file
from central.console.sign_in.gate import NEEDS, SIGN_IN, SignIn, audit, gate
from central.console.sign_in.roles import Permission
from central.storage import accounts
from central.transport.listener import accept_clients
from central.transport.memory import give_memory_back

if TYPE_CHECKING:
    from central.application import Central

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

    def __init__(self, runner: web.AppRunner, place: Place, tasks: set[asyncio.Task[None]]) -> None:
        self._runner = runner
        self._place = place
        self._tasks = tasks
        self.url = place.url
        self.fingerprint = place.fingerprint

    async def close(self) -> None:
        """Stop listening and end open requests."""
        await self._runner.cleanup()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._place.socket.close()


async def start_console(central: "Central") -> Console:
    """Start the console where its settings say: elsewhere than on loopback, with TLS and sign-in.

    Raises `PortTaken` if a given port is in use, and `StartError` for any other reason not to
    listen.
    """
    settings = central.settings
    resource = await central.store.run(accounts.application_id)
    path = settings.data_dir / token_file.NAME
    token = await asyncio.to_thread(token_file.load_token, path, resource=resource)
    place = await open_place(central)
    sign_in = SignIn(
        place.site,
        required=place.context is not None,
        token_file=path,
        token=token,
        # Cookies do not keep the ports of a host apart.
        cookie=f"__Host-central-{place.port}",
        has_authority=place.fingerprint is not None,
        clock=settings.clock,
    )
    app = make_app(central, sign_in)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=SHUTDOWN_SECONDS,
        handle_signals=False,
        keepalive_timeout=KEEP_ALIVE,
        logger=HTTP_LOG,
    )
    # The application is frozen once the runner is set up, and the server is made only then.
    app[CONNECTIONS] = connections = Connections(partial(_handler, runner), place.context)
    await runner.setup()
    accepting = accept_clients(place.socket, connections.serve, name="console", pause=_at_once)
    tasks = {
        asyncio.create_task(accepting, name="central-console"),
        asyncio.create_task(give_memory_back(connections.admission), name="central-memory"),
        asyncio.create_task(keep_certificate(place, settings), name="central-certificate"),
    }
    return Console(runner, place, tasks)


def _handler(runner: web.AppRunner) -> asyncio.Protocol:
    if runner.server is None:
        raise ConnectionAbortedError("the console is being closed")
    return runner.server()


async def _at_once() -> None:
    """Accept the next client without a pause."""


def make_app(central: "Central", sign_in: SignIn) -> web.Application:
    """Create the application with all paths."""
    app = web.Application(
        middlewares=[note_request, guard, audit, errors_as_json, gate, read_body, bound],
        client_max_size=LARGEST_BODY,
    )
    app[CENTRAL] = central
    app[SIGN_IN] = sign_in
    app[LONG_LOOK_UPS] = LongLookUps(central.store)
    app[UNDER_WAY] = Counter()
    app[live.STREAMS] = {}
    app[faults.BENCH] = faults.Bench(central)
    app[NEEDS] = {}
    for route in [*rest.ROUTES, *page_api.ROUTES, *metrics.routes, *_page()]:
        _add(app, route)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(live.close_streams)
    app.on_shutdown.append(faults.cancel_timers)
    app.on_cleanup.append(_end_look_ups)
    return app


async def _end_look_ups(app: web.Application) -> None:
    app[LONG_LOOK_UPS].close()


def _add(app: web.Application, route: Route) -> None:
    methods = ["GET", "HEAD"] if route.method == "GET" and route.head else [route.method]
    for method in methods:
        added = app.router.add_route(method, route.path, route.handler)
        app[NEEDS][added] = route.needs


def _page() -> Iterator[Route]:
    """Read the page's files. Each is served under its name, and index.html at /."""
    for file in resources.files("central.console").joinpath("page").iterdir():
        suffix = file.name[file.name.rindex(".") :]
        if suffix in TYPES:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            handler = _serve(file.read_bytes(), TYPES[suffix])
            yield Route("GET", path, handler, Permission.PUBLIC)


def _serve(content: bytes, kind: str) -> Handler:
    packed = gzip.compress(content, mtime=0)

    async def handler(request: web.Request) -> web.StreamResponse:
        headers = {"Vary": "Accept-Encoding"}
        body = content
        if "gzip" in request.headers.get("Accept-Encoding", "").lower():
            headers["Content-Encoding"], body = "gzip", packed
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

    return handler
