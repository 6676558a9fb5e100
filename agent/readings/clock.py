"""The time of readings, on machines whose clock may be wrong.

A Raspberry Pi may have no battery-backed clock. Until its clock is set from the network, it shows
about the time of the last shutdown, so that a plausible date proves nothing.
"""

import asyncio
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path

TIMESYNCD_MARK = Path("/run/systemd/timesync/synchronized")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC).timestamp()  # No such RTC ran before this program.
RTC_TOLERANCE = 60.0  # Seconds. Without a network, a Pi's clock drifts some seconds a day.
LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Stamp:
    """The time of an event by all clocks of the machine.

    `wall` is Unix time in seconds as the clock showed it, `uptime` the seconds since boot
    (suspended time included), `synchronised` whether the wall clock was known to be right.
    """

    wall: float
    uptime: float
    boot_id: str
    synchronised: bool


@dataclass(frozen=True, slots=True)
class Rtc:
    """A real-time clock: its name and model, and what it shows (Unix time)."""

    name: str
    model: str
    shows: float

    @property
    def is_plausible(self) -> bool:
        """Whether it has been set: after its battery was empty, it begins with an old date."""
        return self.shows >= EARLIEST

    def agrees_with(self, wall: float) -> bool:
        """Return whether it has been set, and shows the time `wall`."""
        return self.is_plausible and abs(self.shows - wall) <= RTC_TOLERANCE


def read_rtc(root: Path = Path("/")) -> Rtc | None:
    """Return the first real-time clock that can be read, or None; `root` is the root directory.

    The kernel gives its time in UTC: https://docs.kernel.org/admin-guide/rtc.html
    """
    for device in sorted((root / "sys/class/rtc").glob("rtc*")):
        try:
            shows = float((device / "since_epoch").read_text(encoding="ascii"))
            model = (device / "name").read_text(encoding="ascii", errors="replace").split()
        except (OSError, ValueError):  # Its chip does not answer, or has lost its time.
            continue
        return Rtc(device.name, model[0] if model else "", shows)
    return None


class Clock:
    """The machine's clocks. Tests pass their own.

    With `trust_rtc`, a clock that agrees with the real-time clock counts as synchronised, too.
    """

    def __init__(
        self,
        *,
        trust_rtc: bool = False,
        wall: Callable[[], float] = time.time,
        uptime: Callable[[], float] | None = None,
        synchronised: Callable[[], bool] | None = None,
        boot_id: str | None = None,
    ) -> None:
        self.wall = wall
        self.uptime = uptime or machine_uptime
        self.synchronised = synchronised or (
            synchronised_or_as_rtc if trust_rtc else machine_synchronised
        )
        self.boot_id = boot_id or machine_boot_id()

    def stamp(self) -> Stamp:
        """Return the present moment."""
        # First: if the clock is set between the two calls, `wall` may still be the wrong time.
        synchronised = self.synchronised()
        return Stamp(self.wall(), self.uptime(), self.boot_id, synchronised)

    def true_time(self, taken: Stamp) -> tuple[float, bool]:
        """Return the true time of `taken` (Unix time), and whether it is known.

        A stamp from before the clock was set is corrected if it is from this boot. One from an
        earlier boot keeps the time that the clock showed.
        """
        if taken.synchronised:
            return taken.wall, True
        if taken.boot_id == self.boot_id and self.synchronised():
            return self.wall() - (self.uptime() - taken.uptime), True
        return taken.wall, False

    def true_utc(self, taken: Stamp) -> str:
        """Return the true time of `taken` as ISO 8601 in UTC."""
        return utc(self.true_time(taken)[0])

    def doubt(self) -> str | None:
        """Return a warning if the wall clock may be wrong, else None."""
        if self.synchronised():
            return None
        now = datetime.fromtimestamp(self.wall(), UTC)
        return (
            f"This machine's clock shows {now:%Y-%m-%d %H:%M} UTC and has not been set from the "
            "network yet. Keys and certificates may be refused until it is right."
        )


def utc(unix_time: float) -> str:
    """Return a time as ISO 8601 in UTC with milliseconds. IoT Central accepts no offset but Z.

    A time outside the calendar, as from a damaged card, becomes the nearest one inside.
    """
    moment = datetime.fromtimestamp(min(max(unix_time, 0.0), LATEST), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, and set it after `seconds`."""
    timer = asyncio.get_running_loop().call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()


def machine_uptime() -> float:
    """Return the seconds since boot, time spent suspended included."""
    # macOS has no CLOCK_BOOTTIME.
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@cache
def machine_boot_id() -> str:
    """Return the id of this boot."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        # Not Linux: each run of the daemon counts as a boot.
        return str(uuid.uuid4())


def machine_synchronised() -> bool:
    """Return whether the wall clock has been set from the network.

    Checks systemd-timesyncd's file, then the kernel, as `NTPSynchronized` of timedated does. The
    answer may be a second old: for one reading the daemon asks five times.
    """
    if sys.platform != "linux":
        return True  # macOS has no such call, and a Mac keeps its time.
    return _synchronised_in(int(time.monotonic()))


def synchronised_or_as_rtc() -> bool:
    """Return whether the wall clock was set from the network, or agrees with the RTC.

    The answer may be a second old.
    """
    return machine_synchronised() or _as_rtc_in(int(time.monotonic()))


@lru_cache(maxsize=1)
def _as_rtc_in(_second: int) -> bool:
    rtc = read_rtc()
    return rtc is not None and rtc.agrees_with(time.time())


@lru_cache(maxsize=1)
def _synchronised_in(_second: int) -> bool:
    return TIMESYNCD_MARK.exists() or _kernel_synchronised()


def _kernel_synchronised() -> bool:
    # ctypes takes 0.4 MB, which a machine with systemd-timesyncd does not need.
    from agent.readings.adjtimex import kernel_synchronised  # noqa: PLC0415 - see above.

    return kernel_synchronised()
