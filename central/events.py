"""Who wants to know what happens, and how they are told."""

import asyncio
from collections.abc import Callable
from typing import Self

from central.records import Event

Listener = Callable[[Event], None]

WAITING = 1000  # Events kept for a subscriber that is slower than what happens.


class Events:
    """Tells every listener, at once and in order, of each event."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def unlisten(self, listener: Listener) -> None:
        self._listeners.remove(listener)

    def publish(self, event: Event) -> None:
        for listener in list(self._listeners):
            listener(event)


class Subscription:
    """An async iterator of events, while its `with` block lasts.

    For a subscriber that lags, what waits is dropped and stands for one Event `lagged`: look
    everything up again, then go on.
    """

    def __init__(self, events: Events, device_id: str | None) -> None:
        self._events = events
        self._device_id = device_id
        self._queue: asyncio.Queue[Event] = asyncio.Queue(WAITING)

    def __enter__(self) -> Self:
        self._events.listen(self._put)
        return self

    def __exit__(self, *_: object) -> None:
        self._events.unlisten(self._put)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await self._queue.get()

    def waiting(self) -> list[Event]:
        """Take what has come already."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]

    def _put(self, event: Event) -> None:
        if self._device_id is not None and event.device_id not in {self._device_id, ""}:
            return
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            event = Event("lagged", "")
        self._queue.put_nowait(event)
