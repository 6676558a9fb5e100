"""The connection of one MQTT client: packets in and out, and why it ends."""

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Never, Protocol, cast

from central.errors import CentralError
from central.protocol.mqtt import (
    MAX_CONNECT,
    MAX_PACKET,
    ClientPacket,
    ConnAck,
    Connect,
    ConnectCode,
    Decoder,
    Disconnect,
    PingReq,
    PingResp,
    ProtocolError,
    PubAck,
    Publish,
    ServerPacket,
    Subscribe,
    UnacceptableVersion,
    Unsubscribe,
    encode,
)
from central.protocol.websocket import BEGINS, WebSocket
from central.transport.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

CHUNK = 64 * 1024
EVENTS = "/messages/events"  # In the topic of a device's messages.
MAX_KEEP_ALIVE = 1177.0  # Seconds; IoT Hub's limit, also for a client without a keep-alive.
FROZEN_FACTOR = 3  # A frozen client gets this many times as long, to notice it by itself.
AT_ONCE = 100  # Packets of one client that are handled concurrently.
BURST = 8 * 1024 * 1024.0  # Bytes that a client may send at once,
RATE = 2 * 1024 * 1024.0  # and bytes a second after that.
PACKET = 1024  # Bytes added to the size of each packet, for the work that it takes.
MAX_UNSENT = 4 * 1024 * 1024  # Bytes that wait for a client that does not read.
CLOSING = 1.0  # Seconds for the last packet to be sent.

log = logging.getLogger(__name__)


