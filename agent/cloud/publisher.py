"""Sends the readings of the outbox over one connection, and removes acknowledged ones.

There are two lanes: live readings, taken during this connection, and the backlog of older ones.
Each lane is in order, and live readings go first.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Never

from agent.cloud.message import DROPPED_AT_ONCE, message
from agent.cloud.session import AzureSession
from agent.readings.clock import Clock
from agent.readings.outbox import START, Entry, Outbox, Position
from agent.status import DroppedReadings

WINDOW = 20  # Messages in flight.
PAGE = 100  # Readings fetched from the outbox at a time.
SHORTEST_SLEEP = 0.005  # Seconds. Shorter sleeps are inaccurate, so that several are combined.


async def publish_readings(
    outbox: Outbox,
    session: AzureSession,
    *,
    unit: str,
    max_rate: Callable[[], float],
    clock: Clock,
    sleep: Callable[[float], Awaitable[None]],
    removed: Callable[[], None],
) -> Never:
    """Publish readings in `unit` until cancelled, at most `max_rate()` a second.

    `removed` is called for each reading that has left the outbox. Raises CloudError (in a group)
    when the connection ends.
    """
    order = _SendOrder(outbox)
    window = asyncio.Semaphore(WINDOW)
    due = clock.uptime()
    async with asyncio.TaskGroup() as group:

        async def publish(entry: Entry, gaps: Sequence[DroppedReadings]) -> None:
            await session.send(message(entry, unit=unit, clock=clock, dropped=gaps))
            window.release()
            await outbox.remove([entry], reported=gaps)
            order.removed(entry)
            removed()

        while True:
            await window.acquire()
            early = due - clock.uptime()
            if early > SHORTEST_SLEEP:
                await sleep(early)
            if outbox.added.is_set():
                outbox.added.clear()
                order.has_more_live = True
            entry = await order.next()
            if entry is None:
                window.release()
                await outbox.added.wait()
                continue
            due = max(due, clock.uptime()) + 1 / max_rate()
            publishing = publish(order.with_previous(entry), order.next_gaps())
            group.create_task(publishing, name=f"uplink.send.{entry.message_id}")


class _SendOrder:
    """The order of sending: the oldest live reading, otherwise the oldest of the backlog.

    Set `has_more_live` when readings were added to the outbox.
    """

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self._era = outbox.era
        self._returned: set[str] = set()  # Message ids that are still in the outbox.
        self._announced: set[str] = set()  # Runs of which a message had `previous`.
        self._named: set[DroppedReadings] = set()
        self._begin(outbox.newest)

    def _begin(self, boundary: Position) -> None:
        self._boundary = boundary  # Readings after this position are live.
        self._live_cursor, self._backlog_cursor = boundary, START
        self._live: deque[Entry] = deque()
        self._backlog: deque[Entry] = deque()
        self.has_more_live = self._has_more_backlog = True

    async def next(self) -> Entry | None:
        """Return the next reading to send, each of them once; None if there is none."""
        if self.outbox.era != self._era:
            self._era = self.outbox.era
            self._begin(self._boundary)
        entry = await self._next_live() or await self._next_of_backlog()
        if entry is not None:
            self._returned.add(entry.message_id)
        return entry

    def with_previous(self, entry: Entry) -> Entry:
        """Return the entry; without `previous` if a message over this connection had that."""
        if entry.previous is None:
            return entry
        if entry.run in self._announced:
            return replace(entry, previous=None)
        self._announced.add(entry.run)
        return entry

    def next_gaps(self) -> list[DroppedReadings]:
        """Return the dropped readings that the next message names.

        Each is named once over a connection, and again over the next one unless acknowledged.
        """
        gaps = [gap for gap in self.outbox.unreported if gap not in self._named]
        gaps = gaps[:DROPPED_AT_ONCE]
        self._named.update(gaps)
        return gaps

    def removed(self, entry: Entry) -> None:
        """Record that this is no longer in the outbox."""
        self._returned.discard(entry.message_id)

    async def _next_live(self) -> Entry | None:
        while not self._live and self.has_more_live:
            # Before the page is fetched: readings may be added meanwhile.
            self.has_more_live = False
            page = await self._page(self._live_cursor)
            if page:
                self.has_more_live = True
                self._live_cursor = page[-1].position
            self._live.extend(self._new(page))
        return self._live.popleft() if self._live else None

    async def _next_of_backlog(self) -> Entry | None:
        while not self._backlog and self._has_more_backlog:
            page = await self._page(self._backlog_cursor)
            old = [entry for entry in page if entry.position <= self._boundary]
            self._has_more_backlog = bool(old)
            if old:
                self._backlog_cursor = old[-1].position
            self._backlog.extend(self._new(old))
        return self._backlog.popleft() if self._backlog else None

    async def _page(self, cursor: Position) -> list[Entry]:
        return await self.outbox.after(cursor, limit=PAGE)

    def _new(self, page: list[Entry]) -> list[Entry]:
        return [entry for entry in page if entry.message_id not in self._returned]
