"""The fault bench on the page: what an operator can make go wrong, for how long, and what is on."""

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
    bad_request,
    iso,
    look_up,
    not_found,
    read_object,
)
from central.protocol.mqtt import ConnectCode, PubAck
from central.records import Event
from central.transport.faults import Faults

if TYPE_CHECKING:
    from central.application import Central

routes = web.RouteTableDef()

LONGEST = 24 * 3600  # Seconds for which a fault may be asked for.
SLOW = 2.0  # Seconds by which each packet is late.
FEW = 1.0  # Messages a second.
AHEAD = 24 * 3600.0  # Seconds by which the clock is wrong.


@dataclass(frozen=True)
class Lasting:
    """A fault that stays until it is ended: one attribute of `Faults`, and what it is set to."""

    attribute: str
    value: Any
    cuts: bool = False  # Only new connections meet it, so the open ones are cut.


LASTING = {
    "refuse": Lasting("network", "refuse", cuts=True),
    "hang": Lasting("hang", "tls"),
    "slow": Lasting("latency", SLOW),
    "unacknowledged": Lasting("withheld", {PubAck}),
    "throttle": Lasting("throttle", FEW),
    "unauthorized": Lasting("connack", ConnectCode.NOT_AUTHORIZED, cuts=True),
    "certificate": Lasting("certificate", "expired", cuts=True),
    "clock": Lasting("clock_offset", AHEAD, cuts=True),
    "twin": Lasting("twin", "silent"),
    "move": Lasting("moved_to", None, cuts=True),  # To whatever name is found.
}
ONCE: dict[str, Callable[[Faults], None]] = {
    "cut": Faults.drop_connections,
    "half-open": Faults.half_open,
}
NONE = Faults()
EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


class Bench:
    """The faults that are on, and the timers that end them."""

    def __init__(self, central: "Central") -> None:
        self._central = central
        self._ends: dict[str, tuple[float, asyncio.TimerHandle]] = {}

    def body(self) -> dict[str, Any]:
        """Write what is on, and when it ends (null: when it is ended)."""
        on = [
            {"name": name, "ends": iso(self._ends[name][0]) if name in self._ends else None}
            for name, fault in LASTING.items()
            if getattr(self._central.faults, fault.attribute) != getattr(NONE, fault.attribute)
        ]
        return {"value": on}

    def start(self, name: str, seconds: float | None, value: Any = None) -> None:
        """Let something go wrong, for so long; None: until it is ended."""
        faults = self._central.faults
        if name in ONCE:
            ONCE[name](faults)
        else:
            fault = LASTING[name]
            self._forget(name)
            setattr(faults, fault.attribute, value if fault.value is None else fault.value)
            if fault.cuts:
                faults.drop_connections()
            if seconds is not None:
                timer = asyncio.get_running_loop().call_later(seconds, self.end, name)
                self._ends[name] = self._central.settings.clock() + seconds, timer
        self._tell()

    def end(self, name: str) -> None:
        """Let it go right again."""
        self._forget(name)
        attribute = LASTING[name].attribute
        setattr(self._central.faults, attribute, getattr(Faults(), attribute))
        self._tell()

    def end_all(self) -> None:
        """Let everything go right again."""
        self.forget_timers()
        self._central.faults.clear()
        self._tell()

    def forget_timers(self) -> None:
        """Leave everything as it is, from now on."""
        for name in list(self._ends):
            self._forget(name)

    def _forget(self, name: str) -> None:
        if name in self._ends:
            self._ends.pop(name)[1].cancel()

    def _tell(self) -> None:
        self._central.registry.events.publish(Event("faults", ""))


BENCH: web.AppKey[Bench] = web.AppKey("bench")


async def forget_timers(app: web.Application) -> None:
    """End no fault once the console is closed."""
    app[BENCH].forget_timers()


@routes.get("/console/api/faults")
async def get_faults(request: web.Request) -> web.Response:
    return answer(request.app[BENCH].body())


@routes.post("/console/api/faults/{fault}")
async def start_fault(request: web.Request) -> web.Response:
    """Start one, for every device: `{"seconds": 30}`, or until it is ended."""
    bench, name = request.app[BENCH], _name(request)
    body = await read_object(request) if request.can_read_body else {}
    seconds = body.get("seconds")
    if seconds is not None and (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not 0 < seconds <= LONGEST
    ):
        raise bad_request(f"seconds must be a number from 0 to {LONGEST}, or left out.")
    central = request.app[CENTRAL]
    value = await look_up(lambda: other_name(central)) if name == "move" else None
    bench.start(name, seconds, value)
    return answer(bench.body())


@routes.delete("/console/api/faults/{fault}")
async def end_fault(request: web.Request) -> web.Response:
    bench, name = request.app[BENCH], _name(request)
    if name in LASTING:
        bench.end(name)
    return answer(bench.body())


@routes.delete("/console/api/faults")
async def end_faults(request: web.Request) -> web.Response:
    request.app[BENCH].end_all()
    return answer(request.app[BENCH].body())


def other_name(central: "Central") -> str:
    """Return another name by which devices reach this central, to be another hub. Or RestError."""
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
        f"Only the name {now} leads to this central, so there is no other hub to move to. "
        "With --listen 127.0.0.1 or 0.0.0.0 there would be.",
    )


def _addresses(name: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
    except OSError:
        return set()


def _name(request: web.Request) -> str:
    name = request.match_info["fault"]
    if name not in LASTING and name not in ONCE:
        raise not_found(f"There is no fault {name[:80]!r}.")
    return name
