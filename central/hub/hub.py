"""The hub: which devices are connected, and what is asked of them.

https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide
"""

import asyncio
import logging
import re
import uuid
from collections.abc import Callable
from urllib.parse import parse_qs

from central.errors import InvalidCommand, NoAnswer, NotConnected, UnknownDevice
from central.hub.session import DeviceSession
from central.protocol import sas, twins
from central.protocol.mqtt import Connect, ConnectCode
from central.records import Command, Device, Event, QueuedMessage, Twin
from central.storage.history import NO_ANSWER
from central.storage.registry import DEVICE_ID, Registry
from central.storage.store import Store
from central.transport.connection import Connection, Refused
from central.transport.faults import Faults

COMMAND_NAME = re.compile(r"[A-Za-z0-9_.*$-]{1,256}")
MAX_REQUEST = 128 * 1024  # Bytes of a method's payload, as IoT Hub has it.
MAX_QUEUED_REQUEST = 64 * 1024  # Bytes of a message to a device.
TIME_TO_LIVE = 24 * 3600.0  # Seconds; as IoT Central has it for queued commands.
NO_PAYLOAD = b"@"  # What IoT Central sends for a queued command without a request.

log = logging.getLogger(__name__)


class Hub:
    """Every device's connection, and what an operator asks through it."""

    def __init__(
        self, registry: Registry, store: Store, *, faults: Faults, clock: Callable[[], float]
    ) -> None:
        self.registry = registry
        self.store = store
        self.faults = faults
        self.clock = clock
        self._sessions: dict[str, DeviceSession] = {}
        # By request id. They outlive connections.
        self._calls: dict[str, tuple[Command, asyncio.Future[Command]]] = {}
        self._arrived = asyncio.Condition()
        self._last_seen: dict[str, float] = {}
        registry.events.listen(self._on_event)

    # What is known of a connection

    def connected(self, device_id: str) -> bool:
        return device_id in self._sessions

    def connected_since(self, device_id: str) -> float | None:
        """Return since when a device is connected; None if it is not."""
        session = self._sessions.get(device_id)
        return None if session is None else session.since

    def last_seen(self, device_id: str) -> float | None:
        """Return when something was last heard of a device since the start; None: not yet."""
        return self._last_seen.get(device_id)

    def saw(self, device_id: str) -> None:
        """Hear that a device sent something."""
        self._last_seen[device_id] = self.clock()

    async def disconnect(self, device_id: str) -> bool:
        """Cut a device's connection; return whether there was one. It may well come back."""
        return await self._end(device_id, "cut by the operator")

    # What is asked of a device

    async def call(
        self,
        device_id: str,
        name: str,
        request: object | None,
        *,
        connect_timeout: float = 0,
        response_timeout: float = 30,
    ) -> Command:
        """Call a command (a direct method) and return it answered.

        `request` None is an empty payload. Raise UnknownDevice, InvalidCommand, NotConnected
        or NoAnswer; the command is in the history whatever happens.
        """
        payload = _payload(name, request, MAX_REQUEST)
        command = _new_command(device_id, name, request, asked=self.clock(), queued=False)
        await self.registry.record_command(command)
        try:
            session = await self._session_for(device_id, connect_timeout)
            return await self._answer(session, command, payload, response_timeout)
        except NotConnected:
            await self._record(command, 404, None, answered=None)
            raise
        except TimeoutError:
            await self._record(command, NO_ANSWER, None, answered=None)
            raise NoAnswer(device_id, name, response_timeout) from None

    async def answered(self, device_id: str, rid: str, status: int, response: object) -> bool:
        """Hear a device's answer to a call; False if nobody waits for one of this device."""
        command, answer = self._calls.get(rid, (None, None))
        if command is None or answer is None or answer.done() or command.device_id != device_id:
            return False
        # Noted before the device's next packet is: that may complete what it answered with 202.
        try:
            changed = await self._record(command, status, response, answered=self.clock())
        except UnknownDevice as error:
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(changed)
        return True

    async def queue_command(
        self, device_id: str, name: str, request: object | None, component: str | None = None
    ) -> Command:
        """Queue a command for a device that may be away, for 24 h at most. It gives no answer.

        Raise UnknownDevice, InvalidCommand, or QueueFull.
        """
        if component is not None:
            name = f"{component}*{name}"
        payload = _payload(name, request, MAX_QUEUED_REQUEST) or NO_PAYLOAD
        now = self.clock()
        command = _new_command(device_id, name, request, asked=now, queued=True)
        message = QueuedMessage(
            number=0,  # Until it is kept.
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
        session = self._sessions.get(device_id)
        if session is not None:
            await session.deliver()
        return command

    async def set_desired(
        self, device_id: str, patch: twins.Document, *, replace: bool = False
    ) -> Twin:
        """Merge what is wanted of a device (null removes), or replace it all; tell the device.

        Raise UnknownDevice, InvalidTwin or TwinTooLarge.
        """
        twin, change = await self.registry.patch_desired(device_id, patch, replace_all=replace)
        session = self._sessions.get(device_id)
        if session is not None:
            session.notify_desired(change, twin.desired_version)
        return twin

    # Connections

    async def accept(self, connection: Connection, connect: Connect) -> DeviceSession:
        """Let a device in that has the right key; end an older connection of the same one."""
        device_id, model = _identity(connect)
        if self.faults.connack:
            return await self._refuse(device_id, self.faults.connack, "asked for as a fault")
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
        takeover = "another connection with its device id took over"
        await self._end(device_id, takeover)
        await session.restore()
        while await self._end(device_id, takeover):
            pass  # Several came at once: each ends the one before it.
        self._sessions[device_id] = session
        return session

    async def _check(
        self, device_id: str, connection: Connection, connect: Connect
    ) -> tuple[Device, float | None]:
        """Return the device, and when its token expires. Or Unauthorized."""
        try:
            device = await self.registry.fetch_device(device_id)
        except UnknownDevice as error:
            raise sas.Unauthorized(str(error)) from None
        expires = None
        if connection.certified_name is None or connect.password is not None:
            expires = sas.check_token(
                connect.password,
                path=f"/devices/{device_id}",
                keys=await self.registry.fetch_keys(device_id),
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

    async def arrived(self) -> None:
        """Hear that a device can take commands now."""
        async with self._arrived:
            self._arrived.notify_all()

    def left(self, session: DeviceSession) -> None:
        """Hear that a session's connection ended."""
        if self._sessions.get(session.device_id) is session:
            del self._sessions[session.device_id]

    async def _session_for(self, device_id: str, connect_timeout: float) -> DeviceSession:
        """Return the session of a device that takes commands, waiting for it. Or NotConnected."""

        def ready() -> DeviceSession | None:
            session = self._sessions.get(device_id)
            return session if session is not None and session.takes_commands else None

        try:
            async with asyncio.timeout(connect_timeout), self._arrived:
                session = await self._arrived.wait_for(ready)
        except TimeoutError:
            session = ready()
        if session is None:
            raise NotConnected(device_id)
        return session

    async def _answer(
        self, session: DeviceSession, command: Command, payload: bytes, patience: float
    ) -> Command:
        """Call a method and wait for its answer, over a new connection if need be."""
        # Never twice, after a restart neither: an answer to an older call is no answer to this one.
        rid = uuid.uuid4().hex
        answer: asyncio.Future[Command] = asyncio.get_running_loop().create_future()
        self._calls[rid] = command, answer
        try:
            session.call(command.name, rid, payload)
            async with asyncio.timeout(patience):
                return await answer
        finally:
            del self._calls[rid]

    async def _end(self, device_id: str, reason: str) -> bool:
        session = self._sessions.get(device_id)
        if session is None:
            return False
        session.abort(reason)
        await session.ended.wait()
        return True

    def _on_event(self, event: Event) -> None:
        """End the connection of a device that was deleted or blocked."""
        if event.kind != "device":
            return
        session = self._sessions.get(event.device_id)
        if event.data is None:
            self._last_seen.pop(event.device_id, None)
        if session is not None and event.data is None:
            session.abort("it was deleted")
        elif session is not None and not event.data.enabled:
            session.abort("it was blocked by the operator")

    async def _record(
        self, command: Command, status: int, response: object, *, answered: float | None
    ) -> Command:
        changed = await self.registry.record_answer(
            command.id, answered=answered, status=status, response=response
        )
        if changed is None:
            raise UnknownDevice(command.device_id)
        return changed


def _identity(connect: Connect) -> tuple[str, str | None]:
    """Return who wants to connect, and the model it names, from `{hub}/{device}/?api-version=…`."""
    _, _, rest = (connect.username or "").partition("/")
    device_id, _, query = rest.partition("/")
    if not DEVICE_ID.fullmatch(device_id) or device_id != connect.client_id:
        reason = f"the user name {connect.username!r} is not for the client id"
        log.warning("%r was refused: %s.", connect.client_id, reason)
        raise Refused(ConnectCode.IDENTIFIER, reason)
    models = parse_qs(query.removeprefix("?")).get("model-id", [])
    return device_id, next((m for m in models if m.startswith("dtmi:")), None)


def _hub_name(connect: Connect) -> str:
    """Return the hub that the client means to speak to."""
    return (connect.username or "").partition("/")[0]


def _payload(name: str, request: object | None, limit: int) -> bytes:
    if not COMMAND_NAME.fullmatch(name):
        raise InvalidCommand(f"{name[:80]!r} cannot be the name of a command.")
    payload = b"" if request is None else twins.dump_json(request).encode("utf-8", "replace")
    if len(payload) > limit:
        raise InvalidCommand(f"A request has at most {limit} bytes; this one has {len(payload)}.")
    return payload


def _new_command(
    device_id: str, name: str, request: object | None, *, asked: float, queued: bool
) -> Command:
    return Command(
        id=str(uuid.uuid4()),
        device_id=device_id,
        name=name,
        request=request,
        asked=asked,
        answered=None,
        status=None,
        response=None,
        queued=queued,
        completion=None,
        completed=None,
    )
