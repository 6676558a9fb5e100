"""Asks the kernel whether its clock is synchronised: adjtimex(2)."""

import ctypes
from functools import cache

STA_UNSYNC = 0x0040
MAXIMUM_ERROR = 16_000_000  # Microseconds. To systemd-timedated more is unsynchronised, too.


class _Timex(ctypes.Structure):
    """The beginning of struct timex, and space for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


# Cached: opening a library takes longer than everything else that a reading needs.
@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def kernel_synchronised() -> bool:
    """Return whether the kernel's clock was set from the network. False if it may not be asked."""
    timex = _Timex()
    if _libc().adjtimex(ctypes.byref(timex)) < 0:
        # A unit with ProtectClock may not call it. Then only the file counts.
        return False
    return not timex.status & STA_UNSYNC and timex.maxerror < MAXIMUM_ERROR
