"""The local time of day, for people. It follows a time zone that changes while a program runs."""

import os
import time


def local_time(unix_time: float | None = None) -> time.struct_time:
    """Return `unix_time` (default: now) in the time zone that is set at this moment.

    glibc looks at /etc/localtime when it is first needed and in tzset(3), not in localtime(3).
    """
    time.tzset()
    return time.localtime(unix_time)


def follow_system_zone() -> None:
    """Make TZ=:/etc/localtime mean what no TZ means; glibc would never read the file again.

    Call it before there are other threads.
    """
    if os.environ.get("TZ", "").removeprefix(":") == "/etc/localtime":
        del os.environ["TZ"]
