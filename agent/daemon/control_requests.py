"""The requests that the running daemon accepts through its control socket."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

from agent.config.changes import Applied
from agent.daemon.control_socket import Handler, Request
from agent.device.led import AsyncLed
from agent.device.validation import check_brightness, whole_number
from agent.diagnostics.runner import Findings
from agent.errors import ControlError, quote
from agent.ranges import BLINK_PERIOD
from agent.status import PlacePart, Status, status_to_json
from hw import Reading
from hw.errors import LedError, SensorError
from hw.sensors.fake import Room


class Daemon(Protocol):
    """What the control socket needs of the daemon. `room` is None if the sensor is real."""

    @property
    def device_id(self) -> str: ...

    @property
    def led(self) -> AsyncLed: ...

    @property
    def room(self) -> Room | None: ...

    async def status(self) -> Status: ...

    async def check(self, only: Sequence[str], skip: Sequence[str]) -> tuple[Status, Findings]:
        """Make the checks that these names select, and return the status that they used.

        Raises ValueError for a name that selects none.
        """
        ...

    async def read(self) -> tuple[Reading, str]:
        """Read the sensor now.

        Returns the reading and its time (UTC, ISO 8601). Raises SensorError.
        """
        ...

    async def apply_config(self) -> Applied:
        """Read the configuration file again, and take over what applies while the daemon runs.

        Raises ConfigError, with nothing changed, if the file has mistakes, and ControlError if the
        daemon has no file.
        """
        ...

    async def undo_move(self) -> PlacePart:
        """Undo the last move to another ID scope. Raises ControlError if there is none."""
        ...


def control_requests(daemon: Daemon) -> Mapping[str, Handler]:
    """Return the handler of each command."""
    handlers = {
        "status": _status,
        "check": _check,
        "read": _read,
        "led": _led,
        "config": _config,
        "move": _move,
        "room": _room,
    }
    return {command: partial(handler, daemon) for command, handler in handlers.items()}


async def _status(daemon: Daemon, request: Request) -> dict[str, Any]:
    _allow(request)
    return {"status": status_to_json(await daemon.status())}


async def _check(daemon: Daemon, request: Request) -> dict[str, Any]:
    _allow(request, "only", "skip")
    status, findings = await daemon.check(_names(request, "only"), _names(request, "skip"))
    return {
        "status": status_to_json(status),
        "findings": [[name, finding.as_json()] for name, finding in findings],
    }


async def _read(daemon: Daemon, request: Request) -> dict[str, Any]:
    _allow(request)
    try:
        reading, taken = await daemon.read()
    except SensorError as error:
        raise ControlError(str(error)) from error
    return {
        "reading": {
            "temperature": reading.temperature,
            "humidity": reading.humidity,
            "taken": taken,
        }
    }


async def _led(daemon: Daemon, request: Request) -> dict[str, Any]:
    led = daemon.led
    try:
        await _drive(led, request)
    except LedError as error:
        raise ControlError(str(error)) from error
    return {"led": {"state": led.state, "brightness": led.brightness}}


async def _drive(led: AsyncLed, request: Request) -> None:
    match request.get("do"):
        case "on":
            _allow(request, "do")
            await led.on()
        case "off":
            _allow(request, "do")
            await led.off()
        case "blink":
            _allow(request, "do", "seconds")
            period = whole_number("The interval of blink", request.get("seconds"), BLINK_PERIOD)
            await led.blink(period)
        case "brightness":
            _allow(request, "do", "level")
            await led.set_brightness(check_brightness(request.get("level")))
        case _:
            raise ControlError('"do" must be "on", "off", "blink" or "brightness".')


async def _config(daemon: Daemon, request: Request) -> dict[str, Any]:
    _allow(request, "do")
    if request.get("do") != "apply":
        raise ControlError('"do" must be "apply".')
    return {"config": asdict(await daemon.apply_config())}


async def _move(daemon: Daemon, request: Request) -> dict[str, Any]:
    _allow(request, "do")
    if request.get("do") != "undo":
        raise ControlError('"do" must be "undo".')
    return {"id_scope": (await daemon.undo_move()).id_scope}


async def _room(daemon: Daemon, request: Request) -> dict[str, Any]:
    _allow(request, "set")
    changes = request.get("set", {})
    if daemon.room is None:
        raise ControlError("The sensor is not simulated, so it has no room to change.")
    if not isinstance(changes, Mapping):
        raise ControlError('"set" must be an object, for example {"temperature": 25.0}.')
    daemon.room.play(changes)
    return {"room": daemon.room.state(), "device": daemon.device_id}


def _allow(request: Request, *keys: str) -> None:
    """Raise ControlError if the request has other keys than "command" and these."""
    unknown = sorted(request.keys() - {"command", *keys})
    if unknown:
        known = ", ".join(keys) or "no other key"
        raise ControlError(
            f"The request {request['command']} has no key {quote(unknown[0])}. Beside command it "
            f"has {known}."
        )


def _names(request: Request, key: str) -> list[str]:
    names = request.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ControlError(f'"{key}" must be a list of names of checks.')
    return names
