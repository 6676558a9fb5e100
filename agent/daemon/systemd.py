"""What systemd is told while the daemon runs: that it is ready, how it is, and that it moves.

It is told so from the event loop, and only while readings are on their way: where either hangs,
systemd starts the daemon anew. A hub that cannot be reached is no reason to.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from math import inf
from typing import Never

from agent.logs import journal
from agent.logs.events import LogEvent
from agent.logs.local_time import local_time
from hw import Reading
from hw.sensors.policy import SensorStatus

log = logging.getLogger(__name__)

LONGEST_PAUSE = 20.0  # Seconds between two words to systemd.
WORDS_IN_A_LIMIT = 3  # So that one may be late.


class Watch:
    """Whether readings still move: who carries one says how long its next step may take.

    `now` is a clock that stands still while the machine sleeps, as systemd's does.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until = inf

    def expect(self, seconds: float) -> None:
        """Hear that the next word comes within `seconds`."""
        self._until = self._now() + seconds

    @property
    def stuck(self) -> bool:
        """Whether that time has passed without one."""
        return self._now() > self._until


async def tell_systemd(
    *,
    ready: asyncio.Event,
    watch: Watch,
    words: Callable[[], str],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Never:
    """Say READY once `ready` is set, then STATUS, `words`, and, unless stuck, WATCHDOG."""
    await ready.wait()
    journal.notify(READY="1", STATUS=words())
    limit = journal.watchdog_seconds()
    pause = LONGEST_PAUSE if limit is None else min(LONGEST_PAUSE, limit / WORDS_IN_A_LIMIT)
    was_stuck = False
    while True:
        if watch.stuck:
            journal.notify(STATUS="Stuck: no reading moves any more")
        else:
            journal.notify(WATCHDOG="1", STATUS=words())
        if watch.stuck and not was_stuck:
            log.error(
                "Nothing is heard from the reading of the sensor, or from the disk that keeps "
                "readings. Where systemd watches this daemon, it starts it anew.",
                extra=LogEvent.READINGS_STUCK.about(),
            )
        elif was_stuck and not watch.stuck:
            log.info("Readings move again.", extra=LogEvent.READINGS_MOVE.about())
        was_stuck = watch.stuck
        await sleep(pause)


def in_words(
    *,
    sensor: SensorStatus,
    last: Reading | None,
    taken: float | None,
    has_cloud: bool,
    hub: str | None,
    waiting: int,
) -> str:
    """Say in one line how the daemon is. `taken` is when the last reading was, in unix time."""
    parts = []
    if sensor not in {SensorStatus.OK, SensorStatus.STARTING}:
        parts.append(f"the sensor gives no readings ({sensor})")
    if last is not None and taken is not None:
        at = time.strftime("%H:%M", local_time(taken))
        value = f"{last.temperature:.1f} °C, {last.humidity:.1f} % at {at}"
        parts.append(f"the last was {value}" if parts else value)
    elif not parts:
        parts.append("no reading yet")
    if has_cloud:
        parts.append("not connected" if hub is None else f"connected to {hub}")
        parts.append(f"{waiting} waiting")
    return "; ".join(parts)
