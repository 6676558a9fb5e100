"""Who is on the way in: no address may keep the others out, or fill the memory.

A client that has not signed in yet costs a connection, a TLS state and a buffer, and has proven
nothing. So there are not too many of those, and none comes too often.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Clients that have not signed in. A laboratory may start all its devices at once; each takes 256 KB
# from its first byte on, which is how asyncio reads TLS.
MOST_WAITING = 256
BURST = 256.0  # Connections that one address may open at once.
RATE = 64.0  # Connections a second that it may open after that.
MOST_ADDRESSES = 4096  # That are remembered.
NAMED_AGAIN = 60.0  # Seconds after which the log names an address again.

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Waiting:
    """A client that has not signed in. Call `signed_in` when it has."""

    address: str
    show_out: Callable[[], object]
    signed_in: Callable[[], None]


@dataclass
class Caller:
    """An address: when it came last, and how many connections it may still open."""

    came: float
    credit: float = BURST
    named: float = -math.inf  # When the log last named it.


class Door:
    """Counts who comes, by address, with a clock that only runs forward."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: dict[Waiting, None] = {}  # Oldest first.
        self._callers: dict[str, Caller] = {}  # Who came last is last.

    def admits(self, address: str) -> bool:
        """Tell whether this address may open another connection now."""
        now = self._clock()
        caller = self._callers.pop(address, None) or Caller(now)
        if len(self._callers) >= MOST_ADDRESSES:
            del self._callers[next(iter(self._callers))]  # It has come longest ago.
        self._callers[address] = caller
        caller.credit = min(BURST, caller.credit + (now - caller.came) * RATE)
        caller.came = now
        if caller.credit >= 1:
            caller.credit -= 1
            return True
        if now >= caller.named + NAMED_AGAIN:
            log.warning("%s opens too many connections; some are closed at once.", address)
            caller.named = now
        return False

    @contextmanager
    def entering(self, address: str, show_out: Callable[[], object]) -> Iterator[Waiting]:
        """Count a client as waiting until it has signed in or left.

        Where too many wait, `show_out` is called for the one that has waited longest of the
        address from which most come.
        """
        waiting = Waiting(address, show_out, lambda: self._forget(waiting))
        self._waiting[waiting] = None
        if len(self._waiting) > MOST_WAITING:
            crowd, _ = Counter(each.address for each in self._waiting).most_common(1)[0]
            longest = next(each for each in self._waiting if each.address == crowd)
            self._forget(longest)
            longest.show_out()
        try:
            yield waiting
        finally:
            self._forget(waiting)

    def _forget(self, waiting: Waiting) -> None:
        self._waiting.pop(waiting, None)
