"""The writable properties: `name`, `brightness`, `telemetryInterval` and the limits.

Each desired value is acknowledged with a status as in HTTP. A refused value changes nothing, and
its acknowledgement has the reason.
"""

import logging
import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol, TypeGuard

from agent.device.led import AsyncLed
from agent.device.limit_properties import LimitProperties
from agent.device.limits import LIMITS, Values, believable
from agent.device.validation import CHECKS, RefusedError
from agent.errors import quote
from agent.logs.complaints import Complaints
from agent.logs.events import LogEvent
from hw.errors import HardwareError

log = logging.getLogger(__name__)

DEVICE_DEFAULT = 203  # IoT Plug and Play's status for a value that the device set by itself.
MAX_UNKNOWN_ANSWERED = 16  # Unknown names must not fill the twin, which has 32 KB.
LATEST_VERSION = 2**63 - 1
LIMITS_KEY = "property.limits"  # One setting, so that a low and a high limit fit after a power cut.
NOT_SET = "No desired value is set."
NO_SUCH_PROPERTY = "This device has no such writable property."
# The names that IoT Hub allows, except long ones:
# https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-device-twins
PROPERTY_NAME = re.compile(r"[^\x00-\x20.$#\x7f-\x9f\ud800-\udfff]{1,128}")

READ_ONLY = {
    "state",
    "sensorStatus",
    "sensorStatusSince",
    "sensorWarning",
    "ledState",
    "limitStatus",
    "backlog",
    "moveStatus",
    "rundiagnostics",
    "deviceInformation",
    "migration",
}
"""What the device reports by itself. The answer to a desired property must not overwrite it."""


class Daemon(Protocol):
    """What writable properties need of the daemon."""

    @property
    def led(self) -> AsyncLed: ...

    def set_interval(self, seconds: float) -> None:
        """Take readings at this interval from now on."""
        ...

    def set_limits(self, values: Values) -> None:
        """Put these limits in force, in degrees Celsius and percent."""
        ...

    def report(self, properties: Mapping[str, Any]) -> None:
        """Report these properties to the hub as soon as there is a connection."""
        ...


class Settings(Protocol):
    """What keeps accepted values over a restart."""

    async def get(self, name: str) -> Any: ...

    async def put(self, name: str, value: Any) -> None: ...


async def stored_values(settings: Settings) -> dict[str, Any]:
    """Return the stored values by property.

    A value that is no longer valid is left out: the card may be damaged, and another version of
    this program may have had other ranges.
    """
    values = {}
    for name, check in CHECKS.items():
        stored = await settings.get(_key(name))
        if stored is not None:
            try:
                values[name] = check(stored)
            except RefusedError as error:
                log.debug("Ignoring a stored value: %s", error)
    return values


async def stored_limits(settings: Settings) -> Values:
    """Return the stored limits of the operator, in degrees Celsius and percent."""
    return believable(await settings.get(LIMITS_KEY))


def defaults(interval: float) -> dict[str, Any]:
    """Return the values of properties that the operator has not set.

    `interval` is the configured one, in seconds, which the model has as whole seconds. That of a
    simulated sensor may be shorter than the operator can set.
    """
    return {"name": "", "brightness": 1, "telemetryInterval": math.ceil(interval)}


def _key(name: str) -> str:
    return f"property.{name}"


