"""Faults to inject, for tests and for the console.

Each is one attribute or method, and is checked in one place. All are for the event loop.
"""

import asyncio
import socket
from typing import Literal, Protocol, get_args

from central.protocol.mqtt import ConnectCode, ServerPacket

Hang = Literal["tcp", "tls"]
Network = Literal["refuse", "reset", "http", "portal"]
Registration = Literal[
    "failed", "disabled", "unauthorized", "throttled", "error", "unavailable", "silent"
]
TwinFault = Literal["silent", "throttled", "unavailable"]
Quota = Literal["closed", "silent"]
Certificate = Literal["expired", "not-yet-valid", "another-authority", "another-host", "no-names"]


class Connected(Protocol):
    """A connection that can be cut or frozen."""

    def abort(self, reason: str) -> None: ...
    def freeze(self) -> None: ...


class Faults:
    """The faults that are on. At first, none."""

    registration: Registration | None
    """How provisioning answers every registration; None: truthfully."""

    registration_delay: float
    """Seconds before provisioning answers."""

    connack: ConnectCode | None
    """How the hub answers every CONNECT; None: truthfully."""

    withheld: set[type[ServerPacket]]
    """Types of packets that are never sent, such as PubAck."""

    twin: TwinFault | None
    """Twin requests get no answer (`silent`), or status 429 (`throttled`) or 503."""

    quota: Quota | None
    """No message is taken: the hub closes the connection, or does not acknowledge (`silent`)."""

    rival: float | None
    """Seconds after which another client with the same id takes each connection over."""

    failing: bool
    """Whether the hub closes each connection once it has accepted it."""

    latency: float
    """Seconds by which every packet to a client is delayed. They stay in order."""

    clock_offset: float
    """Seconds by which central's clock is ahead when it checks the expiry of a token."""

    certificate: Certificate | None
    """What is wrong with the server certificate in new connections."""

    refused_scopes: frozenset[str]
    """ID scopes in which every device is refused: when it registers, and by its hub."""

    moved_to: str | None
    """The hub to which provisioning assigns devices; under any other name, the hub refuses them."""

    throttle: float | None
    """Messages a second above which a device is disconnected, as MQTT has no other answer."""

    sessions_lost: bool
    """Whether the subscriptions of a device are forgotten when it connects."""

    def __init__(self) -> None:
        self._connections: set[Connected] = set()
        self._listening: list[socket.socket] = []
        self._hang: Hang | None = None
        self._network: Network | None = None
        self._not_hanging = asyncio.Event()
        self._not_refusing = asyncio.Event()
        self.clear()

    def clear(self) -> None:
        """Clear all faults. Frozen connections stay frozen."""
        self.registration = None
        self.registration_delay = 0.0
        self.connack = None
        self.withheld = set()
        self.twin = None
        self.quota = None
        self.rival = None
        self.failing = False
        self.latency = 0.0
        self.clock_offset = 0.0
        self.certificate = None
        self.refused_scopes = frozenset()
        self.moved_to = None
        self.throttle = None
        self.sessions_lost = False
        self._cuts = 0
        self._cut_recorded = False
        self.hang = None
        self.network = None

    @property
    def hang(self) -> Hang | None:
        """Where connections hang: once accepted (`tcp`), or after the TLS handshake (`tls`).

        Connections that are open hang, too. All continue when this is None again.
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
        """Wait as long as connections hang at this stage."""
        while self._hang == stage or (self._hang is not None and stage == "tls"):
            await self._not_hanging.wait()

    @property
    def network(self) -> Network | None:
        """New connections are refused (on Linux only), reset at once, or answered in HTTP.

        With `portal` the answer leads to a sign-in page, as in a guest network.
        """
        return self._network

    @network.setter
    def network(self, fault: Network | None) -> None:
        before, self._network = self._network, fault
        if fault == "refuse" and before != "refuse":
            self._not_refusing.clear()
            for listening in self._listening:
                # Linux refuses connections until the socket listens again. Meanwhile no other
                # program can take the address, because this socket does not share it.
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                listening.shutdown(socket.SHUT_RDWR)
        elif before == "refuse" and fault != "refuse":
            for listening in self._listening:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.listen()
        if fault != "refuse":
            self._not_refusing.set()

    def add_listening_socket(self, listening: socket.socket) -> None:
        """Add a socket whose connections `network` can refuse."""
        self._listening.append(listening)

    async def until_listening(self) -> None:
        """Wait as long as connections are refused."""
        await self._not_refusing.wait()

    def drop_connections(self) -> None:
        """Cut every connection now."""
        for connection in list(self._connections):
            connection.abort("cut on request")

    def half_open(self) -> None:
        """Freeze every open connection: no packet passes any more, and neither side sees an end.

        As when a router forgets its connections, or a machine loses power. New ones work.
        """
        for connection in list(self._connections):
            connection.freeze()

    def cut_at_publish(self, times: int = 1, *, recorded: bool = False) -> None:
        """Cut the connection at each of the next `times` messages, before the acknowledgement.

        With `recorded`, the message is recorded first, so that it arrives twice.
        """
        self._cuts, self._cut_recorded = times, recorded

    def cuts(self, *, recorded: bool) -> bool:
        """Return whether to cut the connection here: before, or after a message is recorded."""
        if not self._cuts or self._cut_recorded != recorded:
            return False
        self._cuts -= 1
        return True

    def add_connection(self, connection: Connected) -> None:
        """Add a connection, which can then be cut or frozen."""
        self._connections.add(connection)

    def remove_connection(self, connection: Connected) -> None:
        """Remove a connection that has ended."""
        self._connections.discard(connection)


CHOICES = {
    "registration": get_args(Registration),
    "twin": get_args(TwinFault),
    "quota": get_args(Quota),
    "hang": get_args(Hang),
    "network": get_args(Network),
    "certificate": get_args(Certificate),
}
"""The possible values of each fault that is one of several words."""
