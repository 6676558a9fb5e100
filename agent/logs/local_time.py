"""The local time, which follows a change of the time zone while a program runs."""

import os
import time
from datetime import datetime


def local_time(unix_time: float | None = None) -> time.struct_time:
    """Return `unix_time` (default: now) in the current time zone.

    glibc reads /etc/localtime at first use and in tzset(3), but not in localtime(3).
    """
    time.tzset()
    return time.localtime(unix_time)


def in_local_time(text: str, *, now: str = "") -> str:
    """Return a time (ISO 8601) as local time with its zone: "2026-11-25 14:05:07 CET".

    The date is left out if it is that of `now`. What is not a time is returned as it is.
    """
    try:
        moment = local_time(datetime.fromisoformat(text).timestamp())
        today = local_time(datetime.fromisoformat(now).timestamp())[:3] if now else None
    except (ValueError, OverflowError, OSError):
        return text
    date = "" if moment[:3] == today else "%Y-%m-%d "
    return time.strftime(f"{date}%H:%M:%S %Z", moment)


def follow_system_zone() -> None:
    """Unset TZ if it names /etc/localtime: with it, glibc would never read the file again.

    Call this before other threads start.
    """
    if os.environ.get("TZ", "").removeprefix(":") == "/etc/localtime":
        del os.environ["TZ"]
