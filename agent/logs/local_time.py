"""The local time, which follows a change of the time zone while a program runs."""

import os
import time


def local_time(unix_time: float | None = None) -> time.struct_time:
    """Return `unix_time` (default: now) in the current time zone.

    glibc reads /etc/localtime at first use and in tzset(3), but not in localtime(3).
    """
    time.tzset()
    return time.localtime(unix_time)


def follow_system_zone() -> None:
    """Unset TZ if it names /etc/localtime: with it, glibc would never read the file again.

    Call this before other threads start.
    """
    if os.environ.get("TZ", "").removeprefix(":") == "/etc/localtime":
        del os.environ["TZ"]
