"""How often someone may try to sign in."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """`burst` attempts at once, and then one each `seconds`."""

    burst: int
    seconds: float


OF_ADDRESS = Limit(20, 15.0)
OF_NAME_AT_ADDRESS = Limit(5, 60.0)
# Generous: otherwise anyone could keep a user out by guessing from several addresses.
OF_NAME = Limit(100, 15.0)
# Of a name in a browser in which that user has signed in before. Strangers cannot use it up.
OF_BROWSER = OF_NAME_AT_ADDRESS

MOST_REMEMBERED = 10_000  # Addresses and names.

Key = tuple[str, ...]


class Attempts:
    """Counts attempts by address and by name. `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # When all attempts of a key will have been earned back.
        self._paid: dict[Key, float] = {}

    def begin(self, name: str, address: str, browser: str | None = None) -> float:
        """Count an attempt, which is a failure until `forgive`. Return 0.

        `browser` is one in which this user has signed in before.
        If there were too many, it is not counted: return the seconds until the next may be made.
        """
        now, limits = self._clock(), _limits(name, address, browser)
        wait = max(
            self._paid.get(key, now) - now - (limit.burst - 1) * limit.seconds
            for key, limit in limits.items()
        )
        if wait > 0:
            return wait
        for key, limit in limits.items():
            self._paid[key] = max(self._paid.get(key, now), now) + limit.seconds
        self._forget(now)
        return 0.0

    def forgive(self, name: str, address: str, browser: str | None = None) -> None:
        """Take back an attempt that succeeded."""
        for key, limit in _limits(name, address, browser).items():
            if key in self._paid:
                self._paid[key] -= limit.seconds

    def _forget(self, now: float) -> None:
        if len(self._paid) <= MOST_REMEMBERED:
            return
        self._paid = {key: paid for key, paid in self._paid.items() if paid > now}
        # The fewest attempts first: a flood of names must not hide a name that is being guessed.
        excess = len(self._paid) - MOST_REMEMBERED
        for key in sorted(self._paid, key=self._paid.__getitem__)[: max(0, excess)]:
            del self._paid[key]


def _limits(name: str, address: str, browser: str | None) -> dict[Key, Limit]:
    network, name = _network(address), name.lower()[:80]
    if browser is not None:
        # Also in all: whoever knew an earlier password can have made any number of browsers known.
        return {("browser", browser): OF_BROWSER, ("browsers", name): OF_NAME}
    return {
        ("address", network): OF_ADDRESS,
        ("both", network, name): OF_NAME_AT_ADDRESS,
        ("name", name): OF_NAME,
    }


def _network(address: str) -> str:
    """Return what one person controls: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
