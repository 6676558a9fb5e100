"""Is the time right, and when was that reading taken.

A Raspberry Pi may have no clock of its own: until the network has told it the time, its date is
whatever it was when it was last switched off. A plausible date proves nothing.
"""

import ctypes
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

TIMESYNCD_MARK = Path("/run/systemd/timesync/synchronized")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
STA_UNSYNC = 0x0040  # adjtimex(2): the kernel's clock is not synchronised.
LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
CAP_MAXIMUM_ERROR = 16_000_000  # Microseconds; from here on timedated calls it unsynchronised.


@dataclass(frozen=True, slots=True)
class Stamp:
    """When something happened, in the three ways a machine can tell.

    `wall` is unix time in seconds as the clock showed it, `uptime` the seconds since boot
    (suspended time included), `synchronised` whether the wall clock could be believed.
    """

    wall: float
    uptime: float
    boot_id: str
    synchronised: bool


class Clock:
    """The machine's clocks. Tests hand in clocks of their own."""

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        uptime: Callable[[], float] | None = None,
        synchronised: Callable[[], bool] | None = None,
        boot_id: str | None = None,
    ) -> None:
        self.wall = wall
        self.uptime = uptime or machine_uptime
        self.synchronised = synchronised or machine_synchronised
        self.boot_id = boot_id or machine_boot_id()

    def stamp(self) -> Stamp:
        """Return the present moment."""
        # Asked first: a clock that is set between the two must not vouch for the time before.
        synchronised = self.synchronised()
        return Stamp(self.wall(), self.uptime(), self.boot_id, synchronised)

    def true_time(self, taken: Stamp) -> tuple[float, bool]:
        """Return when `taken` really was (unix time), and whether that can be believed.

        A stamp of this boot made before the clock was right is corrected once it is right; one of
        an earlier boot keeps what the clock said then.
        """
        if taken.synchronised:
            return taken.wall, True
        if taken.boot_id == self.boot_id and self.synchronised():
            return self.wall() - (self.uptime() - taken.uptime), True
        return taken.wall, False

    def true_utc(self, taken: Stamp) -> str:
        """Return when `taken` really was, as ISO 8601 in UTC."""
        return utc(self.true_time(taken)[0])

    def doubt(self) -> str | None:
        """Say what is wrong with the time of day, where it may be; None if it can be believed."""
        if self.synchronised():
            return None
        now = datetime.fromtimestamp(self.wall(), UTC)
        return (
            f"This machine's clock says {now:%Y-%m-%d %H:%M} UTC and was not set from the network "
            "yet: until it is right, keys and certificates may be refused."
        )


def utc(unix_time: float) -> str:
    """Return a time as ISO 8601 in UTC with milliseconds: IoT Central takes no offset but Z.

    A time outside the calendar, as a damaged card may hold, becomes the nearest one within.
    """
    moment = datetime.fromtimestamp(min(max(unix_time, 0.0), LATEST), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def machine_uptime() -> float:
    """Return the seconds since boot, time spent suspended included."""
    # macOS has no CLOCK_BOOTTIME.
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@cache
def machine_boot_id() -> str:
    """Return what tells this boot from every other one."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        # Not Linux: each run counts as a boot, which only makes us more careful.
        return str(uuid.uuid4())


def machine_synchronised() -> bool:
    """Tell whether the wall clock has been set from the network.

    Asks systemd-timesyncd's mark, then what timedated's `NTPSynchronized` asks: the kernel.
    """
    if sys.platform != "linux":
        return True  # A Mac keeps its own time; it has no way to ask.
    return TIMESYNCD_MARK.exists() or _kernel_synchronised()


class _Timex(ctypes.Structure):
    """The part of adjtimex(2)'s struct timex that we read, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


# Once: opening a library takes longer than all else that a reading costs this loop.
@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _kernel_synchronised() -> bool:
    timex = _Timex()
    if _libc().adjtimex(ctypes.byref(timex)) < 0:
        # A service whose unit protects the clock may not even ask; then only the mark counts.
        return False
    return not timex.status & STA_UNSYNC and timex.maxerror < CAP_MAXIMUM_ERROR
