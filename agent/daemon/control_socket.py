"""A unix socket where the running daemon can be asked: one JSON object a line, each way.

    {"command": "status"}  ->  {"ok": true, "status": {...}}
    {"command": "led", "do": "blink", "seconds": 2}  ->  {"ok": true, "led": {...}}

Whatever is refused is answered {"ok": false, "error": "a sentence"}.
"""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from agent.errors import ControlError, NoDaemonError
from agent.logs.events import LogEvent
from agent.status import Status, status_from_json

log = logging.getLogger(__name__)

SOCKET_NAME = "control.sock"
MODE = 0o660  # The service's group may ask; the installer adds its caller to it.
LONGEST_LINE = 64 * 1024  # Bytes.
PATIENCE = 30.0  # Seconds for a client to say something, for a request, and for its answer.
MOST_CLIENTS = 16

Request = Mapping[str, Any]
Handler = Callable[[Request], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def control_socket(path: Path, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
    """Answer on `path` while the block lasts.

    A handler is given the request and returns what is added to {"ok": true}; a ControlError or
    ValueError from it is the refusal. Raises ControlError if another daemon answers there. Where
    the socket cannot be made that is logged, and the block goes on without: a disk that has
    become read-only must not end the readings.
    """
    clients: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.add(writer)
        try:
            if len(clients) <= MOST_CLIENTS:
                await _serve(reader, writer, handlers)
            else:
                await _tell(writer, _refusal("Too many ask this daemon; try again in a minute."))
        except (ConnectionError, TimeoutError):
            log.debug("A client of the control socket went away.")
        finally:
            clients.discard(writer)
            writer.close()

    if _answers(path):
        raise ControlError(f"Another sensor-agent answers at {path}; stop that one first.")
    server = None
    try:
        server = await asyncio.start_unix_server(serve, sock=_bind(path), limit=LONGEST_LINE)
    except OSError as error:
        log.warning(
            "The control socket %s cannot be made: %s. Nobody can ask this daemon for its status.",
            path,
            error.strerror or error,
            extra=LogEvent.CONTROL_SOCKET_FAILED.about(),
        )
    try:
        yield
    finally:
        if server is not None:
            server.close()
            _remove(path)
        for writer in list(clients):
            writer.close()


def _bind(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(MODE)
    except OSError:
        listener.close()
        raise
    return listener


def _answers(path: Path) -> bool:
    """Tell whether somebody listens; a socket left by a crash does not."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handlers: Mapping[str, Handler]
) -> None:
    while True:
        try:
            async with asyncio.timeout(PATIENCE):
                line = await reader.readline()
        except ValueError:
            await _tell(writer, _refusal(f"A request may have at most {LONGEST_LINE} bytes."))
            return
        if not line:
            return
        await _tell(writer, await _answer(line, handlers))


async def _tell(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    async with asyncio.timeout(PATIENCE):
        await writer.drain()


async def _answer(line: bytes, handlers: Mapping[str, Handler]) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return _refusal("A request is one JSON object on a line.")
    command = request.get("command") if isinstance(request, dict) else None
    handler = handlers.get(command) if isinstance(command, str) else None
    if handler is None:
        return _refusal(f"A request names one of these as its command: {', '.join(handlers)}.")
    try:
        async with asyncio.timeout(PATIENCE):
            return {"ok": True, **await handler(request)}
    except (ControlError, ValueError) as error:
        return _refusal(str(error))
    except TimeoutError:
        return _refusal(f"{command} took too long.")
    except Exception as error:
        log.exception("The request %s failed.", command, extra=LogEvent.REQUEST_FAILED.about())
        return _refusal(f"{command} failed: {error}")


def _remove(path: Path) -> None:
    with suppress(OSError):  # A disk that has become read-only must not make a failure of a stop.
        path.unlink()


def _refusal(sentence: str) -> dict[str, Any]:
    return {"ok": False, "error": sentence}


def ask(path: Path, request: Request, *, timeout: float = PATIENCE) -> dict[str, Any]:
    """Ask the running daemon, and return its answer. Blocks for at most `timeout` seconds.

    Raises ControlError if no daemon answers, or with the reason if it refuses.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            with suppress(BrokenPipeError):  # Too many ask: that is answered before the question.
                connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
    except PermissionError as error:
        raise ControlError(
            f"The running daemon may not be asked by you: {path} is for its group. Use sudo, or "
            f"join the group of that file."
        ) from error
    except TimeoutError as error:
        raise ControlError(f"The daemon did not answer at {path} within {timeout:g} s.") from error
    except OSError as error:
        raise NoDaemonError(f"No daemon answers at {path}.") from error
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise ControlError(f"The daemon went away while it was asked at {path}.") from error
    if not answer.get("ok"):
        raise ControlError(str(answer.get("error")))
    return answer


def read_status(answer: Mapping[str, Any]) -> Status:
    """Return the status in the running daemon's answer.

    Raises ControlError if this version cannot read it.
    """
    try:
        return status_from_json(answer.get("status"))
    except ValueError as error:
        raise ControlError(
            f"The running daemon's status cannot be read, because {error}. Restart the daemon so "
            "that it runs the installed version: sudo systemctl restart sensor-agent"
        ) from error
