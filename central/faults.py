"""Faults on request, for tests and for the console: one attribute or method each.

Each is asked at one place. All are used from the event loop.
"""

import asyncio
from typing import Literal, Protocol

from central.mqtt import ConnectCode, ServerPacket


class Abortable(Protocol):
    """A connection that can be cut."""

    def abort(self, reason: str) -> None: ...


class Faults:
    """What is to go wrong from now on. At first, nothing."""

    registration: Literal["failed", "disabled", "unauthorized", "silent"] | None = None
    """How provisioning answers every registration, in place of what is true."""

    connack: ConnectCode | None = None
    """How the hub answers every CONNECT, in place of what is true."""

    silent_twin = False
    """No answer to what is asked or reported of a twin."""

    def __init__(self) -> None:
        self.withheld: set[type[ServerPacket]] = set()
        """Kinds of packets that are never sent, such as PubAck."""
        self._connections: set[Abortable] = set()
        self._hang: Literal["tcp", "tls"] | None = None
        self._not_hanging = asyncio.Event()
        self._not_hanging.set()

    @property
    def hang(self) -> Literal["tcp", "tls"] | None:
        """Connections are accepted (`tcp`), or also get through the TLS handshake (`tls`).

        Then they hang, as do those that were open. They go on when this is None again.
        """
        return self._hang

    @hang.setter
    def hang(self, stage: Literal["tcp", "tls"] | None) -> None:
        self._hang = stage
        if stage is None:
            self._not_hanging.set()
        else:
            self._not_hanging.clear()

    async def hang_at(self, stage: Literal["tcp", "tls"]) -> None:
        """Wait here for as long as connections are to hang at this stage."""
        while self._hang == stage or (self._hang is not None and stage == "tls"):
            await self._not_hanging.wait()

    def drop_connections(self) -> None:
        """Cut every connection, now."""
        for connection in list(self._connections):
            connection.abort("cut on request")

    def opened(self, connection: Abortable) -> None:
        """Hear of a connection that can be cut."""
        self._connections.add(connection)

    def closed(self, connection: Abortable) -> None:
        """Hear of its end."""
        self._connections.discard(connection)
