"""Sends the readings of the outbox over one connection, and removes acknowledged ones.

There are two lanes: live readings, taken during this connection, and the backlog of older ones.
Each lane is in order, and live readings go first.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Never

from agent.cloud.message import message
from agent.cloud.session import AzureSession
from agent.readings.clock import Clock
from agent.readings.outbox import START, Entry, Outbox, Position

WINDOW = 20  # Messages in flight.
PAGE = 100  # Readings fetched from the outbox at a time.
SHORTEST_SLEEP = 0.005  # Seconds. Shorter sleeps are inaccurate, so that several are combined.
REMOVAL_DELAY = 1.0  # Seconds during which acknowledged readings are collected for removal.


async def publish_readings(
    outbox: Outbox,
    session: AzureSession,
    *,
    unit: str,
    max_rate: float,
    clock: Clock,
    sleep: Callable[[float], Awaitable[None]],
) -> Never:
    """Publish readings in `unit` until cancelled, at most `max_rate` a second.

    Raises CloudError (in a group) when the connection ends.
    """
    order = _SendOrder(outbox)
    window = asyncio.Semaphore(WINDOW)
    due = clock.uptime()
    async with _removing(order, sleep) as acknowledged, asyncio.TaskGroup() as group:

        async def publish(entry: Entry) -> None:
            await session.send(message(entry, unit=unit, clock=clock))
            acknowledged(entry)
            window.release()

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
            due = max(due, clock.uptime()) + 1 / max_rate
            group.create_task(publish(entry), name=f"uplink.send.{entry.sequence}")


class _SendOrder:
    """The order of sending: the oldest live reading, otherwise the oldest of the backlog.

    Set `has_more_live` when readings were added to the outbox.
    """

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self._era, self._file = outbox.era, outbox.id
        self._returned: set[str] = set()  # Message ids that are still in the outbox.
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
            # Positions start again in another file, and all its readings count as live.
            same = self.outbox.id == self._file
            self._era, self._file = self.outbox.era, self.outbox.id
            self._begin(self._boundary if same else START)
        entry = await self._next_live() or await self._next_of_backlog()
        if entry is not None:
            self._returned.add(entry.message_id)
        return entry

    def removed(self, entries: list[Entry]) -> None:
        """Record that these are no longer in the outbox."""
        self._returned -= {entry.message_id for entry in entries}

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


@asynccontextmanager
async def _removing(
    order: _SendOrder, sleep: Callable[[float], Awaitable[None]]
) -> AsyncIterator[Callable[[Entry], None]]:
    """Remove acknowledged readings from the outbox in batches, the last one on leaving.

    Yields the function to call with each acknowledged reading.
    """
    waiting: list[Entry] = []
    arrived = asyncio.Event()

    def acknowledged(entry: Entry) -> None:
        waiting.append(entry)
        arrived.set()

    async def remove() -> None:
        batch = waiting.copy()
        waiting.clear()
        await order.outbox.remove(batch)
        order.removed(batch)

    async def remove_in_batches() -> None:
        while True:
            await arrived.wait()
            arrived.clear()
            await sleep(REMOVAL_DELAY)
            await remove()

    remover = asyncio.create_task(remove_in_batches(), name="uplink.remove")
    try:
        yield acknowledged
    finally:
        remover.cancel()
        await asyncio.wait({remover})
        await remove()
