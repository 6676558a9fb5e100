"""The Unix socket of the running daemon. Each request and each answer is one line of JSON.

    {"command": "status"}  ->  {"ok": true, "status": {...}}
    {"command": "led", "do": "blink", "seconds": 2}  ->  {"ok": true, "led": {...}}

The answer to a refused request is {"ok": false, "error": "a sentence"}.
"""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from agent.diagnostics import service_advice
from agent.errors import ControlError, NoDaemonError
from agent.logs.events import LogEvent
from agent.status import Status, status_from_json

log = logging.getLogger(__name__)

SOCKET_NAME = "control.sock"
MODE = 0o660  # The installer adds its caller to the service's group.
LONGEST_LINE = 64 * 1024  # Bytes.
PATIENCE = 30.0  # Seconds for each of these: receiving a request, handling it, sending the answer.
MOST_CLIENTS = 16

Request = Mapping[str, Any]
Handler = Callable[[Request], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def control_socket(path: Path, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
    """Answer requests on `path` during the block.

    A handler gets the request and returns what is added to {"ok": true}. If it raises ControlError
    or ValueError, the request is refused with that sentence. Raises ControlError if another daemon
    answers on `path`. If the socket cannot be created, for example on a read-only disk, a warning
    is logged and the block runs without it.
    """
    clients: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.add(writer)
        try:
            if len(clients) <= MOST_CLIENTS:
                await _serve(reader, writer, handlers)
            else:
                await _send(writer, _refusal("The control socket is busy. Try again in a minute."))
        except (ConnectionError, TimeoutError):
            log.debug("A client of the control socket has disconnected or timed out.")
        finally:
            clients.discard(writer)
            writer.close()

    if _answers(path):
        raise ControlError(f"Another sensor-agent answers at {path}. Stop it first.")
    server = None
    try:
        server = await asyncio.start_unix_server(serve, sock=_bind(path), limit=LONGEST_LINE)
    except OSError as error:
        log.warning(
            "Cannot create the control socket %s: %s. The commands status, read and led cannot "
            "reach this daemon.",
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
    """Return whether a daemon listens on `path`. After a crash the socket is left without one."""
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
            await _send(
                writer, _refusal(f"A request must not be longer than {LONGEST_LINE} bytes.")
            )
            return
        if not line:
            return
        await _send(writer, await _answer(line, handlers))


async def _send(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    async with asyncio.timeout(PATIENCE):
        await writer.drain()


async def _answer(line: bytes, handlers: Mapping[str, Handler]) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return _refusal("A request must be a JSON object on one line.")
    command = request.get("command") if isinstance(request, dict) else None
    handler = handlers.get(command) if isinstance(command, str) else None
    if handler is None:
        return _refusal(f"The command of a request must be one of {', '.join(handlers)}.")
    try:
        async with asyncio.timeout(PATIENCE):
            return {"ok": True, **await handler(request)}
    except (ControlError, ValueError) as error:
        return _refusal(str(error))
    except TimeoutError:
        return _refusal(f"{command} did not finish within {PATIENCE:g} s.")
    except Exception as error:
        log.exception("The request %s failed.", command, extra=LogEvent.REQUEST_FAILED.about())
        return _refusal(f"{command} failed: {error}")


def _remove(path: Path) -> None:
    with suppress(OSError):  # Stopping succeeds even on a read-only disk.
        path.unlink()


def _refusal(sentence: str) -> dict[str, Any]:
    return {"ok": False, "error": sentence}


def ask(path: Path, request: Request, *, timeout: float = PATIENCE) -> dict[str, Any]:
    """Send a request to the running daemon and return its answer. Blocks up to `timeout` seconds.

    Raises NoDaemonError if no daemon listens, and ControlError if it refuses or does not answer.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            with suppress(BrokenPipeError):  # A busy daemon answers without reading the request.
                connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
    except PermissionError as error:
        group = service_advice.group_of(path)
        raise ControlError(
            f"Permission denied: {path} belongs to the group {group}.",
            service_advice.how_to_join(group),
        ) from error
    except TimeoutError as error:
        raise ControlError(f"The daemon did not answer at {path} within {timeout:g} s.") from error
    except OSError as error:
        raise NoDaemonError(
            f"No daemon answers at {path}.", service_advice.how_to_start()
        ) from error
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise ControlError(
            f"The daemon at {path} closed the connection without an answer."
        ) from error
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
