"""The console's server: paths, page and life cycle."""

import errno
import socket
from importlib import resources
from typing import TYPE_CHECKING

from aiohttp import web

from central.console.middleware import UNDER_WAY, add_headers, bound, guard
from central.console.page_api import faults, live, messages, overview, room
from central.console.responses import CENTRAL, LARGEST_BODY, Handler, errors_as_json
from central.console.rest import commands, devices, properties, templates
from central.errors import PortTaken, StartError, in_words

if TYPE_CHECKING:
    from central.application import Central

LOOPBACK = "127.0.0.1"
USUAL_PORT = 8080
PORTS_TRIED = 100
LAST_WORDS = 1.0  # Seconds that requests may take to end when the console is closed.

TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}


class Console:
    """A console that listens. `url` is where; `close` ends it."""

    def __init__(self, runner: web.AppRunner, port: int) -> None:
        self._runner = runner
        self.url = f"http://{LOOPBACK}:{port}/"

    async def close(self) -> None:
        """Stop listening and end what is under way."""
        await self._runner.cleanup()


async def start_console(central: "Central", *, port: int | None) -> Console:
    """Listen on 127.0.0.1, and there alone: the console has no passwords.

    `port` None is 8080 or the next one that is free; a port that is given and taken is a
    `PortTaken`.
    """
    listener = listen(port)
    runner = web.AppRunner(
        make_app(central), access_log=None, shutdown_timeout=LAST_WORDS, handle_signals=False
    )
    await runner.setup()
    await web.SockSite(runner, listener).start()
    return Console(runner, listener.getsockname()[1])


def make_app(central: "Central") -> web.Application:
    """Put the paths together."""
    app = web.Application(middlewares=[guard, bound, errors_as_json], client_max_size=LARGEST_BODY)
    app[CENTRAL] = central
    app[UNDER_WAY] = set()
    app[live.STREAMS] = set()
    app[faults.BENCH] = faults.Bench(central)
    for part in (devices, properties, commands, templates, live, overview, messages, room, faults):
        app.add_routes(part.routes)
    app.add_routes([web.get(path, handler) for path, handler in _page().items()])
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(live.close_streams)
    app.on_shutdown.append(faults.forget_timers)
    return app


def _page() -> dict[str, Handler]:
    """Read the page's files once; each is served under its name, index.html as /."""
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
    """Return a socket that listens. Raise StartError."""
    ports = range(USUAL_PORT, USUAL_PORT + PORTS_TRIED) if port is None else [port]
    for candidate in ports:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, candidate))
            listener.listen()  # Now: until somebody listens, Linux lets several bind.
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                sentence = f"Port {candidate} of {LOOPBACK} cannot be used: {in_words(error)}."
                raise StartError(sentence) from None
            continue
        listener.setblocking(False)
        return listener
    if port is None:
        raise StartError(f"No port from {USUAL_PORT} to {ports[-1]} is free for the console.")
    raise PortTaken(LOOPBACK, port, hint="stop that one, or give another port with --http-port")
