"""Simulated faults: which there are, which are on, and when they end."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from central.console.responses import (
    CENTRAL,
    RestError,
    answer,
    checked_number,
    not_found,
    read_object,
)
from central.console.routes import Routes
from central.console.sign_in.roles import Permission
from central.protocol.mqtt import ConnectCode, PubAck
from central.records import Event, iso
from central.transport.faults import Faults

if TYPE_CHECKING:
    from central.application import Central

routes = Routes()

LONGEST = 24 * 3600  # Seconds for which a fault may be on.


@dataclass(frozen=True)
class Lasting:
    """A fault that stays on until it is cleared: an attribute of `Faults` and its value."""

    label: str
    description: str
    attribute: str
    value: Any
    cuts: bool = False  # It affects new connections only, so the open ones are cut.


@dataclass(frozen=True)
class Once:
    """A fault that happens once."""

    label: str
    description: str
    act: Callable[[Faults], None]


FAULTS: dict[str, Lasting | Once] = {
    "cut": Once("Cut", "Closes every connection, once.", Faults.drop_connections),
    "half-open": Once(
        "Half-open", "Connections go silent, once, as when a router forgets them.", Faults.half_open
    ),
    "refuse": Lasting("No network", "Connections are refused.", "network", "refuse", cuts=True),
    "hang": Lasting("Hang", "Connections open, but central never replies.", "hang", "tls"),
    "slow": Lasting("Slow", "Each packet is delayed by 2 s.", "latency", 2.0),
    "unacknowledged": Lasting(
        "Unacknowledged", "Messages are not acknowledged.", "withheld", {PubAck}
    ),
    "quota": Lasting(
        "Quota", "The daily quota is used up: messages disconnect.", "quota", "closed"
    ),
    "rival": Lasting(
        "Second client",
        "After 2 s another one with the same id takes over.",
        "rival",
        2.0,
        cuts=True,
    ),
    "failing": Lasting(
        "Failing hub", "Connections are accepted and closed.", "failing", True, cuts=True
    ),
    "unavailable": Lasting(
        "Unavailable", "The hub is too busy.", "connack", ConnectCode.UNAVAILABLE, cuts=True
    ),
    "http": Lasting("Plain HTTP", "A web server is on the port.", "network", "http", cuts=True),
    "portal": Lasting(
        "Guest network", "A sign-in page is on the port.", "network", "portal", cuts=True
    ),
    "throttle": Lasting("Throttle", "More than one message a second disconnects.", "throttle", 1.0),
    "unauthorized": Lasting(
        "No sign-in", "The hub refuses it.", "connack", ConnectCode.NOT_AUTHORIZED, cuts=True
    ),
    "certificate": Lasting(
        "Certificate", "It expired a year ago.", "certificate", "expired", cuts=True
    ),
    "host": Lasting(
        "Another host",
        "Its certificate has another name.",
        "certificate",
        "another-host",
        cuts=True,
    ),
    "names": Lasting(
        "No host names", "The certificate names no host.", "certificate", "no-names", cuts=True
    ),
    "clock": Lasting(
        "Clock", "A day ahead, so tokens have expired.", "clock_offset", 86400.0, cuts=True
    ),
    "twin": Lasting("Silent twin", "Twin requests get no reply.", "twin", "silent"),
    # None is replaced by the name that `other_name` finds.
    "move": Lasting("Another hub", "Devices are assigned to it.", "moved_to", None, cuts=True),
}
NONE = Faults()
EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


class Bench:
    """The faults that are on, and the timers that clear them."""

    def __init__(self, central: "Central") -> None:
        self._central = central
        self._ends: dict[str, tuple[float, asyncio.TimerHandle]] = {}

    def body(self) -> dict[str, Any]:
        """Return all faults, whether each is on, and when it ends (null: when it is cleared)."""
        return {"value": [self._body(name, fault) for name, fault in FAULTS.items()]}

    def _body(self, name: str, fault: Lasting | Once) -> dict[str, Any]:
        return {
            "name": name,
            "label": fault.label,
            "description": fault.description,
            "once": isinstance(fault, Once),
            "on": isinstance(fault, Lasting) and self._is_on(fault),
            "ends": iso(self._ends[name][0]) if name in self._ends else None,
        }

    def _is_on(self, fault: Lasting) -> bool:
        value = getattr(self._central.faults, fault.attribute)
        if fault.value is None:
            return bool(value != getattr(NONE, fault.attribute))
        return bool(value == fault.value)

    def start(self, name: str, seconds: float | None, value: Any = None) -> None:
        """Start a fault for so many seconds, or until it is cleared for None."""
        faults, fault = self._central.faults, FAULTS[name]
        if isinstance(fault, Once):
            fault.act(faults)
        else:
            self._cancel_timer(name)
            setattr(faults, fault.attribute, value if fault.value is None else fault.value)
            if fault.cuts:
                faults.drop_connections()
            if seconds is not None:
                timer = asyncio.get_running_loop().call_later(seconds, self.clear, name)
                self._ends[name] = self._central.settings.clock() + seconds, timer
        self._publish()

    def clear(self, name: str) -> None:
        """Clear a fault."""
        fault = FAULTS[name]
        if isinstance(fault, Lasting):
            self._cancel_timer(name)
            setattr(self._central.faults, fault.attribute, getattr(Faults(), fault.attribute))
            self._publish()

    def clear_all(self) -> None:
        """Clear all faults."""
        self.cancel_timers()
        self._central.faults.clear()
        self._publish()

    def cancel_timers(self) -> None:
        """Cancel all timers. Faults that are on stay on."""
        for name in list(self._ends):
            self._cancel_timer(name)

    def _cancel_timer(self, name: str) -> None:
        if name in self._ends:
            self._ends.pop(name)[1].cancel()

    def _publish(self) -> None:
        self._central.registry.events.publish(Event("faults", ""))


BENCH: web.AppKey[Bench] = web.AppKey("bench")


async def cancel_timers(app: web.Application) -> None:
    """Cancel all timers when the console is closed."""
    app[BENCH].cancel_timers()


@routes.on("GET", "/console/api/faults", needs=Permission.VIEW)
async def get_faults(request: web.Request) -> web.Response:
    return answer(request.app[BENCH].body())


@routes.on("POST", "/console/api/faults/{fault}", needs=Permission.ADMINISTER)
async def start_fault(request: web.Request) -> web.Response:
    """Start a fault for every device, for `{"seconds": 30}` or until it is cleared."""
    bench, name = request.app[BENCH], _name(request)
    body = await read_object(request) if request.body_exists else {}
    seconds = body.get("seconds")
    if seconds is not None:
        seconds = checked_number(seconds, "seconds", least=0.01, most=LONGEST)
    central = request.app[CENTRAL]
    value = await asyncio.to_thread(other_name, central) if name == "move" else None
    bench.start(name, seconds, value)
    return answer(bench.body())


@routes.on("DELETE", "/console/api/faults/{fault}", needs=Permission.ADMINISTER)
async def clear_fault(request: web.Request) -> web.Response:
    bench, name = request.app[BENCH], _name(request)
    bench.clear(name)
    return answer(bench.body())


@routes.on("DELETE", "/console/api/faults", needs=Permission.ADMINISTER)
async def clear_faults(request: web.Request) -> web.Response:
    request.app[BENCH].clear_all()
    return answer(request.app[BENCH].body())


def other_name(central: "Central") -> str:
    """Return another host name of this central, to pose as another hub.

    Raises `RestError` if this central has only one name.
    """
    now = central.faults.moved_to or central.mqtt_host
    host = socket.gethostname()
    if central.settings.listen in EVERYWHERE:
        names = [central.mqtt_host, f"{host}.local", host]
    else:
        known = ("localhost", host, f"{host}.local")
        names = [central.mqtt_host]
        names += [name for name in known if central.mqtt_host in _addresses(name)]
    for name in names:
        if name != now:
            return name
    raise RestError(
        HTTPStatus.CONFLICT,
        f"Central has no other host name than {now} to pose as another hub. "
        "Start it with --listen 127.0.0.1 or 0.0.0.0",
    )


def _addresses(name: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
    except OSError:
        return set()


def _name(request: web.Request) -> str:
    name = request.match_info["fault"]
    if name not in FAULTS:
        raise not_found(f"There is no fault {name[:80]!r}.")
    return name
