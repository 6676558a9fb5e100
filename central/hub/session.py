"""The session of one device at the hub: its topics in both directions.

https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from central.errors import InvalidTwin, TwinTooLarge
from central.hub.calls import Calls
from central.hub.presence import TAKEN_OVER, Presence
from central.protocol import twins
from central.protocol.mqtt import (
    MAX_BODY,
    REFUSED,
    Connect,
    ProtocolError,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from central.protocol.topics import (
    BadBag,
    creation_time,
    decode_bag,
    encode_bag,
    matches,
    request_topic,
    split_properties,
)
from central.storage import command_queue, devices
from central.storage.registry import Registry
from central.transport.connection import Connection
from central.transport.faults import Faults

METHODS = "$iothub/methods/POST/"
METHOD_ANSWERS = "$iothub/methods/res/"
TWIN_ANSWERS = "$iothub/twin/res/"
TWIN_GET = "$iothub/twin/GET"
TWIN_REPORT = "$iothub/twin/PATCH/properties/reported"
MAX_FILTERS = 20
DESIRED = "$iothub/twin/PATCH/properties/desired/"

log = logging.getLogger(__name__)


class SessionHub(Protocol):
    """What a session needs of its hub."""

    registry: Registry
    faults: Faults
    clock: Callable[[], float]
    presence: "Presence[DeviceSession]"
    calls: Calls


class DeviceSession:
    """A device's subscriptions, and the messages that are on their way to it."""

    def __init__(
        self,
        hub: SessionHub,
        connection: Connection,
        connect: Connect,
        device_id: str,
        *,
        wraps: bool,
        expires: float | None,
    ) -> None:
        self._hub = hub
        self._registry = hub.registry
        self._store = hub.registry.store
        self._connection = connection
        self._clean = connect.clean_session
        self._wraps = wraps  # Without an announced model, values are sent in objects, as in 2020.
        self._filters: dict[str, int] = {}
        self._open = False  # Nothing is sent before CONNACK.
        self._delivered: dict[int, int] = {}  # Packet id to number of the queued message.
        self._received: deque[float] = deque()  # Times of the messages of the last second.
        self.device_id = device_id
        self.since = hub.clock()
        self.ended = asyncio.Event()
        self.present = False
        self.keep_alive = float(connect.keep_alive)
        self.expires = expires

    @property
    def takes_commands(self) -> bool:
        return self._granted(METHODS + "x") is not None

    def abort(self, reason: str) -> None:
        self._connection.abort(reason)

    # Beginning and end of the connection

    async def restore(self) -> None:
        """Continue the saved session of this device, or forget it, as the client requests."""
        store, device_id = self._store, self.device_id
        if self._clean:
            await store.run(command_queue.forget_session, device_id)
            return
        if self._hub.faults.sessions_lost:
            await store.run(command_queue.save_session, device_id, {})
            return
        kept = await store.run(command_queue.load_session, device_id)
        self.present = kept is not None
        self._filters = kept or {}

    async def opened(self) -> None:
        self._open = True
        if not self.present:
            await self._save()
        detail = f"from {self._connection.peer_address}"
        log.info("%s connected %s.", self.device_id, detail)
        self._hub.presence.saw(self.device_id)
        await self._registry.record_connection(self.device_id, "connected", detail)
        await self.deliver()
        await self._hub.presence.notify_ready()
        if self._hub.faults.failing:
            self.abort("the hub fails (requested as a fault)")
        if self._hub.faults.rival is not None:
            asyncio.get_running_loop().call_later(
                self._hub.faults.rival, self.abort, f"{TAKEN_OVER} (requested as a fault)"
            )

    async def closed(self, reason: str, will: Publish | None) -> None:
        self._open = False
        log.info("%s disconnected: %s.", self.device_id, reason)
        try:
            await self._registry.record_connection(self.device_id, "disconnected", reason)
        finally:
            # Only now, so that the log has the beginning of the next connection after this end.
            self._hub.presence.leave(self)
            self.ended.set()
        if will is not None:
            await self._last_will(will)

    async def _last_will(self, will: Publish) -> None:
        try:
            if will.topic.startswith(self._events):
                await self._telemetry(will, {"iothub-MessageType": "Will"})
        except BadBag as error:
            log.warning("The last will of %s was discarded: %s.", self.device_id, error)

    # Subscriptions

    async def subscribe(self, packet: Subscribe) -> None:
        granted = []
        for topic_filter, qos in packet.filters:
            if self._is_allowed(topic_filter):
                self._filters[topic_filter] = min(qos, 1)
                granted.append(min(qos, 1))
            else:
                log.warning("Refused the subscription of %s to %r.", self.device_id, topic_filter)
                granted.append(REFUSED)
        await self._save()
        self._connection.send(SubAck(packet.packet_id, tuple(granted)))
        await self.deliver()
        await self._hub.presence.notify_ready()

    async def unsubscribe(self, packet: Unsubscribe) -> None:
        for topic_filter in packet.filters:
            self._filters.pop(topic_filter, None)
        await self._save()
        self._connection.send(UnsubAck(packet.packet_id))

    def _is_allowed(self, topic_filter: str) -> bool:
        """Return whether the hub has the topics of a filter, of which a device may have 20."""
        allowed = topic_filter in self._filters or len(self._filters) < MAX_FILTERS
        return allowed and topic_filter.startswith((self._messages, METHODS, TWIN_ANSWERS, DESIRED))

    def _granted(self, topic: str) -> int | None:
        """Return the granted quality of service of a topic; None if it is not subscribed."""
        if not self._open:
            return None
        return max((q for f, q in self._filters.items() if matches(f, topic)), default=None)

    async def _save(self) -> None:
        if not self._clean:
            filters = dict(self._filters)
            await self._store.run(command_queue.save_session, self.device_id, filters)

    # From the device

    async def publish(self, packet: Publish) -> None:
        self._hub.presence.saw(self.device_id)
        if len(packet.body) > MAX_BODY:
            raise ProtocolError(f"a message of {len(packet.body)} bytes")
        topic = packet.topic
        try:
            if topic.startswith(self._events) or topic == self._events.rstrip("/"):
                await self._telemetry(packet, {"mqtt-retain": "true"} if packet.retain else {})
            elif (parameters := request_topic(topic, TWIN_GET)) is not None:
                await self._get_twin(parameters.get("$rid", ""))
            elif (parameters := request_topic(topic, TWIN_REPORT)) is not None:
                await self._report(parameters.get("$rid", ""), packet.body)
            elif topic.startswith(METHOD_ANSWERS):
                await self._answer_call(topic, packet.body)
            else:
                raise ProtocolError(f"the hub does not have a topic {topic[:80]!r}")
        except BadBag as error:
            raise ProtocolError(str(error)) from None

    async def _telemetry(self, packet: Publish, added: dict[str, str]) -> None:
        bag = decode_bag(packet.topic.removeprefix(self._events.rstrip("/")).lstrip("/"))
        properties, system = split_properties(bag)
        self._throttle()
        if self._hub.faults.quota is not None:
            if self._hub.faults.quota == "closed":
                self.abort("the daily quota is used up (requested as a fault)")
            return
        if self._hub.faults.cuts(recorded=False):
            self.abort("cut on request, before its message was recorded")
            return
        await self._registry.record_message(
            self.device_id,
            created=creation_time(bag),
            body=packet.body,
            properties=properties | added,
            system=system,
        )
        if self._hub.faults.cuts(recorded=True):
            self.abort("cut on request, before its message was acknowledged")

    def _throttle(self) -> None:
        """Disconnect a device that exceeds the fault `throttle`."""
        most = self._hub.faults.throttle
        if most is None:
            return
        now = asyncio.get_running_loop().time()
        self._received = deque(at for at in self._received if at > now - 1.0)
        self._received.append(now)
        if len(self._received) > most:
            self.abort(f"it sent more than {most:g} messages a second")

    async def _get_twin(self, rid: str) -> None:
        if self._refuses_twin(rid):
            return
        twin = await self._store.run(devices.get_twin, self.device_id)
        desired = twins.wrapped(twin.desired) if self._wraps else twin.desired
        document = {
            "desired": {**desired, "$version": twin.desired_version},
            "reported": {**twin.reported, "$version": twin.reported_version},
        }
        self._answer_twin(rid, 200, twins.dump_json(document).encode())

    def _refuses_twin(self, rid: str) -> bool:
        """Answer a twin request with the status of the fault `twin`, if it has one."""
        status = {"throttled": 429, "unavailable": 503}.get(self._hub.faults.twin or "")
        if status is not None:
            self._answer_twin(rid, status, b"")
        return status is not None

    async def _report(self, rid: str, body: bytes) -> None:
        if self._refuses_twin(rid):
            return
        try:
            twin = await self._registry.patch_reported(self.device_id, twins.parse_json(body))
        except TwinTooLarge as error:
            self._refuse_report(rid, 413, error)
        except (ValueError, InvalidTwin) as error:
            self._refuse_report(rid, 400, error)
        else:
            self._answer_twin(rid, 204, b"", version=twin.reported_version)

    def _refuse_report(self, rid: str, status: int, error: Exception) -> None:
        log.warning("Refused the reported properties of %s: %s", self.device_id, error)
        body = {"errorCode": status * 1000 + 4, "message": str(error)}
        self._answer_twin(rid, status, twins.dump_json(body).encode("utf-8", "replace"))

    def _answer_twin(self, rid: str, status: int, body: bytes, version: int | None = None) -> None:
        if self._hub.faults.twin == "silent":
            return
        more = "" if version is None else f"&$version={version}"
        self._send(f"{TWIN_ANSWERS}{status}/?$rid={rid}{more}", body)

    async def _answer_call(self, topic: str, body: bytes) -> None:
        status, _, query = topic.removeprefix(METHOD_ANSWERS).partition("/?")
        rid = decode_bag(query).get("$rid", "")
        try:
            number = int(status)
        except ValueError:
            raise ProtocolError(
                f"the status {status[:20]!r} of a command is not a number"
            ) from None
        try:
            response = twins.parse_json(body) if body else None
        except ValueError:
            response = body.decode("utf-8", "replace")  # Not JSON.
        if not await self._hub.calls.answered(self.device_id, rid, number, response):
            log.info("%s answered a command that is not waiting for an answer.", self.device_id)

    async def acknowledged(self, packet_id: int) -> None:
        self._hub.presence.saw(self.device_id)
        number = self._delivered.get(packet_id)
        if number is None:
            return
        command_id = await self._store.run(command_queue.remove, number)
        self._delivered.pop(packet_id, None)  # Only now: `deliver` would send it again.
        if command_id is not None:
            await self._registry.record_answer(
                command_id, answered=self._hub.clock(), status=None, response=None
            )

    # To the device

    def call(self, name: str, rid: str, payload: bytes) -> None:
        """Call a command. The answer has the same request id."""
        self._send(f"{METHODS}{name}/?$rid={rid}", payload)

    def notify_desired(self, change: twins.Document, version: int) -> None:
        """Send a change of the desired properties, if the device subscribes to them."""
        body = twins.wrapped(change) if self._wraps else change
        self._send(
            f"{DESIRED}?$version={version}",
            twins.dump_json({**body, "$version": version}).encode(),
        )

    async def deliver(self) -> None:
        """Send the queued messages that are not on their way yet, in order."""
        qos = self._granted(self._messages + "x")
        if qos is None:
            return
        now = self._hub.clock()
        waiting = await self._store.run(command_queue.take, self.device_id, now)
        for message in waiting:
            if message.packet_id in self._delivered:
                continue
            self._delivered[message.packet_id] = message.number
            topic = self._messages + encode_bag(message.properties)
            if qos:
                again = message.sent
                packet = Publish(topic, message.body, 1, message.packet_id, duplicate=again)
                self._connection.send(packet)
            else:
                self._connection.send(Publish(topic, message.body))
                await self.acknowledged(message.packet_id)

    def _send(self, topic: str, body: bytes) -> None:
        if self._granted(topic) is not None:
            self._connection.send(Publish(topic, body))  # Quality of service 0, as the hub's.

    @property
    def _events(self) -> str:
        return f"devices/{self.device_id}/messages/events/"

    @property
    def _messages(self) -> str:
        return f"devices/{self.device_id}/messages/devicebound/"
