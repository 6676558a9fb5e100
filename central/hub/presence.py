"""Which devices are connected to the hub, and when each was last heard from."""

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from central.errors import NotConnected
from central.events import Events
from central.records import Event

BLOCKED = "it was blocked by the operator"
DELETED = "it was deleted"
TAKEN_OVER = "another connection with its device id took over"


class PresentSession(Protocol):
    """What presence needs of the session of a connected device."""

    device_id: str
    since: float
    ended: asyncio.Event

    @property
    def takes_commands(self) -> bool: ...
    def abort(self, reason: str) -> None: ...


S = TypeVar("S", bound=PresentSession)


class Presence(Generic[S]):
    """The sessions of the connected devices, at most one of each.

    A device that is deleted or blocked is disconnected. All methods are for the event loop.
    """

    def __init__(self, events: Events, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions: dict[str, S] = {}
        self._last_seen: dict[str, float] = {}
        self._ready = asyncio.Condition()
        events.listen(self._on_event)

    def session(self, device_id: str) -> S | None:
        """Return the session of a device, or None if it is not connected."""
        return self._sessions.get(device_id)

    def connected_since(self, device_id: str) -> float | None:
        """Return when a device connected (unix seconds), or None if it is not connected."""
        session = self._sessions.get(device_id)
        return None if session is None else session.since

    def last_seen(self, device_id: str) -> float | None:
        """Return when a device last sent anything (unix seconds); None if not since the start."""
        return self._last_seen.get(device_id)

    def saw(self, device_id: str) -> None:
        """Note that a device sent something."""
        self._last_seen[device_id] = self._clock()

    async def enter(self, session: S) -> None:
        """Add a session, after ending the older one of its device."""
        while await self.disconnect(session.device_id, TAKEN_OVER):
            pass  # Of several new sessions, each ends the one before it.
        self._sessions[session.device_id] = session

    def leave(self, session: S) -> None:
        """Remove a session whose connection has ended."""
        if self._sessions.get(session.device_id) is session:
            del self._sessions[session.device_id]

    async def disconnect(self, device_id: str, reason: str) -> bool:
        """End the connection of a device, and return whether there was one.

        Nothing keeps the device from connecting again.
        """
        session = self._sessions.get(device_id)
        if session is None:
            return False
        session.abort(reason)
        await session.ended.wait()
        return True

    async def notify_ready(self) -> None:
        """Wake whatever waits in `wait_until_ready`: a device may take commands now."""
        async with self._ready:
            self._ready.notify_all()

    async def wait_until_ready(self, device_id: str, seconds: float) -> S:
        """Return the session of a device that takes commands, waiting up to `seconds` for it.

        Raise NotConnected.
        """

        def ready() -> S | None:
            session = self._sessions.get(device_id)
            return session if session is not None and session.takes_commands else None

        try:
            async with asyncio.timeout(seconds), self._ready:
                session = await self._ready.wait_for(ready)
        except TimeoutError:
            session = ready()
        if session is None:
            raise NotConnected(device_id)
        return session

    def _on_event(self, event: Event) -> None:
        if event.kind != "device":
            return
        session = self._sessions.get(event.device_id)
        deleted = event.data is None
        if deleted:
            self._last_seen.pop(event.device_id, None)
        if session is not None and (deleted or not event.data.enabled):
            session.abort(DELETED if deleted else BLOCKED)
