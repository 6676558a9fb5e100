"""One MQTT client's connection: packets in and out, and every reason for which it ends."""

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
LONGEST_KEEP_ALIVE = 1177.0  # Seconds, as IoT Hub has it; also for a client that asks for none.
FORGOTTEN = 3  # Times as long is waited for a frozen client: it is to notice by itself before that.
AT_ONCE = 100  # Packets of one client that are worked on at the same time.
RATE = 2 * 1024 * 1024.0  # Bytes a second that are taken from one client ...
BURST = 4 * RATE  # ... once it has sent this many,
PACKET = 1024  # of which every packet is some more: it is work, however short it is.
MAX_UNSENT = 4 * 1024 * 1024  # Bytes for a client that does not read.
CLOSING = 1.0  # Seconds for a last packet to leave.

log = logging.getLogger(__name__)


class Refused(Exception):  # noqa: N818 - says what is the case.
    """A client may not connect. It gets the code; the reason is for the log."""

    def __init__(self, code: ConnectCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Session(Protocol):
    """What a connected client can do: one is provisioning's, one the hub's.

    A method may raise ProtocolError or CentralError, which ends the connection. What several
    packets ask for is done at the same time; PUBACK (and PINGRESP) follow in order when it is.
    """

    present: bool  # Was it kept from an earlier connection?
    keep_alive: float
    expires: float | None  # Seconds until the client must have signed in again.

    async def opened(self) -> None: ...
    async def publish(self, packet: Publish) -> None: ...
    async def acknowledged(self, packet_id: int) -> None: ...
    async def subscribe(self, packet: Subscribe) -> None: ...
    async def unsubscribe(self, packet: Unsubscribe) -> None: ...
    async def closed(self, reason: str, will: Publish | None) -> None: ...


class Connection:
    """The packets of one client.

    `server_name` is what it asked for by name (SNI), if it did; `certified_name` the common name
    in the certificate that it showed, if it did, which TLS has verified.
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
        self._credit = BURST  # Bytes it may send at once, and when that was so.
        self._credited = 0.0
        self._reason: str | None = None
        self._websocket: WebSocket | None = None
        self._first = True
        self._late = 0  # Packets that wait for their latency to pass.
        self._due = 0.0  # When the last of them is sent.
        self._frozen = False
        self.server_name = server_name
        self.certified_name = _common_name(writer.get_extra_info("peercert"))
        self.local_address = str(writer.get_extra_info("sockname")[0])
        self.peer_address = str(writer.get_extra_info("peername")[0])

    def send(self, packet: ServerPacket) -> None:
        """Send a packet, as soon as the client reads."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._faults.latency
        if due > loop.time() or self._late:
            # Never before one that was sent before it, should the latency have been longer then.
            self._due = max(math.nextafter(self._due, math.inf), due)
            self._late += 1
            loop.call_at(self._due, self._send_late, packet)
        else:
            self._send(packet)

    def _send_late(self, packet: ServerPacket) -> None:
        self._late -= 1
        self._send(packet)

    def _send(self, packet: ServerPacket) -> None:
        silent = self._frozen or self._faults.hang or type(packet) in self._faults.withheld
        if silent or self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT:
            self.abort("it does not read what is sent to it")
            return
        data = encode(packet)
        self._writer.write(data if self._websocket is None else self._websocket.frame(data))

    def freeze(self) -> None:
        """Say and hear nothing from now on, not even the end.

        A client that lives notices it within two keep-alives. One that never comes back is given
        up later than that.
        """
        self._frozen = True
        with suppress(RuntimeError):  # It is closing already.
            cast("asyncio.Transport", self._writer.transport).pause_reading()

    def abort(self, reason: str) -> None:
        """End the connection at once; `serve` returns this reason."""
        self._reason = self._reason or reason
        self._cut()

    def _cut(self) -> None:
        # Python 3.11.2, which Debian 12 has, fails to abort TLS that has ended already. Later
        # ones take it as it is meant.
        with suppress(AttributeError):
            self._writer.transport.abort()

    async def close(self) -> None:
        """End the connection once the last packet has left, or soon. Again is harmless."""
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSING):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._cut()

    async def receive_connect(self) -> Connect:
        """Return the CONNECT that a connection begins with. Raise ProtocolError."""
        while True:
            packet = self._decoder.next_packet()
            if isinstance(packet, Connect):
                self._decoder.max_packet = MAX_PACKET
                return packet
            if packet is not None:
                raise ProtocolError("a connection that does not begin with CONNECT")
            data = await self._read()
            if not data:
                raise ProtocolError("it left before it said who it is")
            self._decoder.feed(data)

    async def _read(self) -> bytes:
        """Return what came of MQTT; nothing at the end."""
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
        """Wait for as long as connections are to hang."""
        await self._faults.hang_at("tls")

    async def serve(self, session: Session) -> tuple[str, bool]:
        """Answer the client until the connection ends; return why, and whether it said goodbye."""
        try:
            await session.opened()
            await self._converse(session)
        except _Ended as end:
            return self._reason or end.reason, end.polite
        except ProtocolError as error:
            return f"it broke the protocol: {error}", False
        except CentralError as error:
            return str(error), False
        except OSError as error:
            return self._reason or f"the connection broke ({error})", False

    async def _converse(self, session: Session) -> Never:
        loop = asyncio.get_running_loop()
        heard = loop.time()
        patience = 1.5 * min(session.keep_alive or LONGEST_KEEP_ALIVE, LONGEST_KEEP_ALIVE)
        expires = math.inf if session.expires is None else heard + session.expires
        while True:
            while answered := await self._answer_packets(session):
                heard = loop.time()
                await self._pace(answered * PACKET)
            silence = patience * (FORGOTTEN if self._frozen else 1)
            deadline = heard + silence
            try:
                async with asyncio.timeout_at(min(deadline, expires)):
                    # Should there be nobody any more: what was said before is still to be heard.
                    with suppress(ConnectionError):
                        await self._writer.drain()
                    data = await self._read()
            except TimeoutError:
                if self._frozen and loop.time() < heard + FORGOTTEN * patience:
                    expires = math.inf  # It is not to hear of that either.
                    continue
                silent = f"nothing was heard from it for {silence:g} s"
                raise _Ended("its token expired" if expires < deadline else silent) from None
            if not data:
                raise _Ended("it closed the connection")
            await self.pause()
            await self._pace(len(data))
            self._decoder.feed(data)

    async def _pace(self, size: int) -> None:
        """Read on later from a client that sends more than its share: it will have to wait."""
        now = asyncio.get_running_loop().time()
        gained = (now - self._credited) * RATE
        self._credit, self._credited = min(BURST, self._credit + gained) - size, now
        if self._credit < 0:
            await asyncio.sleep(-self._credit / RATE)

    async def _answer_packets(self, session: Session) -> int:
        """Answer the packets that are here, though not too many; return how many there were."""
        under_way: list[tuple[ClientPacket, Awaitable[None]]] = []
        try:
            while len(under_way) < AT_ONCE and (packet := self._decoder.next_packet()) is not None:
                under_way.append((packet, self._answer(session, packet)))
        finally:
            # Also if the last one broke a rule: what came before it was said in order.
            work = [work for _, work in under_way]
            outcomes = await asyncio.gather(*work, return_exceptions=True)
            for (packet, _), outcome in zip(under_way, outcomes, strict=True):
                if outcome is not None:
                    raise outcome
                match packet:
                    case Publish(packet_id=int(packet_id)):
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
                pass
            case Disconnect():
                raise _Ended("it said goodbye", polite=True)
            case Connect():
                raise ProtocolError("a second CONNECT [MQTT-3.1.0-2]")