class Properties:
    """The writable properties of this device.

    `values` are in force: `defaults`, or what the operator has set; `stored` is what the operator
    had set before this start. `property_format` is the form of acknowledgements: "plug-and-play",
    or "preview" as in IoT Central before July 2020. `limits` are the properties with a low or high
    limit; unlike the others, they return to the configuration's value when they are removed.
    """

    def __init__(
        self,
        daemon: Daemon,
        settings: Settings,
        *,
        defaults: Mapping[str, Any],
        stored: Mapping[str, Any],
        limits: LimitProperties,
        property_format: str,
    ) -> None:
        self.values = {**defaults, **stored, **limits.shown()}
        self._limits = limits
        self._daemon = daemon
        self._settings = settings
        self._set_by_operator = set(stored)  # Names.
        self._preview = property_format == "preview"
        self._desired_version = 0
        self._complaints = Complaints()
        self._answered: Mapping[str, Any] = {}
        self._unknown: dict[str, bool] = {}  # Unknown properties, and whether each was answered.

    @property
    def set_by_operator(self) -> Mapping[str, Any]:
        """The values that the operator has set."""
        return {name: self.values[name] for name in self._set_by_operator}

    @property
    def limits_by_operator(self) -> Values:
        """The limits that the operator has set, in degrees Celsius and percent."""
        return self._limits.operator

    def set_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Replace the values that the operator has not set, and report those that change."""
        for name, value in defaults.items():
            if name not in self._set_by_operator and value != self.values[name]:
                self.values[name] = value
                self._report_default(name)

    def set_file_limits(self, values: Values) -> None:
        """Replace the configuration's limits, and report those in force that change."""
        before = self._limits.shown()
        self._limits.file = values
        self.values |= self._limits.shown()
        for name in LIMITS:
            if self.values[name] != before[name]:
                self._report_default(name)

    async def apply_twin(self, twin: Any) -> None:
        """Apply the desired properties of a whole twin, as fetched after connecting.

        Ignores, with a warning, a twin that is not an object of objects.
        """
        desired = twin.get("desired", {}) if isinstance(twin, dict) else twin
        if not self._is_object(desired, "the twin"):
            return
        self._desired_version = _version(desired)
        for name in CHECKS:
            if name not in desired:
                self._report_default(name)
        reported = twin.get("reported") if isinstance(twin, dict) else None
        if self._desired_version:  # Else it is not a whole twin, and nothing was removed.
            desired = {**dict.fromkeys(LIMITS), **desired}
        await self._apply(desired, answered=reported if isinstance(reported, dict) else {})

    async def apply_patch(self, patch: Any) -> None:
        """Apply changed desired properties. Skip a patch that the twin already contained.

        Ignores, with a warning, a patch that is not an object.
        """
        if not self._is_object(patch, "a change of desired properties"):
            return
        version = _version(patch)
        if 0 < version <= self._desired_version:
            return
        self._desired_version = max(version, self._desired_version)
        await self._apply(patch)

    def _is_object(self, value: Any, what: str) -> TypeGuard[dict[str, Any]]:
        """Return whether a value from the hub is a JSON object. If not, log that it is ignored."""
        if isinstance(value, dict):
            return True
        log.log(
            self._complaints.level("twin", what),
            "Ignored %s: it is not a JSON object of desired properties, but %s.",
            what,
            quote(value),
            extra=LogEvent.MESSAGE_IGNORED.about(),
        )
        return False

    async def _apply(
        self, desired: Mapping[str, Any], *, answered: Mapping[str, Any] | None = None
    ) -> None:
        """Apply desired properties. `answered` are the answers that the hub already has."""
        self._answered = answered or {}
        limits = {name: _unwrapped(value) for name, value in desired.items() if name in LIMITS}
        await self._apply_limits(limits)
        for name, wrapped in desired.items():
            if name.startswith("$") or name in LIMITS:
                continue
            if name not in CHECKS:
                self._answer_unknown(name, wrapped)
                continue
            value = _unwrapped(wrapped)
            if value is None:  # The desired property was removed.
                self._report_default(name)
            else:
                await self._apply_one(name, value)

    def _answer_unknown(self, name: str, value: Any) -> None:
        if value is None:
            if self._unknown.pop(name, False):  # Remove the answer as well.
                self._daemon.report({name: None})
            return
        if name not in self._unknown and len(self._unknown) >= MAX_UNKNOWN_ANSWERED:
            self._complain(
                LogEvent.PROPERTY_UNKNOWN,
                "...",
                f"There are more than {MAX_UNKNOWN_ANSWERED} unknown desired properties.",
            )
            return
        self._complain(
            LogEvent.PROPERTY_UNKNOWN,
            name,
            f"Unknown desired property {quote(name)}.",
            NO_SUCH_PROPERTY,
        )
        self._unknown[name] = name not in READ_ONLY and bool(PROPERTY_NAME.fullmatch(name))
        if self._unknown[name]:
            self._acknowledge(name, HTTPStatus.NOT_FOUND, NO_SUCH_PROPERTY)

    async def _apply_limits(self, desired: Mapping[str, Any]) -> None:
        """Apply desired limits as a whole, so that their order does not matter."""
        before, shown = self._limits.operator, self._limits.shown()
        refused = self._limits.change(desired)
        if self._limits.operator != before:
            self.values |= self._limits.shown()
            self._daemon.set_limits(self._limits.in_force)
            await self._settings.put(LIMITS_KEY, dict(self._limits.operator) or None)
        for name, value in desired.items():
            if self._limits.operator.get(name) != before.get(name):
                self._log_set(name, self.values[name])
            if value is None:
                self._report_default(name)
            elif name in refused:
                self._refuse(name, refused[name])
            else:
                self._acknowledge(name, HTTPStatus.OK, "completed")
        for name in LIMITS.keys() - desired.keys():  # One that is no longer contradicted.
            if self.values[name] != shown[name]:
                self._report_default(name)

    async def _apply_one(self, name: str, value: Any) -> None:
        try:
            accepted = CHECKS[name](value)
            # The default may only look the same: an interval of 0.05 s is reported as 5.
            if name not in self._set_by_operator or accepted != self.values[name]:
                await self._set(name, accepted)
                self._log_set(name, accepted)
        except RefusedError as error:
            self._refuse(name, error)
        except Exception as error:  # The operator gets an answer to every property.
            log.log(
                logging.ERROR,
                "Cannot change %s: %s",
                name,
                error,
                exc_info=not isinstance(error, HardwareError),
                extra=LogEvent.PROPERTY_FAILED.about(PROPERTY=name),
            )
            self._acknowledge(
                name, HTTPStatus.INTERNAL_SERVER_ERROR, f"Cannot change {name}: {error}"
            )
        else:
            self._acknowledge(name, HTTPStatus.OK, "completed")

    async def _set(self, name: str, value: Any) -> None:
        if name == "brightness":
            await self._daemon.led.set_brightness(value)
        elif name == "telemetryInterval":
            self._daemon.set_interval(value)
        await self._settings.put(_key(name), value)
        self.values[name] = value
        self._set_by_operator.add(name)

    def _log_set(self, name: str, value: Any) -> None:
        log.info(
            "%s is now %s.",
            name,
            quote(value),
            extra=LogEvent.PROPERTY_SET.about(PROPERTY=name, VALUE=quote(value)),
        )
        self._complaints.forget(name)

    def _refuse(self, name: str, error: RefusedError) -> None:
        self._complain(
            LogEvent.PROPERTY_REFUSED, name, f"Refused desired property: {error}", str(error)
        )
        self._acknowledge(name, HTTPStatus.BAD_REQUEST, str(error))

    def _complain(self, event: LogEvent, name: str, sentence: str, answer: str = "") -> None:
        """Log a warning once; repeats, which come with each connection's twin, at debug level.

        It is also a repeat if the hub has this `answer`, which the daemon gave before its start.
        """
        known = self._answered.get(name)
        answers = (known.get("ad"), known.get("message")) if isinstance(known, Mapping) else ()
        is_known = bool(answer) and answer in answers
        level = logging.DEBUG if is_known else self._complaints.level(name, sentence)
        log.log(level, "%s", sentence, extra=event.about(PROPERTY=name))

    def _report_default(self, name: str) -> None:
        why = NOT_SET
        if name in LIMITS and self._limits.is_contradicted(name):
            why += " The configuration's limit contradicts another one, so it is not in force."
        self._acknowledge(name, DEVICE_DEFAULT, why, version=0)

    def _acknowledge(
        self, name: str, status: int, description: str, *, version: int | None = None
    ) -> None:
        version = self._desired_version if version is None else version
        answer = {"value": self.values[name]} if name in self.values else {}
        if self._preview:
            done = "completed" if status in {HTTPStatus.OK, DEVICE_DEFAULT} else "failed"
            answer |= {"status": done, "desiredVersion": version, "message": description}
        else:
            answer |= {"ac": status, "av": version, "ad": description}
        self._daemon.report({name: answer})


def _unwrapped(value: Any) -> Any:
    """Return a desired value, which may be wrapped as `{"value": 2}`."""
    return value["value"] if isinstance(value, Mapping) and "value" in value else value


def _version(properties: Mapping[str, Any]) -> int:
    version = properties.get("$version")
    if not isinstance(version, int) or isinstance(version, bool):
        return 0
    return version if 0 < version <= LATEST_VERSION else 0