class Refused(Exception):  # noqa: N818 - names the outcome
    """A client may not connect. It gets the code; `str()` is the reason, for the log."""

    def __init__(self, code: ConnectCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Session(Protocol):
    """What handles the packets of a connected client: a session of provisioning or of the hub.

    Any method may raise ProtocolError or CentralError, which ends the connection. Several packets
    are handled concurrently; their PUBACK and PINGRESP follow in the order of the packets.
    """

    present: bool  # Whether it continues the session of an earlier connection.
    keep_alive: float
    expires: float | None  # Seconds until the connection must end.

    async def opened(self) -> None: ...
    async def publish(self, packet: Publish) -> None: ...
    async def acknowledged(self, packet_id: int) -> None: ...
    async def subscribe(self, packet: Subscribe) -> None: ...
    async def unsubscribe(self, packet: Unsubscribe) -> None: ...
    async def closed(self, reason: str, will: Publish | None) -> None: ...


class Connection:
    """The connection of one client, over TLS and perhaps a websocket.

    `server_name` is the host name that the client asked for (SNI), `certified_name` the common name
    of its certificate, which TLS has verified. Either may be None.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        faults: Faults,
        server_name: str | None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._faults = faults
        self._decoder = Decoder(max_packet=MAX_CONNECT)
        self._credit = BURST  # Bytes that the client may send at once, as of `_credited`.
        self._credited = 0.0
        self._reason: str | None = None
        self._websocket: WebSocket | None = None
        self._first = True
        self._delayed = 0  # Packets that are delayed by the fault `latency`.
        self._due = 0.0  # When the last of them is sent.
        self._frozen = False
        self.server_name = server_name
        self.certified_name = _common_name(writer.get_extra_info("peercert"))
        self.local_address = str(writer.get_extra_info("sockname")[0])
        self.peer_address = str(writer.get_extra_info("peername")[0])

    def send(self, packet: ServerPacket) -> None:
        """Send a packet. A client that reads too slowly is disconnected."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._faults.latency
        if due > loop.time() or self._delayed:
            # In order, even if the latency was longer before.
            self._due = max(math.nextafter(self._due, math.inf), due)
            self._delayed += 1
            loop.call_at(self._due, self._send_delayed, packet)
        else:
            self._send(packet)

    def _send_delayed(self, packet: ServerPacket) -> None:
        self._delayed -= 1
        self._send(packet)

    def _send(self, packet: ServerPacket) -> None:
        silent = self._frozen or self._faults.hang or type(packet) in self._faults.withheld
        if silent or self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT:
            self.abort("it does not read its packets")
            return
        data = encode(packet)
        self._writer.write(data if self._websocket is None else self._websocket.frame(data))

    def freeze(self) -> None:
        """Neither send nor receive anything from now on, not even the end of the connection.

        A client that is alive notices within two keep-alives. The connection ends later than that.
        """
        self._frozen = True
        with suppress(RuntimeError):  # The connection is closing already.
            cast("asyncio.Transport", self._writer.transport).pause_reading()

    def abort(self, reason: str) -> None:
        """End the connection at once; `serve` returns the first such reason."""
        self._reason = self._reason or reason
        self._cut()

    def _cut(self) -> None:
        # Python 3.11.2, as in Debian 12, raises AttributeError if TLS has ended already.
        with suppress(AttributeError):
            self._writer.transport.abort()

    async def close(self) -> None:
        """End the connection once the last packet is sent, within a second. May be called again."""
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSING):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._cut()

    async def receive_connect(self) -> Connect:
        """Return the CONNECT packet with which a connection begins.

        Raise ProtocolError, and SentNothing for a client that leaves at once.
        """
        while True:
            packet = self._decoder.next_packet()
            if isinstance(packet, Connect):
                self._decoder.max_packet = MAX_PACKET
                return packet
            if packet is not None:
                raise ProtocolError("its first packet is not CONNECT")
            data = await self._read()
            if not data and self._first:
                raise SentNothing("it left without sending anything")
            if not data:
                raise ProtocolError("it disconnected before CONNECT")
            self._decoder.feed(data)

    async def _read(self) -> bytes:
        """Return the next bytes of MQTT; nothing at the end."""
        while data := await self._reader.read(CHUNK):
            if self._first and data.startswith(BEGINS):
                self._websocket = WebSocket()
            self._first = False
            if self._websocket is None:
                return data
            mqtt, answer = self._websocket.receive(data)
            self._writer.write(answer)
            if mqtt or self._websocket.ended:
                return mqtt
        return b""

    async def pause(self) -> None:
        """Wait as long as the fault `hang` is on."""
        await self._faults.hang_at("tls")

    async def serve(self, session: Session) -> tuple[str, bool]:
        """Answer the client until the connection ends; return why, and whether with DISCONNECT."""
        try:
            await session.opened()
            await self._converse(session)
        except _Ended as end:
            return self._reason or end.reason, end.polite
        except ProtocolError as error:
            return f"it violated the protocol: {error}", False
        except CentralError as error:
            return str(error), False
        except OSError as error:
            return self._reason or f"the connection was lost ({error})", False

    async def _converse(self, session: Session) -> Never:
        loop = asyncio.get_running_loop()
        last_packet = loop.time()
        patience = 1.5 * min(session.keep_alive or MAX_KEEP_ALIVE, MAX_KEEP_ALIVE)
        expires = math.inf if session.expires is None else last_packet + session.expires
        while True:
            while answered := await self._answer_packets(session):
                last_packet = loop.time()
                await self._pace(answered * PACKET)
            silence = patience * (FROZEN_FACTOR if self._frozen else 1)
            deadline = last_packet + silence
            try:
                async with asyncio.timeout_at(min(deadline, expires)):
                    # If the connection is lost, what arrived before is still to be read.
                    with suppress(ConnectionError):
                        await self._writer.drain()
                    data = await self._read()
            except TimeoutError:
                if self._frozen and loop.time() < last_packet + FROZEN_FACTOR * patience:
                    expires = math.inf  # A frozen client does not see that end either.
                    continue
                silent = f"it sent nothing for {silence:g} s"
                raise _Ended("its token expired" if expires < deadline else silent) from None
            if not data:
                raise _Ended("it closed the connection")
            await self.pause()
            await self._pace(len(data))
            self._decoder.feed(data)

    async def _pace(self, size: int) -> None:
        """Delay reading from a client that sends faster than RATE."""
        now = asyncio.get_running_loop().time()
        gained = (now - self._credited) * RATE
        self._credit, self._credited = min(BURST, self._credit + gained) - size, now
        if self._credit < 0:
            await asyncio.sleep(-self._credit / RATE)

    async def _answer_packets(self, session: Session) -> int:
        """Answer up to AT_ONCE of the packets that have arrived; return how many there were."""
        under_way: list[tuple[ClientPacket, Awaitable[None]]] = []
        try:
            while len(under_way) < AT_ONCE and (packet := self._decoder.next_packet()) is not None:
                under_way.append((packet, self._answer(session, packet)))
        finally:
            # Also if the last one violates the protocol: those before it do not.
            work = [work for _, work in under_way]
            outcomes = await asyncio.gather(*work, return_exceptions=True)
            for (packet, _), outcome in zip(under_way, outcomes, strict=True):
                if outcome is not None:
                    raise outcome
                match packet:
                    case Publish(packet_id=int(packet_id)):
                        if self._faults.quota is None or EVENTS not in packet.topic:
                            self.send(PubAck(packet_id))
                    case PingReq():
                        self.send(PingResp())
        return len(under_way)

    async def _answer(self, session: Session, packet: ClientPacket) -> None:
        match packet:
            case Publish():
                await session.publish(packet)
            case PubAck(packet_id):
                await session.acknowledged(packet_id)
            case Subscribe():
                await session.subscribe(packet)
            case Unsubscribe():
                await session.unsubscribe(packet)
            case PingReq():
                pass  # The reader has answered it.
            case Disconnect():
                raise _Ended("it sent DISCONNECT", polite=True)
            case Connect():
                raise ProtocolError("a second CONNECT [MQTT-3.1.0-2]")