def _common_name(certificate: "Mapping[str, Any] | None") -> str | None:
    subject = (certificate or {}).get("subject", ())
    return next((str(v) for part in subject for k, v in part if k == "commonName"), None)


class _Ended(Exception):  # noqa: N818 - no error.
    """The connection has ended."""

    def __init__(self, reason: str, *, polite: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.polite = polite


class Service(Protocol):
    """Provisioning, or the hub: who decides whether a client may connect."""

    async def accept(self, connection: Connection, connect: Connect) -> Session: ...


async def serve_client(
    connection: Connection,
    *,
    provisioning: Service,
    hub: Service,
    patience: float,
    signed_in: Callable[[], None],
) -> None:
    """Serve one client from its CONNECT to its end.

    It has `patience` seconds to send the CONNECT. `signed_in` is called when it has shown a right
    key; one that registers does not do that at once.
    """
    peer = connection.peer_address
    try:
        async with asyncio.timeout(patience):
            connect = await connection.receive_connect()
        await connection.pause()
        # One port for both, as the SDK knows only one; the user name tells them apart.
        service = provisioning if "/registrations/" in (connect.username or "") else hub
        session = await service.accept(connection, connect)
    except TimeoutError:
        log.info("A client at %s was cut off: no CONNECT in %g s.", peer, patience)
        return
    except UnacceptableVersion as error:
        log.info("A client at %s was refused: %s.", peer, error)
        connection.send(ConnAck(session_present=False, code=ConnectCode.VERSION))
        return
    except (ProtocolError, CentralError, OSError) as error:
        log.info("A client at %s was cut off: %s.", peer, error)
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
            log.error("The end of a connection could not be noted: %s", error)  # noqa: TRY400 - a sentence
