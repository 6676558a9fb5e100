"""Moves this device to another ID scope when the operator orders it, and back if that fails.

The command is `DeviceMove` of the component `migration`, with which Microsoft's migrator moves
devices from IoT Central to another application or an IoT Hub:
https://github.com/Azure/iotc-migrator
"""

import asyncio
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from agent.cloud.home import (
    PATIENCE,
    Home,
    Journey,
    Step,
    from_stored,
    is_id_scope,
    to_stored,
)
from agent.device.commands import Answer
from agent.device.validation import RefusedError
from agent.errors import CloudError, ControlError, RegistrationError, quote
from agent.errors import RefusedError as HubRefusedError
from agent.logs.events import LogEvent
from agent.readings.clock import Clock
from agent.status import PlacePart
from agent.storage.settings import Settings

log = logging.getLogger(__name__)

COMMAND = "migration*DeviceMove"
SETTING = "move"
FIELDS = (
    "idScope",
    "dpsName",
    "dpsId",
    "centralAppName",
    "centralAppSubdomain",
    "deviceTemplateId",
)
BY_HAND = "sensor-agent move undo"


class Moves:
    """Where this device belongs, stored in `settings`, and its moves.

    `registration` is what the configuration says: provisioning host, ID scope (None without a
    provisioning service) and device id. `changed` is set when the place to connect to has changed.
    """

    def __init__(
        self,
        settings: Settings,
        registration: tuple[str, str | None, str],
        *,
        allowed: bool,
        clock: Clock,
        patience: float = PATIENCE,
    ) -> None:
        self.changed = asyncio.Event()
        self._settings = settings
        self._registration = registration
        self.allowed = allowed
        self._clock = clock
        self._patience = patience
        self._lock = asyncio.Lock()
        self._hub: str | None = None
        self._last_attempt = clock.uptime()
        self._journey = Journey(home=Home(scopes=(registration[1] or "",)))

    async def load(self) -> None:
        """Read what is stored. A configuration that was changed since wins over it."""
        stored = await self._settings.get(SETTING)
        home = stored_home(stored, self._registration)
        if home is not None:
            self._journey = Journey.at_start(home, self._patience)
        elif stored is not None:
            await self._settings.put(SETTING, None)
            log.warning(
                "Forgot the move to ID scope %s: [device] or [cloud] in the configuration file has "
                "changed since. The file is in force.",
                _last_scope(stored),
                extra=LogEvent.MOVE_FORGOTTEN.about(ID_SCOPE=self._registration[1]),
            )

    @property
    def id_scope(self) -> str | None:
        """The ID scope to connect to next; None without a provisioning service."""
        return self._journey.id_scope or None

    @property
    def is_moving(self) -> bool:
        """Whether a move is in progress."""
        return self._journey.home.target is not None

    @property
    def status(self) -> str:
        """The property `moveStatus`."""
        return self._journey.home.status

    def describe(self, hub: str | None) -> PlacePart:
        """Return where this device belongs. `hub` is the one that it was last assigned to."""
        home = self._journey.home
        return PlacePart(
            id_scope=home.id_scope or None,
            hub=hub,
            moving_to=home.target,
            status=home.status,
            since=home.since,
            by=home.by,
        )

    # The operator's order.

    async def device_move(self, payload: Any) -> Answer:
        """Execute the command `DeviceMove`. The order is stored when this returns."""
        target = self._check(payload)
        async with self._lock:
            home = self._journey.home
            if home.target not in {None, target}:
                raise RefusedError(
                    f"A move to ID scope {home.target} is in progress. Wait for its end.",
                    status=HTTPStatus.CONFLICT,
                )
            if home.target is None:
                if target == home.id_scope:
                    raise RefusedError(f"This device already belongs to ID scope {target}.")
                await self._begin(target)
        return HTTPStatus.OK, {"result": True, "data": f"Moving to ID scope {target}."}

    def _check(self, payload: Any) -> str:
        if self._registration[1] is None:
            raise RefusedError(
                "This device uses no provisioning service, so it cannot move to another ID scope. "
                "Change [cloud] in its configuration file."
            )
        if not self.allowed:
            raise RefusedError(
                "allow_move = false in [cloud] of the configuration file forbids moves.",
                status=HTTPStatus.FORBIDDEN,
            )
        return check_request(payload)

    async def _begin(self, target: str) -> None:
        home = self._journey.home
        by = f"DeviceMove from {self._hub or 'the hub'}"
        ordered = home.ordered(target, by=by, now=self._now())
        await self._store(ordered)
        if not self._settings.is_saved(SETTING):
            await self._store(home)
            raise RefusedError(
                "The move cannot be stored: the disk fails.",
                status=HTTPStatus.INTERNAL_SERVER_ERROR,
            )
        self._go(Journey(home=ordered, step=Step.NEW))
        log.info(
            "Moving from ID scope %s to %s, ordered by %s.",
            home.id_scope,
            target,
            by,
            extra=LogEvent.MOVE_ORDERED.about(ID_SCOPE=home.id_scope, TARGET=target),
        )

    async def undo(self) -> PlacePart:
        """Undo the move in progress, or else the last one, for a person at the device.

        Raises ControlError if there is no move to undo.
        """
        async with self._lock:
            home = self._journey.home
            undone = home.undone(by=BY_HAND, now=self._now())
            if undone is None:
                raise ControlError(
                    "There is no move to undo: the device belongs to ID scope "
                    f"{home.id_scope}, as the configuration file says."
                    if home.id_scope
                    else "There is no move to undo: the device uses no provisioning service."
                )
            await self._store(undone)
            self._go(Journey(home=undone))
            self._log_undone(home.target or home.id_scope, f"by {BY_HAND}")
        return self.describe(None)

    # The way.

    def connected(self, hub: str) -> None:
        """Record the hub of a connection."""
        self._hub = hub

    async def worked(self, id_scope: str | None) -> None:
        """Record that the hub of an ID scope has accepted this device, and sent its twin."""
        async with self._lock:
            if id_scope != self.id_scope or not self.is_moving:
                return  # The order came or was undone while this device was connecting.
            self._journey = self._journey.worked(self._now())
            if not self.is_moving:
                await self._store(self._journey.home)
                log.info(
                    "The move is complete: this device belongs to ID scope %s now, with hub %s.",
                    id_scope,
                    self._hub,
                    extra=LogEvent.MOVE_DONE.about(ID_SCOPE=id_scope, HUB=self._hub),
                )

    async def failed(self, id_scope: str | None, error: CloudError) -> None:
        """Record that an attempt to connect to an ID scope failed."""
        async with self._lock:
            before, now = self._journey, self._clock.uptime()
            seconds, self._last_attempt = now - self._last_attempt, now
            if id_scope != self.id_scope or not self.is_moving:
                return
            self._journey = before.failed(
                str(error),
                refused=_is_refusal(error),
                seconds=seconds,
                now=self._now(),
                patience=self._patience,
            )
            if self._journey.home != before.home:
                await self._store(self._journey.home)
            self._log_failure(before, error)

    def _log_failure(self, before: Journey, error: CloudError) -> None:
        target = before.home.target
        if not self.is_moving:
            self._log_undone(target, f"{error}")
        elif before.step is Step.OLD:
            log.warning(
                "Neither ID scope %s nor %s accepts this device. Both are tried until one does.",
                target,
                before.home.id_scope,
                extra=LogEvent.MOVE_STUCK.about(ID_SCOPE=before.home.id_scope, TARGET=target),
            )
        elif self._journey.step is Step.OLD:
            log.debug("Trying ID scope %s, the old one.", before.home.id_scope)

    def _log_undone(self, target: str | None, why: str) -> None:
        id_scope = self._journey.home.id_scope
        log.warning(
            "Undid the move to ID scope %s, so this device belongs to %s again: %s",
            target,
            id_scope,
            why,
            extra=LogEvent.MOVE_UNDONE.about(ID_SCOPE=id_scope, TARGET=target),
        )

    def _go(self, journey: Journey) -> None:
        self._journey = journey
        self._last_attempt = self._clock.uptime()
        self.changed.set()

    async def _store(self, home: Home) -> None:
        await self._settings.put(SETTING, to_stored(home, self._registration))

    def _now(self) -> str:
        return self._clock.true_utc(self._clock.stamp())