def _common_name(certificate: "Mapping[str, Any] | None") -> str | None:
    subject = (certificate or {}).get("subject", ())
    return next((str(v) for part in subject for k, v in part if k == "commonName"), None)


class SentNothing(Exception):  # noqa: N818 - not an error
    """A client has left without sending anything."""


class _Ended(Exception):  # noqa: N818 - not an error
    """The connection has ended; it is `polite` if the client sent DISCONNECT."""

    def __init__(self, reason: str, *, polite: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.polite = polite


class Service(Protocol):
    """Provisioning or the hub."""

    async def accept(self, connection: Connection, connect: Connect) -> Session:
        """Return the session of a client that may connect. Raise Refused."""


async def serve_client(
    connection: Connection,
    *,
    provisioning: Service,
    hub: Service,
    patience: float,
    signed_in: Callable[[], None],
) -> None:
    """Serve one client from its CONNECT packet, for which it has `patience` seconds, to its end.

    `signed_in` is called when a device has signed in to the hub. A registration is not called so,
    because its key is checked only later.
    """
    peer = connection.peer_address
    try:
        async with asyncio.timeout(patience):
            connect = await connection.receive_connect()
        await connection.pause()
        # Both are on one port, the only one that the SDK uses. The user names differ.
        service = provisioning if "/registrations/" in (connect.username or "") else hub
        session = await service.accept(connection, connect)
    except SentNothing as error:
        # At debug level: the doctor only looks at the certificate.
        log.debug("Disconnected a client at %s: %s.", peer, error)
        return
    except TimeoutError:
        log.info("Disconnected a client at %s: no CONNECT within %g s.", peer, patience)
        return
    except UnacceptableVersion as error:
        log.info("Refused a client at %s: %s.", peer, error)
        connection.send(ConnAck(session_present=False, code=ConnectCode.VERSION))
        return
    except (ProtocolError, CentralError, OSError) as error:
        log.info("Disconnected a client at %s: %s.", peer, error)
        return
    except Refused as refused:
        connection.send(ConnAck(session_present=False, code=refused.code))
        return
    if service is hub:
        signed_in()
    reason, polite = "central stopped", False
    try:
        connection.send(ConnAck(session_present=session.present, code=ConnectCode.ACCEPTED))
        reason, polite = await connection.serve(session)
    finally:
        try:
            await session.closed(reason, None if polite else connect.will)
        except CentralError as error:
            log.error("Cannot record the end of a connection: %s", error)  # noqa: TRY400 - a sentence
