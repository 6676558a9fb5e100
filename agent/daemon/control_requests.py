"""What the running daemon can be asked through its control socket, and what it answers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from agent.daemon.control_socket import Handler, Request
from agent.device.led import Lamp
from agent.device.operator import BLINK_RANGE, check_brightness, whole_number
from agent.diagnostics.runner import chosen
from agent.errors import ControlError
from hw import ClimateSensor, Reading
from hw.errors import LightError, SensorError
from hw.sensors.fake import FakeSensor


def control_requests(
    *,
    status: Callable[[], Awaitable[dict[str, Any]]],
    check: Callable[[Sequence[str]], Awaitable[dict[str, Any]]],
    read: Callable[[], Awaitable[tuple[Reading, str]]],
    lamp: Lamp,
    sensor: ClimateSensor,
) -> Mapping[str, Handler]:
    """Return the handlers of the control socket, by command.

    `read` returns a reading and the time it was taken, in UTC as ISO 8601.
    """

    async def tell_status(_request: Request) -> dict[str, Any]:
        return {"status": await status()}

    async def make_checks(request: Request) -> dict[str, Any]:
        return await check(chosen(_names(request, "only"), _names(request, "skip")))

    async def read_now(_request: Request) -> dict[str, Any]:
        try:
            reading, taken = await read()
        except SensorError as error:
            raise ControlError(str(error)) from error
        return {
            "reading": {
                "temperature": reading.temperature,
                "humidity": reading.humidity,
                "taken": taken,
            }
        }

    async def led(request: Request) -> dict[str, Any]:
        try:
            await _drive(lamp, request)
        except LightError as error:
            raise ControlError(str(error)) from error
        return {"led": {"state": lamp.state, "brightness": lamp.brightness}}

    async def room(request: Request) -> dict[str, Any]:
        return {"room": _play(sensor, request.get("set", {}))}

    return {
        "status": tell_status,
        "check": make_checks,
        "read": read_now,
        "led": led,
        "room": room,
    }


def _names(request: Request, key: str) -> list[str]:
    names = request.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ControlError(f'"{key}" is a list of names of checks.')
    return names


async def _drive(lamp: Lamp, request: Request) -> None:
    match request.get("do"):
        case "on":
            await lamp.on()
        case "off":
            await lamp.off()
        case "blink":
            period = whole_number("The interval of blink", request.get("seconds"), BLINK_RANGE)
            await lamp.blink(period)
        case "brightness":
            await lamp.set_brightness(check_brightness(request.get("level")))
        case _:
            raise ControlError("led wants to be told to do on, off, blink or brightness.")


def _play(sensor: ClimateSensor, changes: object) -> dict[str, Any]:
    if not isinstance(sensor, FakeSensor):
        raise ControlError("The sensor is real: there is no room to play with.")
    if not isinstance(changes, Mapping):
        raise ControlError('A room is changed with "set": {"temperature": 25.0}, for example.')
    sensor.room.play(changes)
    return sensor.room.state()
