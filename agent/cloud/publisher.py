"""Sends what waits in the outbox over one connection, and forgets what was acknowledged.

Two lanes: live, taken during this connection, and backlog, all older ones. Each is in order, and
live goes first.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Never

from agent.readings.outbox import START, Entry, Outbox, Position

WINDOW = 20  # Messages in flight.
PAGE = 100  # Readings fetched from the outbox at a time.
GRAIN = 0.005  # Seconds: shorter sleeps take longer than they should, so they are gathered.
REMOVAL_DELAY = 1.0  # Seconds acknowledged readings are gathered before they are forgotten.


async def send_readings(
    outbox: Outbox,
    send: Callable[[Entry], Awaitable[None]],
    *,
    added: asyncio.Event,
    spacing: float,
    on_removed: Callable[[], None],
    now: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> Never:
    """Send for as long as the connection lasts: until `send` raises, in a group, or cancelled.

    `send` returns when the hub has the reading. `added` is set when the outbox has a new one;
    `spacing` is the least number of seconds between two.
    """
    lanes = _Lanes(outbox)
    window = asyncio.Semaphore(WINDOW)
    due = now()
    async with _forgetting(lanes, sleep, on_removed) as forget, asyncio.TaskGroup() as group:

        async def one(entry: Entry) -> None:
            await send(entry)
            forget(entry)
            window.release()

        while True:
            await window.acquire()
            if due - now() > GRAIN:
                await sleep(due - now())
            if added.is_set():
                added.clear()
                lanes.look_for_live()
            entry = await lanes.next()
            if entry is None:
                window.release()
                await added.wait()
                continue
            due = max(due, now()) + spacing
            group.create_task(one(entry), name=f"uplink.send.{entry.sequence}")


class _Lanes:
    """What to send next: the oldest live reading, else the oldest of the backlog."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self._era, self._file = outbox.era, outbox.id
        self._given: set[str] = set()  # Message ids, until they are forgotten.
        self._begin(outbox.newest)

    def _begin(self, boundary: Position) -> None:
        self._boundary = boundary
        self._live_cursor, self._backlog_cursor = boundary, START
        self._live: deque[Entry] = deque()
        self._backlog: deque[Entry] = deque()
        self._more_live = self._more_backlog = True

    def look_for_live(self) -> None:
        """Hear that the outbox has something new."""
        self._more_live = True

    async def next(self) -> Entry | None:
        if self.outbox.era != self._era:
            # In another file positions begin anew, and nothing in it is known to be old.
            same = self.outbox.id == self._file
            self._era, self._file = self.outbox.era, self.outbox.id
            self._begin(self._boundary if same else START)
        entry = await self._next_live() or await self._next_of_backlog()
        if entry is not None:
            self._given.add(entry.message_id)
        return entry

    def forget(self, entries: list[Entry]) -> None:
        """Hear that these are no longer in the outbox."""
        self._given -= {entry.message_id for entry in entries}

    async def _next_live(self) -> Entry | None:
        while not self._live and self._more_live:
            # Before the waiting: what is added meanwhile is looked for again.
            self._more_live = False
            page = await self._page(self._live_cursor)
            if page:
                self._more_live = True
                self._live_cursor = page[-1].position
            self._live.extend(self._new(page))
        return self._live.popleft() if self._live else None

    async def _next_of_backlog(self) -> Entry | None:
        while not self._backlog and self._more_backlog:
            page = await self._page(self._backlog_cursor)
            old = [entry for entry in page if entry.position <= self._boundary]
            self._more_backlog = bool(old)
            if old:
                self._backlog_cursor = old[-1].position
            self._backlog.extend(self._new(old))
        return self._backlog.popleft() if self._backlog else None

    async def _page(self, cursor: Position) -> list[Entry]:
        return await self.outbox.after(cursor, limit=PAGE)

    def _new(self, page: list[Entry]) -> list[Entry]:
        return [entry for entry in page if entry.message_id not in self._given]


@asynccontextmanager
async def _forgetting(
    lanes: _Lanes, sleep: Callable[[float], Awaitable[None]], on_removed: Callable[[], None]
) -> AsyncIterator[Callable[[Entry], None]]:
    """Remove acknowledged readings from the outbox, several at a time; all of them at last."""
    done: list[Entry] = []
    news = asyncio.Event()

    def forget(entry: Entry) -> None:
        done.append(entry)
        news.set()

    async def remove() -> None:
        batch = done.copy()
        done.clear()
        await lanes.outbox.remove(batch)
        lanes.forget(batch)
        on_removed()

    async def remove_in_batches() -> None:
        while True:
            await news.wait()
            news.clear()
            await sleep(REMOVAL_DELAY)
            await remove()

    remover = asyncio.create_task(remove_in_batches(), name="uplink.forget")
    try:
        yield forget
    finally:
        remover.cancel()
        await asyncio.wait({remover})
        await remove()
