"""Limits on clients that have not signed in yet, and the order of their TLS handshakes.

Each of them may be anybody. So their number is limited, and the rate at which one address opens
connections: no address can exhaust the memory or keep the others out. A client that has sent
nothing costs a socket, and one that has begun TLS costs ten times as much: they are counted apart.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Clients that have not signed in, in all. A lab may start all its devices at once.
MAX_SILENT = 1024  # Before TLS: about 6 KB each.
MAX_WAITING = 256  # In TLS, or in HTTP: about 60 KB each.
BURST = 256.0  # Connections that one address may open at once,
RATE = 64.0  # and connections a second after that.
MAX_ADDRESSES = 4096  # Addresses whose rate is tracked.
# Clients of one address that stay although there are too many, if one has signed in before.
RESERVED = 32
LOG_AGAIN = 60.0  # Seconds after which the log names an address again.

log = logging.getLogger(__name__)


@dataclass
class Allowance:
    """The connections that an address may open now, as of its last attempt."""

    last_attempt: float
    connections: float = BURST
    last_logged: float = -math.inf
    is_known: bool = False  # Whether a client of this address has signed in.


class Waiting:
    """A client that has not signed in. `disconnect` ends its connection."""

    def __init__(
        self, address: str, disconnect: Callable[[], object], silent: "Room", allowance: Allowance
    ) -> None:
        self.address = address
        self.disconnect = disconnect
        self._allowance = allowance
        self._room: Room | None = None
        self.enter(silent)

    @property
    def is_known(self) -> bool:
        """Whether a client of this address has signed in before."""
        return self._allowance.is_known

    def signed_in(self) -> None:
        """Stop counting a client that has signed in."""
        self._allowance.is_known = True
        self.leave()

    def enter(self, room: "Room") -> None:
        """Count the client in this room, and no longer in the one before."""
        self.leave()
        self._room = room
        room.add(self)

    def leave(self) -> None:
        """Stop counting the client. May be called again."""
        if self._room is not None:
            self._room.remove(self)
            self._room = None


class Room:
    """The clients in one state, at most `most` of them.

    If there are too many, one is disconnected: of the address with the most of them, the one that
    came first. Of an address from which a client has signed in before, RESERVED are not counted.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._clients: dict[str, dict[Waiting, None]] = {}  # By address, each oldest first.
        self.count = 0
        self.displaced = 0  # Clients that were disconnected because of others, since the start.

    def add(self, client: Waiting) -> None:
        self._clients.setdefault(client.address, {})[client] = None
        self.count += 1
        if self.count > self.most:
            self.displaced += 1
            crowd = max(self._clients.values(), key=_crowding)
            first = next(iter(crowd))
            first.leave()
            first.disconnect()

    def remove(self, client: Waiting) -> None:
        clients = self._clients[client.address]
        del clients[client]
        if not clients:
            del self._clients[client.address]
        self.count -= 1


def _crowding(clients: dict[Waiting, None]) -> int:
    is_known = next(iter(clients)).is_known
    return len(clients) - (RESERVED if is_known else 0)


class Admission:
    """Counts clients by address. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        most_silent: int = MAX_SILENT,
        most_waiting: int = MAX_WAITING,
    ) -> None:
        self._clock = clock
        self._allowances: dict[str, Allowance] = {}  # Oldest attempt first.
        self.silent = Room(most_silent)
        self.waiting = Room(most_waiting)
        self.refused = 0  # Connections that were closed at once, since the start.

    @property
    def displaced(self) -> int:
        """Clients that were disconnected because there were too many, since the start."""
        return self.silent.displaced + self.waiting.displaced

    @property
    def is_crowded(self) -> bool:
        """Whether there are more than half as many clients as may be."""
        return any(2 * room.count > room.most for room in (self.silent, self.waiting))

    def admits(self, address: str) -> bool:
        """Count an attempt of this address, and return whether it may open a connection now."""
        now = self._clock()
        allowance = self._allowances.pop(address, None) or Allowance(now)
        if len(self._allowances) >= MAX_ADDRESSES:
            del self._allowances[next(iter(self._allowances))]
        self._allowances[address] = allowance
        gained = (now - allowance.last_attempt) * RATE
        allowance.connections = min(BURST, allowance.connections + gained)
        allowance.last_attempt = now
        if allowance.connections >= 1:
            allowance.connections -= 1
            return True
        self.refused += 1
        if now >= allowance.last_logged + LOG_AGAIN:
            log.warning("%s opens too many connections; some are closed at once.", address)
            allowance.last_logged = now
        return False

    @contextmanager
    def entering(
        self, address: str, disconnect: Callable[[], object], room: Room | None = None
    ) -> Iterator[Waiting]:
        """Count a client in a room until it enters another one, signs in, or the block ends.

        The room is that of silent clients if none is given. If there are too many, `disconnect` of
        one of them is called.
        """
        allowance = self._allowances.get(address) or Allowance(self._clock())
        client = Waiting(address, disconnect, room or self.silent, allowance)
        try:
            yield client
        finally:
            client.leave()


class Turns:
    """Lets handshakes begin one at a time, so that thousands at once do not delay all others.

    A handshake takes a millisecond or two of the event loop, and between two of them everything
    else has its turn. Clients of known addresses go first. Then the newest does, because the one
    that has waited longest is the most likely to have given up.
    """

    def __init__(self) -> None:
        self._known: list[asyncio.Future[None]] = []
        self._others: list[asyncio.Future[None]] = []
        self._going = False

    async def take(self, *, is_known: bool) -> None:
        """Wait until a handshake may begin."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        waiting = self._known if is_known else self._others
        waiting.append(turn)
        if not self._going:
            self._going = True
            loop.call_soon(self._next)
        try:
            await turn
        finally:
            if turn in waiting:
                waiting.remove(turn)

    def _next(self) -> None:
        waiting = self._known or self._others
        if not waiting:
            self._going = False
            return
        turn = waiting.pop()
        if not turn.done():
            turn.set_result(None)
        asyncio.get_running_loop().call_soon(self._next)
