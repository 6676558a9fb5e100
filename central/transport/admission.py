"""Limits on clients that have not signed in yet.

Each of them costs a socket, a TLS state and a buffer, and may be anybody. So their number is
limited, and the rate at which one address opens connections: no address can exhaust the memory or
keep the others out.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Clients that have not signed in, in all. A lab may start all its devices at once. Each of them
# takes 256 KB from its first byte on, because of how asyncio reads TLS.
MAX_WAITING = 256
BURST = 256.0  # Connections that one address may open at once,
RATE = 64.0  # and connections a second after that.
MAX_ADDRESSES = 4096  # Addresses whose rate is tracked.
LOG_AGAIN = 60.0  # Seconds after which the log names an address again.

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Waiting:
    """A client that has not signed in. Call `signed_in` once it has."""

    address: str
    disconnect: Callable[[], object]
    signed_in: Callable[[], None]


@dataclass
class Allowance:
    """The connections that an address may open now, as of its last attempt."""

    last_attempt: float
    connections: float = BURST
    last_logged: float = -math.inf


class Admission:
    """Counts clients by address. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: dict[Waiting, None] = {}  # Oldest first.
        self._allowances: dict[str, Allowance] = {}  # Oldest attempt first.

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
        if now >= allowance.last_logged + LOG_AGAIN:
            log.warning("%s opens too many connections; some are closed at once.", address)
            allowance.last_logged = now
        return False

    @contextmanager
    def entering(self, address: str, disconnect: Callable[[], object]) -> Iterator[Waiting]:
        """Count a client as waiting until it signs in or the `with` block ends.

        If too many clients wait, one is disconnected: of the address with the most of them, the
        one that has waited longest.
        """
        waiting = Waiting(address, disconnect, lambda: self._forget(waiting))
        self._waiting[waiting] = None
        if len(self._waiting) > MAX_WAITING:
            crowded, _ = Counter(each.address for each in self._waiting).most_common(1)[0]
            longest = next(each for each in self._waiting if each.address == crowded)
            self._forget(longest)
            longest.disconnect()
        try:
            yield waiting
        finally:
            self._forget(waiting)

    def _forget(self, waiting: Waiting) -> None:
        self._waiting.pop(waiting, None)
