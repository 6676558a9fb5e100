"""What the operator can do: four commands and three writable properties.

Pure but for the few callables it is given. Whatever comes in is answered with a status and, when
it is refused, with a reason; a refusal changes nothing.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from agent.logs.events import LogEvent

log = logging.getLogger(__name__)

Answer = tuple[int, Any]

OK, ACCEPTED, DEVICE_DEFAULT = 200, 202, 203
BAD_REQUEST, NOT_FOUND, CONFLICT, FAILURE = 400, 404, 409, 500

MAX_NAME = 256  # Characters.
BLINK_RANGE = (1, 3600)  # Seconds.
BRIGHTNESS_RANGE = (1, 3)
INTERVAL_RANGE = (5, 86400)  # Seconds.
MAX_DIAGNOSTICS = 4096  # Bytes: what IoT Hub takes as the value of one property.
MAX_UNKNOWN_ANSWERED = 16  # A twin has 32 KB; unknown names must not fill it.
MOST_COMPLAINTS = 100  # Properties, until they may be warned of again.
QUOTED = 60  # Characters of a wrong value that its refusal repeats.


class BadValueError(ValueError):
    """A value that cannot be used; `str()` is the reason, a sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Actions:
    """What commands and properties bring about. Each may raise; the operator is told 500."""

    turn_on: Callable[[], Awaitable[None]]
    turn_off: Callable[[], Awaitable[None]]
    blink: Callable[[float], Awaitable[None]]
    set_brightness: Callable[[int], Awaitable[None]]
    set_interval: Callable[[int], Awaitable[None]]
    diagnose: Callable[[], Awaitable[str]]
    remember: Callable[[str, Any], Awaitable[None]]
    report: Callable[[Mapping[str, Any]], None]
    in_background: Callable[[Coroutine[Any, Any, None], str], object]


def check_name(value: Any) -> str:
    """Accept a customer's name: a string of at most 256 characters."""
    if not isinstance(value, str):
        raise BadValueError(f"name must be a string, not {quote(value)}.")
    if len(value) > MAX_NAME:
        raise BadValueError(
            f"name must have at most {MAX_NAME} characters; this one has {len(value)}."
        )
    return value


def check_brightness(value: Any) -> int:
    """Accept a brightness: 1 (high), 2 (medium) or 3 (low)."""
    return whole_number("brightness", value, BRIGHTNESS_RANGE)


def check_interval(value: Any) -> int:
    """Accept an interval between readings, in seconds."""
    return whole_number("telemetryInterval", value, INTERVAL_RANGE)


def whole_number(name: str, value: Any, bounds: tuple[int, int]) -> int:
    """Accept a whole number within `bounds`, or raise BadValueError."""
    low, high = bounds
    # A bool is an int in Python and is none in JSON. 5.0 is 5: JSON knows but one kind of number.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadValueError(
            f"{name} must be a whole number from {low} to {high}, not {quote(value)}."
        )
    return value


CHECKS: dict[str, Callable[[Any], Any]] = {
    "name": check_name,
    "brightness": check_brightness,
    "telemetryInterval": check_interval,
}


async def recalled(get: Callable[[str], Awaitable[Any]]) -> dict[str, Any]:
    """Return what is kept of each writable property; None for nothing, or for what is no value.

    A card may have rotted, or another version have had other bounds.
    """
    return {name: _usable(name, await get(f"property.{name}")) for name in CHECKS}


def _usable(name: str, kept: Any) -> Any:
    try:
        return None if kept is None else CHECKS[name](kept)
    except BadValueError:
        return None


OWN = {
    "state",
    "sensorStatus",
    "sensorStatusSince",
    "ledState",
    "backlog",
    "rundiagnostics",
    "deviceInformation",
}
"""What this device reports by itself: a desired property of that name must not take its place."""