def check_request(payload: Any) -> str:
    """Return the ID scope that a request of `DeviceMove` names. Raises RefusedError."""
    if not isinstance(payload, Mapping):
        raise RefusedError(
            f"The request of DeviceMove must be an object with idScope, not {quote(payload)}."
        )
    for name, value in payload.items():
        if name not in FIELDS:
            raise RefusedError(
                f"DeviceMove has no field {quote(name)}. Its fields are {', '.join(FIELDS)}."
            )
        if not isinstance(value, str):
            raise RefusedError(f"{name} must be a string, not {quote(value)}.")
    target = payload.get("idScope")
    if not is_id_scope(target):
        found = "is missing" if target is None else f"must not be {quote(target)}"
        raise RefusedError(f"idScope {found}: it is 1 to 128 letters, digits, - and _.")
    return str(target)


def stored_home(stored: object, registration: tuple[str, str | None, str]) -> Home | None:
    """Return the home in a setting; None unless it is for this registration."""
    found = from_stored(stored)
    if found is None or found[1] != list(registration) or found[0].scopes[0] != registration[1]:
        return None
    return found[0]


def current_id_scope(stored: object, registration: tuple[str, str | None, str]) -> str | None:
    """Return the ID scope that this device belongs to, by a setting and its configuration."""
    home = stored_home(stored, registration)
    return registration[1] if home is None else home.id_scope


def _last_scope(stored: object) -> str:
    found = from_stored(stored)
    return "(unreadable)" if found is None else found[0].target or found[0].id_scope


def _is_refusal(error: CloudError) -> bool:
    if isinstance(error, RegistrationError):
        return not error.is_busy
    return isinstance(error, HubRefusedError)
