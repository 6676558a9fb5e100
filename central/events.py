"""How parts of central learn what happens: listeners and subscriptions."""

import asyncio
from collections.abc import Callable
from typing import Self

from central.records import Event

Listener = Callable[[Event], None]

MAX_WAITING = 1000  # Events that wait for a slow subscriber.


class Events:
    """Calls every listener with each event, at once and in order. For the event loop only."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call this listener with every event from now on."""
        self._listeners.append(listener)

    def unlisten(self, listener: Listener) -> None:
        """Stop calling this listener."""
        self._listeners.remove(listener)

    def publish(self, event: Event) -> None:
        """Call every listener with this event."""
        for listener in list(self._listeners):
            listener(event)


class Subscription:
    """An async iterator of events inside its `with` block: of one device, or of all.

    If the subscriber falls behind, the waiting events are dropped and replaced by one of the kind
    `lagged`. Look everything up again then, and continue.
    """

    def __init__(self, events: Events, device_id: str | None) -> None:
        self._events = events
        self._device_id = device_id
        self._queue: asyncio.Queue[Event] = asyncio.Queue(MAX_WAITING)

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
        """Remove and return the events that wait already."""
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]

    def _put(self, event: Event) -> None:
        if self._device_id is not None and event.device_id not in {self._device_id, ""}:
            return
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            event = Event("lagged", "")
        self._queue.put_nowait(event)
