"""Notices to systemd: READY=1, the status line, and the watchdog.

The watchdog is fed from the event loop, and only while readings are processed. If either hangs,
systemd restarts the daemon. An unreachable hub does not stop the feeding.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import Never

from agent.device.units import temperature_text
from agent.logs import journal
from agent.logs.events import LogEvent
from agent.logs.local_time import local_time
from agent.status import CloudPart
from hw import Reading

log = logging.getLogger(__name__)

LONGEST_PAUSE = 20.0  # Seconds between two notices.
SHORTEST_PAUSE = 1.0  # Seconds. Several changes within it make one notice.
NOTICES_IN_A_LIMIT = 3  # So that one may be late.


class Watch:
    """Whether readings are processed: each step announces how long the next one may take.

    `now` is a clock that does not count the time the machine is suspended, like systemd's.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until = inf

    def expect(self, seconds: float) -> None:
        """Expect the next call within `seconds`."""
        self._until = self._now() + seconds

    @property
    def stuck(self) -> bool:
        """Whether the expected call is overdue."""
        return self._now() > self._until


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, at most `seconds`."""
    with suppress(TimeoutError):  # Nothing has changed.
        async with asyncio.timeout(seconds):
            await event.wait()


async def notify_systemd(
    *,
    ready: asyncio.Event,
    changed: asyncio.Event,
    watch: Watch,
    status: Callable[[], str],
    wait: Callable[[asyncio.Event, float], Awaitable[None]] = _wait,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Never:
    """Send READY once `ready` is set, then keep the status line true and the watchdog fed.

    Set `changed` when `status` returns another line than before: systemd has it within
    SHORTEST_PAUSE. WATCHDOG is sent with each notice unless `watch` is stuck.
    """
    await ready.wait()
    limit = journal.watchdog_seconds()
    pause = LONGEST_PAUSE if limit is None else min(LONGEST_PAUSE, limit / NOTICES_IN_A_LIMIT)
    notice = {"READY": "1"}
    was_stuck = False
    changed.set()
    while True:
        stuck = watch.stuck
        if stuck:
            notice["STATUS"] = "Stuck: readings are not processed"
        else:
            notice["WATCHDOG"] = "1"
            if changed.is_set() or was_stuck:
                notice["STATUS"] = status()
        changed.clear()
        journal.notify(**notice)
        notice = {}
        if stuck and not was_stuck:
            log.error(
                "Reading the sensor or storing a reading has not finished in time. systemd "
                "restarts the daemon if its watchdog is enabled.",
                extra=LogEvent.READINGS_STUCK.about(),
            )
        elif was_stuck and not stuck:
            log.info("Readings are processed again.", extra=LogEvent.READINGS_MOVE.about())
        was_stuck = stuck
        await wait(changed, pause)
        if changed.is_set():
            await sleep(min(SHORTEST_PAUSE, pause))


def status_line(
    sensor: str,
    last: tuple[Reading, float] | None,
    cloud: CloudPart | None,
    *,
    waiting: int,
    unit: str,
) -> str:
    """Describe sensor and session in one line.

    `sensor` is the sensor's status, `last` its last reading and when that was taken (Unix time),
    `waiting` the number of unsent readings, `unit` that of temperatures.
    """
    parts = []
    if sensor not in {"ok", "starting"}:
        parts.append(f"the sensor gives no readings ({sensor})")
    if last is not None:
        text = _short(*last, unit)
        parts.append(f"the last was {text}" if parts else text)
    elif not parts:
        parts.append("no reading yet")
    if cloud is not None:
        parts.append("not connected" if cloud.hub is None else f"connected to {cloud.hub}")
        parts.append(f"{waiting} waiting")
    return "; ".join(parts)


def _short(reading: Reading, taken: float, unit: str) -> str:
    at = time.strftime("%H:%M", local_time(taken))
    return f"{temperature_text(reading.temperature, unit)}, {reading.humidity:.1f} % at {at}"
