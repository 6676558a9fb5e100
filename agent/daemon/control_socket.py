"""The Unix socket of the running daemon. Each request and each answer is one line of JSON.

    {"command": "status"}  ->  {"ok": true, "status": {...}}
    {"command": "led", "do": "blink", "seconds": 2}  ->  {"ok": true, "led": {...}}

The answer to a refused request is {"ok": false, "error": "a sentence"}. If the configuration has
mistakes, it has the key "mistakes", too: a list of sentences.
"""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Never

from agent.diagnostics import service_advice
from agent.errors import ConfigError, ControlError, NoDaemonError, in_words, phrase
from agent.logs.events import LogEvent
from agent.status import Status, status_from_json

log = logging.getLogger(__name__)

SOCKET_NAME = "control.sock"
MODE = 0o660  # Setup adds its caller to the service's group.
LONGEST_LINE = 64 * 1024  # Bytes.
PATIENCE = 30.0  # Seconds for each of these: receiving a request, handling it, sending the answer.
MOST_CLIENTS = 16
LOOK_EVERY = 60.0  # Seconds between two looks whether the socket is still there.
ACCEPT_PAUSE = 1.0  # Seconds before the next attempt if a client cannot be accepted.

Request = Mapping[str, Any]
Handler = Callable[[Request], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def control_socket(path: Path, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
    """Answer requests on `path` during the block.

    A handler gets the request and returns what is added to {"ok": true}. If it raises ControlError,
    ConfigError or ValueError, the request is refused with that sentence. Raises ControlError if
    another daemon answers on `path`. If the socket cannot be created, for example on a read-only
    disk, a warning is logged and the block runs without it.
    """
    if _answers(path):
        raise ControlError(f"Another sensor-agent answers at {path}. Stop it first.")
    clients, listener = _Clients(handlers), _listen(path)
    serving = asyncio.create_task(_serve(path, listener, clients), name="control socket")
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.wait({serving})
        if listener is not None:  # The task may not have begun.
            listener.close()
        _remove(path)
        await clients.disconnect()


async def _serve(path: Path, listener: socket.socket | None, clients: "_Clients") -> Never:
    """Accept clients until cancelled. Recreate a socket that is missing or was removed."""
    while True:
        if listener is not None:
            accepting = asyncio.create_task(_accept(listener, clients), name="accept")
            try:
                while not _is_missing(path):  # noqa: ASYNC110 - nothing announces its removal.
                    await asyncio.sleep(LOOK_EVERY)
            finally:
                accepting.cancel()
                await asyncio.wait({accepting})
                listener.close()
        else:
            await asyncio.sleep(LOOK_EVERY)
        listener = _listen(path, level=logging.DEBUG)


def _listen(path: Path, *, level: int = logging.WARNING) -> socket.socket | None:
    """Return a listening socket. If it cannot be created, log that at `level` and return None."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        path.unlink(missing_ok=True)
        with ExitStack() as on_failure:
            listener = on_failure.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
            path.chmod(MODE)
            listener.listen()
            listener.setblocking(False)
            on_failure.pop_all()
    except OSError as error:
        log.log(
            level,
            "Cannot create the control socket %s: %s. The commands status, read and led cannot "
            "reach this daemon until it can.",
            path,
            in_words(error),
            extra=LogEvent.CONTROL_SOCKET_FAILED.about(),
        )
        return None
    return listener


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:  # The disk fails.
        return False
    return False


def _answers(path: Path) -> bool:
    """Return whether a daemon listens on `path`. After a crash the socket is left without one."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(str(path))
    except OSError:
        return False
    return True


async def _accept(listener: socket.socket, clients: "_Clients") -> Never:
    """Accept clients until cancelled.

    Not asyncio's own server: when file descriptors are exhausted, it logs thousands of lines.
    """
    failing = False
    while True:
        try:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            await clients.add(connection)
        except OSError as error:
            log.log(
                logging.DEBUG if failing else logging.WARNING,
                "The control socket cannot accept a client: %s. It tries again every %g s.",
                in_words(error),
                ACCEPT_PAUSE,
                extra=LogEvent.CONTROL_SOCKET_FAILED.about(),
            )
            failing = True
            await asyncio.sleep(ACCEPT_PAUSE)
        else:
            failing = False
            # Let the client's task read its request before further clients may disconnect it.
            await asyncio.sleep(0)


class _Clients:
    """The connected clients, at most MOST_CLIENTS. A silent one gives its place to a new one."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._writers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        # Clients without a request under way. The first one is silent for the longest time.
        self._silent: dict[asyncio.Task[None], None] = {}

    async def add(self, connection: socket.socket) -> None:
        """Serve a client, or refuse it if all others have requests under way. Raises OSError."""
        try:
            reader, writer = await asyncio.open_unix_connection(sock=connection, limit=LONGEST_LINE)
        except OSError:
            connection.close()
            raise
        if len(self._writers) >= MOST_CLIENTS:
            silent = next(iter(self._silent), None)
            if silent is None:
                writer.write(_line(_refusal("The control socket is busy. Try again in a minute.")))
                writer.close()
                return
            self._forget(silent)
            silent.cancel()
        task = asyncio.create_task(self._serve(reader, writer), name="control socket client")
        self._writers[task] = writer
        self._silent[task] = None
        task.add_done_callback(self._forget)

    async def disconnect(self) -> None:
        """Disconnect all clients."""
        tasks = list(self._writers)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._silent.pop(task, None)
        writer = self._writers.pop(task, None)
        if writer is not None:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for mypy: a coroutine runs in a task.
        try:
            while line := await _receive(reader, writer):
                del self._silent[task]
                answer = await _answer(line, self._handlers)
                self._silent[task] = None
                await _send(writer, answer)
        except OSError:
            log.debug("A client of the control socket has disconnected or timed out.")


async def _receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Return the next request, empty at the end. Raises TimeoutError or another OSError."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await reader.readline()
    except ValueError:
        await _send(writer, _refusal(f"A request must not be longer than {LONGEST_LINE} bytes."))
        return b""


async def _send(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    writer.write(_line(answer))
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
    except (ControlError, ConfigError, ValueError) as error:
        mistakes = {"mistakes": error.mistakes} if isinstance(error, ConfigError) else {}
        return _refusal(str(error)) | mistakes
    except TimeoutError:
        return _refusal(f"{command} did not finish within {PATIENCE:g} s.")
    except Exception as error:
        log.exception("The request %s failed.", command, extra=LogEvent.REQUEST_FAILED.about())
        return _refusal(f"{command} failed: {error}")


def _line(answer: Mapping[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def _remove(path: Path) -> None:
    with suppress(OSError):  # Stopping succeeds even on a read-only disk.
        path.unlink()


def _refusal(sentence: str) -> dict[str, Any]:
    return {"ok": False, "error": sentence}


def ask(path: Path, request: Request, *, timeout: float = PATIENCE) -> dict[str, Any]:
    """Send a request to the running daemon and return its answer. Blocks up to `timeout` seconds.

    Raises NoDaemonError if no daemon listens, ConfigError if its configuration has mistakes, and
    ControlError if it refuses for another reason or does not answer.
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
        if mistakes := answer.get("mistakes"):
            raise ConfigError(*map(str, mistakes))
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
            f"The running daemon's status cannot be read, because {phrase(error)}. Restart the "
            "daemon so that it runs the installed version: sudo systemctl restart sensor-agent"
        ) from error
