"""The hub: lets devices in, and sends them what the operator asks for.

https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide
"""

import logging
import re
import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qs

from central.errors import InvalidCommand, NotConnected, UnknownDevice
from central.hub.calls import Calls
from central.hub.names import azure_hub
from central.hub.presence import TAKEN_OVER, Presence
from central.hub.session import DeviceSession
from central.protocol import sas, twins
from central.protocol.mqtt import Connect, ConnectCode
from central.records import DEVICE_ID, Command, Device, QueuedMessage, Twin
from central.storage import devices
from central.storage.cloud_properties import CloudPatch
from central.storage.registry import Registry
from central.transport.connection import Connection, Refused
from central.transport.faults import Faults

COMMAND_NAME = re.compile(r"[A-Za-z0-9_.*$-]{1,256}")
MAX_REQUEST = 128 * 1024  # Bytes of a direct method's payload; IoT Hub's limit.
MAX_QUEUED_REQUEST = 64 * 1024  # Bytes of a cloud-to-device message.
TIME_TO_LIVE = 24 * 3600.0  # Seconds that a queued command waits, as in IoT Central.
NO_PAYLOAD = b"@"  # What IoT Central sends for a queued command without a request.

log = logging.getLogger(__name__)


class Hub:
    """The hubs of one central, one for each ID scope, which share their devices.

    `hubs` has the host name of each but the first, by ID scope. All methods are for the event loop.

    `presence` has the connected devices, `calls` the commands that wait for an answer.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        faults: Faults,
        clock: Callable[[], float],
        hubs: Mapping[str, str] | None = None,
    ) -> None:
        self.registry = registry
        self._scopes = {name: scope for scope, name in (hubs or {}).items()}
        for number, scope in enumerate(registry.id_scopes):
            self._scopes[azure_hub(number)] = scope
        self.faults = faults
        self.clock = clock
        self.presence: Presence[DeviceSession] = Presence(registry.events, clock)
        self.calls = Calls(registry, clock)

    # What the operator asks for

    async def call(
        self,
        device_id: str,
        name: str,
        request: object | None,
        *,
        connect_timeout: float = 0,
        response_timeout: float = 30,
    ) -> Command:
        """Call a command (a direct method) and return it answered. It is recorded in any case.

        `request` None is an empty payload. The timeouts are in seconds: how long to wait for the
        device to connect, and then for its answer. Raise UnknownDevice, InvalidCommand,
        NotConnected or NoAnswer.
        """
        payload = _payload(name, request, MAX_REQUEST)
        command = Command(str(uuid.uuid4()), device_id, name, request, asked=self.clock())
        await self.registry.record_command(command)
        try:
            session = await self.presence.wait_until_ready(device_id, connect_timeout)
        except NotConnected:
            await self.calls.record(command, HTTPStatus.NOT_FOUND)
            raise
        return await self.calls.call(
            command, lambda rid: session.call(name, rid, payload), response_timeout
        )

    async def queue_command(self, device_id: str, name: str, request: object | None) -> Command:
        """Queue a command for a device that may be offline, for up to 24 hours.

        The device does not answer it. Raise UnknownDevice, InvalidCommand or QueueFull.
        """
        payload = _payload(name, request, MAX_QUEUED_REQUEST) or NO_PAYLOAD
        now = self.clock()
        command = Command(str(uuid.uuid4()), device_id, name, request, asked=now, queued=True)
        message = QueuedMessage(
            number=0,  # Assigned when it is stored.
            device_id=device_id,
            command_id=command.id,
            properties={
                "$.mid": command.id,
                "$.to": f"/devices/{device_id}/messages/devicebound",
                "method-name": name,
                "iothub-ack": "none",
            },
            body=payload,
            expires=now + TIME_TO_LIVE,
            sent=False,
        )
        await self.registry.record_command(command, message)
        session = self.presence.session(device_id)
        if session is not None:
            await session.deliver()
        return command

    async def set_desired(
        self,
        device_id: str,
        patch: twins.Document,
        *,
        replace: bool = False,
        cloud: CloudPatch | None = None,
    ) -> Twin:
        """Merge desired properties (null removes one), or replace them all; notify the device.

        Cloud properties are stored with them, and not sent. Raise UnknownDevice, InvalidTwin or
        TwinTooLarge.
        """
        twin, change = await self.registry.patch_desired(
            device_id, patch, replace_all=replace, cloud=cloud
        )
        session = self.presence.session(device_id)
        if session is not None and (change or not cloud):  # Else nothing changed for the device.
            session.notify_desired(change, twin.desired_version)
        return twin

    # Connections

    async def accept(self, connection: Connection, connect: Connect) -> DeviceSession:
        """Accept a device that proves its identity, and end its older connection. Raise Refused."""
        device_id, model = _identity(connect)
        if self.faults.connack:
            return await self._refuse(device_id, self.faults.connack, "requested as a fault")
        id_scope = self._scopes.get(_hub_name(connect), self.registry.id_scope)
        if id_scope in self.faults.refused_scopes:
            reason = f"the hub of ID scope {id_scope} refuses devices, as requested"
            return await self._refuse(device_id, ConnectCode.NOT_AUTHORIZED, reason)
        if self.faults.moved_to not in {None, _hub_name(connect)}:
            reason = f"it belongs to {self.faults.moved_to} now"
            return await self._refuse(device_id, ConnectCode.NOT_AUTHORIZED, reason)
        try:
            device, expires = await self._check(device_id, connection, connect)
        except sas.Unauthorized as error:
            return await self._refuse(device_id, ConnectCode.NOT_AUTHORIZED, str(error))
        if model is not None:
            await self.registry.announce(device_id, model)
        session = DeviceSession(
            self,
            connection,
            connect,
            device_id,
            wraps=(model or device.announced) is None,
            expires=None if expires is None else expires - self.clock(),
        )
        # The older session saves what this one restores.
        await self.presence.disconnect(device_id, TAKEN_OVER)
        await session.restore()
        await self.presence.enter(session)
        return session

    async def _check(
        self, device_id: str, connection: Connection, connect: Connect
    ) -> tuple[Device, float | None]:
        """Return the device, and when its token expires. Raise sas.Unauthorized."""
        try:
            device = await self.registry.store.run(devices.get, device_id)
        except UnknownDevice as error:
            raise sas.Unauthorized(str(error)) from None
        expires = None
        if connection.certified_name is None or connect.password is not None:
            expires = sas.check_token(
                connect.password,
                path=f"/devices/{device_id}",
                keys=await self.registry.accepted_keys(device_id),
                now=self.clock() + self.faults.clock_offset,
            )
        elif connection.certified_name != device_id:
            raise sas.Unauthorized(f"its certificate is for {connection.certified_name}")
        if not device.enabled:
            raise sas.Unauthorized("it is blocked by the operator")
        return device, expires

    async def _refuse(self, device_id: str, code: ConnectCode, reason: str) -> DeviceSession:
        log.warning("%s was refused: %s.", device_id, reason)
        await self.registry.record_connection(device_id, "refused", reason)
        raise Refused(code, reason)


def _identity(connect: Connect) -> tuple[str, str | None]:
    """Return the device id and the announced model of `{hub}/{device}/?api-version=…`."""
    _, _, rest = (connect.username or "").partition("/")
    device_id, _, query = rest.partition("/")
    if not DEVICE_ID.fullmatch(device_id) or device_id != connect.client_id:
        reason = f"the user name {connect.username!r} does not belong to the client id"
        log.warning("%r was refused: %s.", connect.client_id, reason)
        raise Refused(ConnectCode.IDENTIFIER, reason)
    models = parse_qs(query.removeprefix("?")).get("model-id", [])
    return device_id, next((m for m in models if m.startswith("dtmi:")), None)


def _hub_name(connect: Connect) -> str:
    """Return the name of the hub that the client means to connect to."""
    return (connect.username or "").partition("/")[0]


def _payload(name: str, request: object | None, limit: int) -> bytes:
    if not COMMAND_NAME.fullmatch(name):
        raise InvalidCommand(
            f"{name[:80]!r} cannot be the name of a command: it has 1 to 256 letters, digits or "
            "signs of _ . * $ -"
        )
    payload = b"" if request is None else twins.dump_json(request).encode("utf-8", "replace")
    if len(payload) > limit:
        raise InvalidCommand(f"A request has at most {limit} bytes; this one has {len(payload)}.")
    return payload