class Device:
    """The operator's side of this device.

    `defaults` are the writable properties where nobody asked for anything, `stored` those that
    the operator had set before; `values` is what is in force. `property_format` is how a change
    is acknowledged: "plug-and-play" or "preview", as IoT Central did before July 2020.
    """

    def __init__(
        self,
        *,
        actions: Actions,
        defaults: Mapping[str, Any],
        stored: Mapping[str, Any],
        property_format: str,
    ) -> None:
        self.values = {**defaults, **stored}
        self._asked_for = set(stored)
        self._actions = actions
        self._preview = property_format == "preview"
        self._desired_version = 0
        self._diagnosing = False
        self._complaints: dict[str, str] = {}  # The last one of each property.
        self._unknown: set[str] = set()  # Those that were answered.
        self._commands = {
            "blink": self._blink,
            "turnon": self._turn_on,
            "turnoff": self._turn_off,
            "rundiagnostics": self._run_diagnostics,
        }

    async def command(self, name: str, payload: Any) -> Answer:
        """Carry out a command; always returns (status, payload of the answer)."""
        handler = self._commands.get(name)
        if handler is None:
            log.warning(
                "There is no command %s.",
                quote(name),
                extra=LogEvent.COMMAND_REFUSED.about(COMMAND=name, STATUS=NOT_FOUND),
            )
            known = ", ".join(self._commands)
            return _refusal(NOT_FOUND, f"There is no command {quote(name)}; there are {known}.")
        try:
            status, answer = await handler(payload)
        except BadValueError as error:
            log.warning(
                "The command %s was refused: %s",
                name,
                error,
                extra=LogEvent.COMMAND_REFUSED.about(COMMAND=name, STATUS=BAD_REQUEST),
            )
            return _refusal(BAD_REQUEST, str(error))
        except Exception as error:
            log.exception(
                "The command %s failed.",
                name,
                extra=LogEvent.COMMAND_FAILED.about(COMMAND=name, STATUS=FAILURE),
            )
            return _refusal(FAILURE, f"{name} failed: {error}")
        log.info(
            "Command %s: %d.",
            name,
            status,
            extra=LogEvent.COMMAND_DONE.about(COMMAND=name, STATUS=status),
        )
        return status, answer

    async def queued_command(self, name: str, body: bytes) -> None:
        """Carry out a command that was queued while the device was away.

        The body is JSON, or `@` for none. Nobody waits for an answer; the journal has it.
        """
        payload: Any = None
        if body.strip() not in {b"", b"@"}:
            try:
                payload = json.loads(body)
            except (ValueError, RecursionError) as error:
                log.warning(
                    "The queued command %s is not JSON: %s",
                    quote(name),
                    error,
                    extra=LogEvent.COMMAND_REFUSED.about(COMMAND=name, STATUS=BAD_REQUEST),
                )
                return
        await self.command(name, payload)

    async def _turn_on(self, _payload: Any) -> Answer:
        await self._actions.turn_on()
        return OK, None

    async def _turn_off(self, _payload: Any) -> Answer:
        await self._actions.turn_off()
        return OK, None

    async def _blink(self, payload: Any) -> Answer:
        period = whole_number("The interval of blink", payload, BLINK_RANGE)
        await self._actions.blink(period)
        return OK, {"description": f"Blinking LED every {period} seconds"}

    async def _run_diagnostics(self, _payload: Any) -> Answer:
        if self._diagnosing:
            return _refusal(CONFLICT, "Diagnostics are running already; wait for their result.")
        self._diagnosing = True
        self._actions.in_background(self._diagnose(), "device.rundiagnostics")
        return ACCEPTED, None

    async def _diagnose(self) -> None:
        try:
            result = await self._actions.diagnose()
        except Exception as error:
            log.exception(
                "The diagnostics failed.",
                extra=LogEvent.COMMAND_FAILED.about(COMMAND="rundiagnostics", STATUS=FAILURE),
            )
            result = f"The diagnostics failed: {error}"
        finally:
            self._diagnosing = False
        self._actions.report({"rundiagnostics": {"value": shorten(result, MAX_DIAGNOSTICS)}})

    async def twin(self, twin: Mapping[str, Any]) -> None:
        """Take over the desired properties of a whole twin, as fetched after connecting."""
        desired = twin.get("desired")
        desired = desired if isinstance(desired, Mapping) else {}
        self._desired_version = _version(desired)
        for name in CHECKS:
            if name not in desired:
                self._actions.report({name: self._default(name)})
        await self._apply(desired)

    async def desired(self, patch: Mapping[str, Any]) -> None:
        """Apply a change of desired properties; one that the twin already had is skipped."""
        version = _version(patch)
        if 0 < version <= self._desired_version:
            return
        self._desired_version = max(version, self._desired_version)
        await self._apply(patch)

    async def _apply(self, desired: Mapping[str, Any]) -> None:
        for name, wrapped in desired.items():
            if name.startswith("$"):
                continue
            if name not in CHECKS:
                self._answer_unknown(name, wrapped)
                continue
            value = wrapped
            if isinstance(wrapped, Mapping) and "value" in wrapped:
                value = wrapped["value"]
            if value is None:
                # That is how a removed desired property looks.
                self._actions.report({name: self._default(name)})
                continue
            await self._apply_one(name, value)

    def _answer_unknown(self, name: str, value: Any) -> None:
        if value is None:
            if name in self._unknown:  # Removed, and with it our answer.
                self._unknown.discard(name)
                self._actions.report({name: None})
            return
        self._complain(
            LogEvent.PROPERTY_UNKNOWN, name, f"A desired property {quote(name)} is unknown here."
        )
        if name not in OWN and (name in self._unknown or len(self._unknown) < MAX_UNKNOWN_ANSWERED):
            self._unknown.add(name)
            self._acknowledge(name, NOT_FOUND, "There is no such writable property.")

    async def _apply_one(self, name: str, value: Any) -> None:
        try:
            accepted = CHECKS[name](value)
            # A default that looks the same may be another: an interval of 0.05 s is told as 5.
            if name not in self._asked_for or accepted != self.values[name]:
                await self._put_in_force(name, accepted)
                log.info(
                    "%s is now %s.",
                    name,
                    quote(accepted),
                    extra=LogEvent.PROPERTY_SET.about(PROPERTY=name, VALUE=quote(accepted)),
                )
                self._complaints.pop(name, None)
        except BadValueError as error:
            self._complain(
                LogEvent.PROPERTY_REFUSED, name, f"A desired property was refused: {error}"
            )
            self._acknowledge(name, BAD_REQUEST, str(error))
        except Exception as error:
            log.exception(
                "%s could not be changed.",
                name,
                extra=LogEvent.PROPERTY_FAILED.about(PROPERTY=name),
            )
            self._acknowledge(name, FAILURE, f"{name} could not be changed: {error}")
        else:
            self._acknowledge(name, OK, "completed")

    def _complain(self, event: LogEvent, name: str, sentence: str) -> None:
        """Warn of a property once: the whole twin comes again with each connection."""
        known = self._complaints.get(name) == sentence
        log.log(
            logging.DEBUG if known else logging.WARNING,
            "%s",
            sentence,
            extra=event.about(PROPERTY=name),
        )
        if len(self._complaints) >= MOST_COMPLAINTS:
            self._complaints.clear()
        self._complaints[name] = sentence

    async def _put_in_force(self, name: str, value: Any) -> None:
        if name == "brightness":
            await self._actions.set_brightness(value)
        elif name == "telemetryInterval":
            await self._actions.set_interval(value)
        await self._actions.remember(name, value)
        self.values[name] = value
        self._asked_for.add(name)

    def _default(self, name: str) -> dict[str, Any]:
        """Say what is in force where the operator has asked for nothing."""
        return self._acknowledgement(name, DEVICE_DEFAULT, "Nothing else was asked for.", version=0)

    def _acknowledge(self, name: str, status: int, description: str) -> None:
        self._actions.report(
            {name: self._acknowledgement(name, status, description, version=self._desired_version)}
        )

    def _acknowledgement(
        self, name: str, status: int, description: str, *, version: int
    ) -> dict[str, Any]:
        value = {"value": self.values[name]} if name in self.values else {}
        if self._preview:
            done = "completed" if status in {OK, DEVICE_DEFAULT} else "failed"
            return value | {"status": done, "desiredVersion": version, "message": description}
        return value | {"ac": status, "av": version, "ad": description}


def quote(value: Any) -> str:
    """Repeat a value in a reason: as JSON, short, control characters escaped."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= QUOTED else text[: QUOTED - 1] + "…"


def shorten(text: str, limit: int) -> str:
    """Cut `text` to at most `limit` bytes of UTF-8, between two characters."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode("utf-8")
    return encoded[: limit - 3].decode("utf-8", "ignore") + "…"


def _refusal(status: int, reason: str) -> Answer:
    return status, {"error": reason}


def _version(properties: Mapping[str, Any]) -> int:
    version = properties.get("$version")
    return version if isinstance(version, int) and not isinstance(version, bool) else 0
