"""The operator's commands: `blink`, `turnon`, `turnoff`, `rundiagnostics`, and those of others.

Every command is answered with a status as in HTTP and a payload. A refused command changes nothing,
and its payload has the reason.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Protocol

from agent.device.led import AsyncLed
from agent.device.validation import RefusedError, whole_number
from agent.errors import quote
from agent.logs.events import LogEvent
from agent.ranges import BLINK_PERIOD
from hw.errors import HardwareError

log = logging.getLogger(__name__)

Answer = tuple[int, Any]
"""Status and payload."""

MAX_DIAGNOSTICS = 4096  # Bytes: IoT Hub's limit for the value of one property.


class Daemon(Protocol):
    """What commands need of the daemon."""

    @property
    def led(self) -> AsyncLed: ...

    async def diagnose(self) -> str:
        """Run all checks, and return their results as text."""
        ...

    def report(self, properties: Mapping[str, Any]) -> None:
        """Report these properties to the hub as soon as there is a connection."""
        ...

    def start_task(self, work: Coroutine[Any, Any, None], name: str) -> object:
        """Run `work` in the background until the daemon stops."""
        ...


Handler = Callable[[Any], Awaitable[Answer]]
"""Executes a command with its payload. Raises validation.RefusedError."""


class Commands:
    """The commands of this device. `more` are those that another part executes, by name."""

    def __init__(self, daemon: Daemon, more: Mapping[str, Handler] | None = None) -> None:
        self._daemon = daemon
        self._diagnosing = False
        self._handlers: dict[str, Handler] = {
            "blink": self._blink,
            "turnon": self._turn_on,
            "turnoff": self._turn_off,
            "rundiagnostics": self._run_diagnostics,
            **(more or {}),
        }

    async def execute(self, name: str, payload: Any) -> Answer:
        """Execute a command. Never raises: a failure is an answer, too."""
        try:
            status, answer = await self._handler(name)(payload)
        except RefusedError as error:
            self._log_refusal(name, error)
            return error.status, {"error": str(error)}
        except Exception as error:  # The operator gets an answer to every command.
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            log.log(
                logging.ERROR,
                "Command %s failed: %s",
                name,
                error,
                exc_info=not isinstance(error, HardwareError),
                extra=LogEvent.COMMAND_FAILED.about(COMMAND=name, STATUS=status),
            )
            return status, {"error": f"{name} failed: {error}"}
        log.info(
            "Executed command %s with status %d.",
            name,
            status,
            extra=LogEvent.COMMAND_DONE.about(COMMAND=name, STATUS=status),
        )
        return status, answer

    async def execute_queued(self, name: str, body: bytes) -> None:
        """Execute a command that was queued while the device was offline.

        The body is JSON, or `@` for no payload. The answer is only logged.
        """
        try:
            payload = None if body.strip() in {b"", b"@"} else json.loads(body)
        except (ValueError, RecursionError) as error:
            self._log_refusal(name, RefusedError(f"Its queued payload is not JSON ({error})."))
        else:
            await self.execute(name, payload)

    def _handler(self, name: str) -> Handler:
        if name not in self._handlers:
            known = ", ".join(self._handlers)
            raise RefusedError(
                f"There is no such command. The commands are {known}.", status=HTTPStatus.NOT_FOUND
            )
        return self._handlers[name]

    def _log_refusal(self, name: str, error: RefusedError) -> None:
        log.warning(
            "Refused command %s: %s",
            quote(name),
            error,
            extra=LogEvent.COMMAND_REFUSED.about(COMMAND=name, STATUS=error.status),
        )

    async def _turn_on(self, _payload: Any) -> Answer:
        await self._daemon.led.on()
        return HTTPStatus.OK, None

    async def _turn_off(self, _payload: Any) -> Answer:
        await self._daemon.led.off()
        return HTTPStatus.OK, None

    async def _blink(self, payload: Any) -> Answer:
        period = whole_number("The interval of blink", payload, BLINK_PERIOD)
        await self._daemon.led.blink(period)
        return HTTPStatus.OK, {"description": f"Blinking LED every {period} seconds"}

    async def _run_diagnostics(self, _payload: Any) -> Answer:
        if self._diagnosing:
            raise RefusedError(
                "Diagnostics are already running. Wait for their result.",
                status=HTTPStatus.CONFLICT,
            )
        self._diagnosing = True
        self._daemon.start_task(self._diagnose(), "rundiagnostics")
        return HTTPStatus.ACCEPTED, None

    async def _diagnose(self) -> None:
        try:
            result = await self._daemon.diagnose()
        except Exception as error:  # The failure is what the diagnostics report.
            log.exception(
                "Diagnostics failed.",
                extra=LogEvent.COMMAND_FAILED.about(
                    COMMAND="rundiagnostics", STATUS=HTTPStatus.INTERNAL_SERVER_ERROR
                ),
            )
            result = f"Diagnostics failed: {error}"
        finally:
            self._diagnosing = False
        self._daemon.report({"rundiagnostics": {"value": shorten(result, MAX_DIAGNOSTICS)}})


def shorten(text: str, limit: int) -> str:
    """Return at most `limit` bytes of UTF-8 of `text`, cut between two characters."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode("utf-8")
    return encoded[: limit - 3].decode("utf-8", "ignore") + "…"
