"""The fault bench: what is to go wrong from now on, for tests and for the console.

One attribute or method each, asked at one place. All are used from the event loop.
"""

import asyncio
import socket
from typing import Literal, Protocol, get_args

from central.protocol.mqtt import ConnectCode, ServerPacket

Hang = Literal["tcp", "tls"]
Network = Literal["refuse", "reset"]
Registration = Literal["failed", "disabled", "unauthorized", "throttled", "error", "silent"]
TwinFault = Literal["silent", "throttled"]
Certificate = Literal["expired", "not-yet-valid", "another-authority"]


class Connected(Protocol):
    """A connection that can be cut, or go deaf and dumb."""

    def abort(self, reason: str) -> None: ...
    def freeze(self) -> None: ...


class Faults:
    """What is to go wrong from now on. At first, nothing."""

    registration: Registration | None
    """How provisioning answers every registration, in place of what is true."""

    registration_delay: float
    """Seconds before provisioning answers."""

    connack: ConnectCode | None
    """How the hub answers every CONNECT, in place of what is true."""

    withheld: set[type[ServerPacket]]
    """Kinds of packets that are never sent, such as PubAck."""

    twin: TwinFault | None
    """No answer to what is asked or reported of a twin, or only that it is too often (429)."""

    latency: float
    """Seconds by which every packet to a client is late. Their order stays."""

    clock_offset: float
    """Seconds that this central's clock is ahead, where the age of a token is judged."""

    certificate: Certificate | None
    """What is wrong with the certificate that a new connection is shown."""

    moved_to: str | None
    """The hub that devices belong to now: provisioning says so, and every other name refuses."""

    throttle: float | None
    """Messages a second beyond which a device is disconnected; MQTT can say it no other way."""

    sessions_lost: bool
    """Whether a device that connects finds its subscriptions forgotten."""

    def __init__(self) -> None:
        self._connections: set[Connected] = set()
        self._listening: list[socket.socket] = []
        self._hang: Hang | None = None
        self._network: Network | None = None
        self._not_hanging = asyncio.Event()
        self._not_refusing = asyncio.Event()
        self.clear()

    def clear(self) -> None:
        """Let everything go right again. What was frozen stays so."""
        self.registration = None
        self.registration_delay = 0.0
        self.connack = None
        self.withheld = set()
        self.twin = None
        self.latency = 0.0
        self.clock_offset = 0.0
        self.certificate = None
        self.moved_to = None
        self.throttle = None
        self.sessions_lost = False
        self._cuts = 0
        self._cut_recorded = False
        self.hang = None
        self.network = None

    @property
    def hang(self) -> Hang | None:
        """Connections are accepted (`tcp`), or also get through the TLS handshake (`tls`).

        Then they hang, as do those that were open. They go on when this is None again.
        """
        return self._hang

    @hang.setter
    def hang(self, stage: Hang | None) -> None:
        self._hang = stage
        if stage is None:
            self._not_hanging.set()
        else:
            self._not_hanging.clear()

    async def hang_at(self, stage: Hang) -> None:
        """Wait here for as long as connections are to hang at this stage."""
        while self._hang == stage or (self._hang is not None and stage == "tls"):
            await self._not_hanging.wait()

    @property
    def network(self) -> Network | None:
        """New connections are refused (nobody listens; on Linux only), or reset at once."""
        return self._network

    @network.setter
    def network(self, fault: Network | None) -> None:
        before, self._network = self._network, fault
        if fault == "refuse" and before != "refuse":
            self._not_refusing.clear()
            for listening in self._listening:
                # Linux refuses what comes until the socket is told to listen again. Meanwhile no
                # other program gets its address: that takes both to be willing to share it.
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                listening.shutdown(socket.SHUT_RDWR)
        elif before == "refuse" and fault != "refuse":
            for listening in self._listening:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.listen()
        if fault != "refuse":
            self._not_refusing.set()

    def listens(self, listening: socket.socket) -> None:
        """Hear of a socket that can be made to refuse."""
        self._listening.append(listening)

    async def until_listening(self) -> None:
        """Wait here for as long as connections are to be refused."""
        await self._not_refusing.wait()

    def drop_connections(self) -> None:
        """Cut every connection, now."""
        for connection in list(self._connections):
            connection.abort("cut on request")

    def half_open(self) -> None:
        """Freeze every connection: nothing is heard or said any more, and no end of it comes.

        As when a router forgets them, or the other side lost its power. New ones work.
        """
        for connection in list(self._connections):
            connection.freeze()

    def cut_at_publish(self, times: int = 1, *, recorded: bool = False) -> None:
        """Cut the connection at the next messages of telemetry, before they are acknowledged.

        `recorded`: the message is kept before that, so that it comes twice.
        """
        self._cuts, self._cut_recorded = times, recorded

    def cuts(self, *, recorded: bool) -> bool:
        """Tell whether the connection is to be cut here: before or after a message is recorded."""
        if not self._cuts or self._cut_recorded != recorded:
            return False
        self._cuts -= 1
        return True

    def opened(self, connection: Connected) -> None:
        """Hear of a connection that can be cut."""
        self._connections.add(connection)

    def closed(self, connection: Connected) -> None:
        """Hear of its end."""
        self._connections.discard(connection)


CHOICES = {
    "registration": get_args(Registration),
    "twin": get_args(TwinFault),
    "hang": get_args(Hang),
    "network": get_args(Network),
    "certificate": get_args(Certificate),
}
"""The faults that are one of several words, and which."""
