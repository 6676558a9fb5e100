"""The Device Provisioning Service: assigns devices to the hub.

https://learn.microsoft.com/azure/iot-dps/iot-dps-mqtt-support
"""

import asyncio
import logging
import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from central.errors import UnknownDevice
from central.hub.names import azure_hub
from central.protocol import sas
from central.protocol.mqtt import (
    REFUSED,
    Connect,
    ConnectCode,
    ProtocolError,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from central.protocol.topics import BadBag, request_topic
from central.protocol.twins import dump_json, parse_json
from central.records import Device, iso
from central.storage import devices
from central.storage.registry import Registry
from central.transport.connection import Connection, Refused
from central.transport.faults import Faults

RESPONSES = "$dps/registrations/res/#"
REGISTER = "$dps/registrations/PUT/iotdps-register"
STATUS = "$dps/registrations/GET/iotdps-get-operationstatus"
RETRY_AFTER = 3  # Seconds; the service's own value.
MAX_KEEP_ALIVE = 60.0  # Seconds; a registration is short.
MAX_DURATION = 300.0  # Seconds until a connection ends, whether its device has registered or not.

AZURE_NAMES = (".azure-devices-provisioning.net", ".azure-devices.net")

BUSY = {
    "throttled": (429, "Too many requests"),
    "error": (500, "Internal server error"),
    "unavailable": (503, "Service unavailable"),
}

REGISTRATION_ID = re.compile(r"[A-Za-z0-9._:-]{0,127}[A-Za-z0-9-]")
NEW_DEVICE_ID = re.compile(r"[A-Za-z0-9-]{1,128}")

log = logging.getLogger(__name__)


class Provisioning:
    """Registers known devices with their key, and new ones with a key derived from the group's.

    `hubs` has the hub's host name for each ID scope but the first.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        faults: Faults,
        clock: Callable[[], float],
        hubs: Mapping[str, str],
    ) -> None:
        self.registry = registry
        self.hubs = hubs
        self.faults = faults
        self.clock = clock
        self._connections: dict[str, Connection] = {}

    async def accept(self, connection: Connection, connect: Connect) -> "Registration":
        """Accept a client that names an ID scope of this central.

        Its key is checked when it registers.
        """
        scope, _, registration_id = (connect.username or "").partition("/registrations/")
        registration_id = registration_id.partition("/")[0]
        if not REGISTRATION_ID.fullmatch(registration_id) or connect.client_id != registration_id:
            reason = f"the user name {connect.username!r} does not belong to the client id"
            log.info("The registration of %r was refused: %s.", connect.client_id, reason)
            raise Refused(ConnectCode.IDENTIFIER, reason)
        if scope not in self.registry.id_scopes:
            # The service answers a wrong ID scope with this code, too:
            # https://github.com/Azure/azure-iot-sdk-python/issues/670
            ours = " or ".join(repr(known) for known in self.registry.id_scopes)
            reason = f"its ID scope is {scope!r}; this central's is {ours}"
            log.warning("The registration of %s was refused: %s.", registration_id, reason)
            await self.registry.record_connection(registration_id, "registration refused", reason)
            raise Refused(ConnectCode.UNAVAILABLE, reason)
        return Registration(self, connection, connect, registration_id, scope)

    def take_over(self, registration_id: str, connection: Connection) -> None:
        """Note that a device has proved its identity here, and end its older connection."""
        old = self._connections.get(registration_id)
        if old is not None and old is not connection:
            old.abort("another connection registers this device")
        self._connections[registration_id] = connection

    def forget(self, registration_id: str, connection: Connection) -> None:
        """Note that a connection ended."""
        if self._connections.get(registration_id) is connection:
            del self._connections[registration_id]


class Registration:
    """The session of one device that registers."""

    present = False  # The service keeps no sessions.
    expires: float | None = MAX_DURATION

    def __init__(
        self,
        provisioning: Provisioning,
        connection: Connection,
        connect: Connect,
        registration_id: str,
        id_scope: str,
    ) -> None:
        self._provisioning = provisioning
        self._registry = provisioning.registry
        self._faults = provisioning.faults
        self._connection = connection
        self._token = connect.password
        self._id = registration_id
        self._id_scope = id_scope
        self._subscribed = False
        self._operations: dict[str, dict[str, Any]] = {}
        self.keep_alive = min(connect.keep_alive or MAX_KEEP_ALIVE, MAX_KEEP_ALIVE)

    async def opened(self) -> None:
        """Do nothing: the device asks first."""

    async def closed(self, reason: str, will: Publish | None) -> None:  # noqa: ARG002 - for the hub
        """Forget the registration."""
        self._provisioning.forget(self._id, self._connection)
        log.debug("The registration of %s ended: %s.", self._id, reason)

    async def acknowledged(self, packet_id: int) -> None:
        """Do nothing: all answers are sent with quality of service 0."""

    async def subscribe(self, packet: Subscribe) -> None:
        granted = []
        for topic_filter, qos in packet.filters:
            known = topic_filter == RESPONSES
            self._subscribed |= known
            granted.append(min(qos, 1) if known else REFUSED)
        self._connection.send(SubAck(packet.packet_id, tuple(granted)))

    async def unsubscribe(self, packet: Unsubscribe) -> None:
        if RESPONSES in packet.filters:
            self._subscribed = False
        self._connection.send(UnsubAck(packet.packet_id))

    async def publish(self, packet: Publish) -> None:
        try:
            register = request_topic(packet.topic, REGISTER)
            status = request_topic(packet.topic, STATUS)
        except BadBag as error:
            raise ProtocolError(str(error)) from None
        if self._faults.registration == "silent":
            return
        await asyncio.sleep(self._faults.registration_delay)
        if register is not None:
            await self._register(register.get("$rid", ""), packet.body)
        elif status is not None:
            self._answer_status(status.get("$rid", ""), status.get("operationId", ""))
        else:
            raise ProtocolError(f"provisioning does not have a topic {packet.topic[:80]!r}")

    async def _register(self, rid: str, body: bytes) -> None:
        if self._faults.registration in BUSY:
            status, message = BUSY[self._faults.registration]
            await self._refuse("requested as a fault")
            self._answer(rid, status, self._error(status * 1000 + 1, message))
            return
        try:
            await self._check_token()
        except sas.Unauthorized as error:
            await self._refuse(str(error))
            self._answer(rid, 401, self._error(401002, "Unauthorized"))
            return
        self._provisioning.take_over(self._id, self._connection)
        try:
            model = _announced_model(body, self._id)
            outcome = await self._outcome(model)
        except ValueError as error:
            await self._refuse(f"its request is wrong: {error}")
            self._answer(rid, 400, self._error(400004, f"Bad request: {error}"))
            return
        operation_id = f"5.{secrets.token_hex(8)}.{uuid.uuid4()}"
        self._operations = {operation_id: {"operationId": operation_id, **outcome}}
        assigning = {"operationId": operation_id, "status": "assigning"}
        self._answer(rid, 202, assigning)

    def _answer_status(self, rid: str, operation_id: str) -> None:
        operation = self._operations.get(operation_id)
        if operation is None:
            self._answer(rid, 404, self._error(404203, "There is no such operation"))
        else:
            self._answer(rid, 200, operation)

    async def _check_token(self) -> None:
        refused = self._id_scope in self._faults.refused_scopes
        if refused or self._faults.registration == "unauthorized":
            raise sas.Unauthorized("requested as a fault")
        certified_name = self._connection.certified_name
        if certified_name is not None and self._token is None:
            if certified_name != self._id:
                raise sas.Unauthorized(f"its certificate is for {certified_name}")
            return
        sas.check_token(
            self._token,
            path=f"/registrations/{self._id}",
            keys=await self._registry.accepted_keys(self._id),
            now=self._provisioning.clock() + self._faults.clock_offset,
        )

    async def _outcome(self, model: str | None) -> dict[str, Any]:
        """Register the device, and return the answer to its status request."""
        if self._faults.registration in {"failed", "disabled"}:
            return await self._failure(self._faults.registration, "requested as a fault")
        try:
            known = await self._registry.store.run(devices.get, self._id)
        except UnknownDevice:
            # Stricter than the hub, as IoT Central is with the ids of new devices.
            if not NEW_DEVICE_ID.fullmatch(self._id):
                reason = "The id of a new device may contain only letters, digits and hyphens."
                return await self._failure("failed", reason)
        else:
            if not known.enabled:
                return await self._failure("disabled", "The device is blocked by the operator.")
        device = await self._registry.register(self._id, model, id_scope=self._id_scope)
        hub = self._assigned_hub()
        log.info("%s registered and was assigned %s (model: %s).", self._id, hub, model or "none")
        await self._registry.record_connection(self._id, "registered", f"assigned {hub}")
        return {"status": "assigned", "registrationState": self._state(device, hub)}

    async def _failure(self, status: str, reason: str) -> dict[str, Any]:
        await self._refuse(f"{status}: {reason}")
        state = {
            "registrationId": self._id,
            "status": status,
            "errorCode": 400209,
            "errorMessage": reason,
            "lastUpdatedDateTimeUtc": self._now(),
        }
        return {"status": status, "registrationState": state}

    async def _refuse(self, reason: str) -> None:
        log.warning("The registration of %s was refused: %s.", self._id, reason)
        await self._registry.record_connection(self._id, "registration refused", reason)

    def _assigned_hub(self) -> str:
        """Return the name of the hub: of the first ID scope, the one that the device used here."""
        if self._faults.moved_to is not None:
            return self._faults.moved_to
        name = self._connection.server_name
        if name is not None and name.lower().endswith(AZURE_NAMES):
            return azure_hub(self._registry.id_scopes.index(self._id_scope))
        return self._provisioning.hubs.get(
            self._id_scope, self._connection.local_address if name is None else name
        )

    def _answer(self, rid: str, status: int, body: dict[str, Any]) -> None:
        if self._subscribed:
            # The service also sends this with status 429.
            retry = f"&retry-after={RETRY_AFTER}" if status in {202, 429} else ""
            topic = f"$dps/registrations/res/{status}/?$rid={rid}{retry}"
            self._connection.send(Publish(topic, dump_json(body).encode()))

    def _state(self, device: Device, hub: str) -> dict[str, Any]:
        return {
            "registrationId": device.id,
            "createdDateTimeUtc": iso(device.created),
            "assignedHub": hub,
            "deviceId": device.id,
            "status": "assigned",
            "substatus": "initialAssignment",
            "lastUpdatedDateTimeUtc": self._now(),
            "etag": device.etag,
            "payload": None,
        }

    def _error(self, code: int, message: str) -> dict[str, Any]:
        return {
            "errorCode": code,
            "trackingId": str(uuid.uuid4()),
            "message": message,
            "timestampUtc": self._now(),
        }

    def _now(self) -> str:
        return iso(self._provisioning.clock())


def _announced_model(body: bytes, registration_id: str) -> str | None:
    """Return the model that a registration request announces. Raise ValueError."""
    request = parse_json(body or b"{}")
    if not isinstance(request, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - the caller handles one type
    if request.get("registrationId", registration_id) != registration_id:
        raise ValueError("its registration id is not that of the user name")
    payload = request.get("payload")
    # IoT Central accepts both names.
    names = ("modelId", "iotcModelId")
    models = [payload.get(name) for name in names] if isinstance(payload, dict) else []
    return next((m for m in models if isinstance(m, str) and m.startswith("dtmi:")), None)
