"""What central knows: devices, keys, twins, templates, and what happened.

What is written is committed before a method returns. What only looks something up may be called
from any thread, and does not wait for what is being written; the rest is for the event loop.
"""

import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from types import EllipsisType
from typing import Any

from central.errors import InvalidDeviceId, UnknownDevice
from central.events import Events, Subscription
from central.protocol import sas, twins
from central.records import Command, Connection, Device, Event, Message, QueuedMessage, Twin
from central.storage import command_queue, history, telemetry_queries
from central.storage import devices as directory
from central.storage.store import Store, T
from central.storage.telemetry_queries import Numbered

__all__ = [
    "Command",
    "Connection",
    "Device",
    "Event",
    "Message",
    "Registry",
    "Subscription",
    "Twin",
]

# The hub takes a few more signs, all of which would have to be escaped in a topic or a URL:
# https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-identity-registry
DEVICE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Registry:
    """What central knows. Methods that take a `device_id` raise UnknownDevice."""

    def __init__(self, store: Store, *, group_key: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self.events = Events()
        self.group_key = group_key
        self.id_scope = store.call(directory.id_scope)

    # Devices

    def devices(self) -> list[Device]:
        return self._store.read(directory.devices)

    def device(self, device_id: str) -> Device:
        return self._store.read(lambda db: directory.device(db, device_id))

    async def fetch_device(self, device_id: str) -> Device:
        """Do as `device`, without holding up the event loop."""
        return await self._store.run(lambda db: directory.device(db, device_id))

    def add_device(
        self,
        device_id: str,
        *,
        display_name: str | None = None,
        template: str | None = None,
        simulated: bool = False,
    ) -> Device:
        """Add a device. Raise InvalidDeviceId or DeviceExists."""
        device = replace(
            self._new_device(device_id),
            display_name=display_name or device_id,
            template=template,
            simulated=simulated,
        )
        self._store.call(lambda db: directory.insert(db, device))
        self._tell("device", device_id, device)
        return device

    def update_device(
        self,
        device_id: str,
        *,
        display_name: str | EllipsisType = ...,
        template: str | EllipsisType | None = ...,
        enabled: bool | EllipsisType = ...,
    ) -> Device:
        """Change what the operator may change; `...` leaves it as it is."""
        wanted = {"display_name": display_name, "template": template, "enabled": enabled}
        changes = {name: value for name, value in wanted.items() if value is not ...}
        device = self._store.call(lambda db: directory.update(db, device_id, changes))
        self._tell("device", device_id, device)
        return device

    def delete_device(self, device_id: str) -> None:
        """Forget a device and everything about it."""
        self._store.call(lambda db: directory.delete(db, device_id))
        self._tell("device", device_id, None)

    def keys(self, device_id: str) -> tuple[str, str]:
        """Return the primary and the secondary key of a device.

        The primary one is derived from the group's unless the device was given its own.
        """
        return self._store.read(lambda db: directory.keys(db, device_id, self.group_key))

    async def fetch_keys(self, device_id: str) -> tuple[str, ...]:
        """Return the keys that open a device: one that is not known yet, too."""
        try:
            return await self._store.run(lambda db: directory.keys(db, device_id, self.group_key))
        except UnknownDevice:
            return (sas.derive_device_key(self.group_key, device_id),)

    def set_keys(self, device_id: str, *, primary: str, secondary: str) -> None:
        """Give a device keys of its own: the group's no longer opens it. Raise InvalidKey."""
        changes = {
            "primary_key": sas.check_key(primary),
            "secondary_key": sas.check_key(secondary),
        }
        device = self._store.call(lambda db: directory.update(db, device_id, changes))
        self._tell("device", device_id, device)

    async def register(self, device_id: str, model: str | None) -> Device:
        """Note a registration, of a new device too, with the model that it announces.

        Raise InvalidDeviceId.
        """
        new = self._new_device(device_id)
        device = await self._store.run(lambda db: directory.register(db, new, model))
        self._tell("device", device_id, device)
        return device

    async def announce(self, device_id: str, model: str) -> None:
        """Note the model that a device names when it connects to the hub."""
        device = await self._store.run(lambda db: directory.announce(db, device_id, model))
        if device is not None:
            self._tell("device", device_id, device)

    def _new_device(self, device_id: str) -> Device:
        if not DEVICE_ID.fullmatch(device_id):
            raise InvalidDeviceId(device_id)
        return Device(
            id=device_id,
            display_name=device_id,
            template=None,
            enabled=True,
            provisioned=False,
            simulated=False,
            created=self._clock(),
            etag=directory.new_etag(),
            announced=None,
        )

    # Twins

    def twin(self, device_id: str) -> Twin:
        return self._store.read(lambda db: directory.twin(db, device_id))

    async def fetch_twin(self, device_id: str) -> Twin:
        """Do as `twin`, without holding up the event loop."""
        return await self._store.run(lambda db: directory.twin(db, device_id))

    async def patch_reported(self, device_id: str, patch: object) -> Twin:
        """Merge what a device reports, complete its commands with it. Raise InvalidTwin."""
        change, now = twins.check_patch(patch), self._clock()

        def job(db: sqlite3.Connection) -> tuple[Twin, list[Command]]:
            twin = directory.twin(db, device_id)
            reported = twins.merge(twin.reported, change)
            twins.check_size(reported)
            twin = replace(
                twin,
                reported=reported,
                reported_version=twin.reported_version + 1,
                reported_times=_times(twin.reported_times, change, now),
            )
            directory.save_twin(db, device_id, twin)
            return twin, history.complete_commands(db, device_id, change, now)

        twin, completed = await self._store.run(job)
        self._tell("twin", device_id, twin)
        for command in completed:
            self._tell("command", device_id, command)
        return twin

    async def patch_desired(
        self, device_id: str, patch: object, *, replace_all: bool
    ) -> tuple[Twin, twins.Document]:
        """Change what is wanted of a device; return also the merge patch it comes to.

        Raise InvalidTwin.
        """
        wanted, now = twins.check_patch(patch), self._clock()

        def job(db: sqlite3.Connection) -> tuple[Twin, twins.Document]:
            twin = directory.twin(db, device_id)
            change = wanted
            if replace_all:
                change = twins.difference(twin.desired, twins.merge({}, wanted))
            desired = twins.merge(twin.desired, change)
            twins.check_size(desired)
            twin = replace(
                twin,
                desired=desired,
                desired_version=twin.desired_version + 1,
                desired_times=_times(twin.desired_times, change, now),
            )
            directory.save_twin(db, device_id, twin)
            return twin, change

        twin, change = await self._store.run(job)
        self._tell("twin", device_id, twin)
        return twin, change

    # What happened

    def messages(
        self,
        device_id: str,
        *,
        limit: int = 100,
        before: int | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> list[Message]:
        """Return messages, newest first: numbered below `before`, received in the time span."""
        return self._about(
            device_id,
            lambda db: telemetry_queries.messages(
                db, device_id, limit=limit, before=before, since=since, until=until
            ),
        )

    def messages_after(
        self, device_id: str, number: int, *, since: float, until: float, limit: int
    ) -> list[Message]:
        """Return messages, oldest first: numbered above `number`, received in the time span.

        Long ones are not many at once: none are left only where none are returned.
        """
        span = (since, until)
        return self._about(
            device_id,
            lambda db: telemetry_queries.messages_after(db, device_id, number, span, limit),
        )

    def last_telemetry(
        self, device_id: str, name: str, component: str | None = None
    ) -> tuple[float, object] | None:
        """Return the newest value and its time: when it was made, else when it was received."""
        return self._about(
            device_id,
            lambda db: telemetry_queries.last_telemetry(db, device_id, component or "", name),
        )

    def telemetry_series(
        self,
        device_id: str,
        name: str,
        *,
        since: float,
        until: float,
        component: str | None = None,
        most: int = 2000,
    ) -> list[tuple[float, float, bool]]:
        """Return the numbers of a time span: their times, themselves, and whether they came late.

        Oldest first. Of more than `most`, the lowest and the highest of each short time, and of
        none whether it was late.
        """
        span, part = (since, until), component or ""
        return self._about(
            device_id,
            lambda db: telemetry_queries.telemetry_series(db, device_id, part, name, span, most),
        )

    def numbered(self, device_id: str, since: float) -> list[Numbered]:
        """Count the messages made since then by the numbers in their ids; newest source last."""
        return self._about(device_id, lambda db: telemetry_queries.numbered(db, device_id, since))

    def commands(
        self, device_id: str, name: str | None = None, *, limit: int = 50
    ) -> list[Command]:
        """Return commands, newest first."""
        return self._about(device_id, lambda db: history.commands(db, device_id, name, limit))

    def connections(self, device_id: str, *, limit: int = 100) -> list[Connection]:
        """Return the connection log, newest first."""
        return self._about(device_id, lambda db: history.connections(db, device_id, limit))

    def last_connection(self, device_id: str) -> Connection | None:
        """Return the newest begin or end of a connection."""
        return self._about(device_id, lambda db: history.last_connection(db, device_id))

    async def record_message(
        self,
        device_id: str,
        *,
        created: float | None,
        body: bytes,
        properties: dict[str, str],
        system: dict[str, str],
    ) -> Message:
        """Keep a message from a device."""
        # Number 0 until it is kept.
        new = Message(0, device_id, self._clock(), created, body, properties, system)
        message = await self._store.run(lambda db: history.add_message(db, new))
        self._tell("telemetry", device_id, message)
        return message

    async def record_connection(self, device_id: str, event: str, detail: str) -> None:
        """Note a line in the connection log of a device, if it is known."""
        entry = Connection(device_id, self._clock(), event, detail)
        if await self._store.run(lambda db: history.add_connection(db, entry)):
            self._tell("connection", device_id, entry)

    async def record_command(self, command: Command, message: QueuedMessage | None = None) -> None:
        """Note that a command was asked for, and queue its message if it has one (or QueueFull)."""

        def job(db: sqlite3.Connection) -> None:
            history.add_command(db, command)
            if message is not None:
                command_queue.enqueue(db, message, now=command.asked)

        await self._store.run(job)
        self._tell("command", command.device_id, command)

    async def record_answer(
        self, command_id: str, *, answered: float | None, status: int | None, response: object
    ) -> Command | None:
        """Note how a command ended, and return it; None if its device was deleted meanwhile."""
        command = await self._store.run(
            lambda db: history.answer_command(db, command_id, answered, status, response)
        )
        if command is not None:
            self._tell("command", command.device_id, command)
        return command

    def subscribe(self, device_id: str | None = None) -> Subscription:
        """Return an async iterator of what happens from now on, as a context manager.

        With `device_id` of that device alone.
        """
        return Subscription(self.events, device_id)

    # Templates: DTDL v2 interfaces. A template has an id of its own, often that of its interface.

    def templates(self) -> dict[str, dict[str, Any]]:
        """Return the interface of each template, by the template's id."""
        return self._store.read(directory.templates)

    def template(self, dtmi: str) -> dict[str, Any]:
        """Return a model by its own id or by its template's, or raise UnknownTemplate."""
        return self._store.read(lambda db: directory.template(db, dtmi))

    def put_template(self, dtmi: str, interface: dict[str, Any]) -> None:
        self._store.call(lambda db: directory.put_template(db, dtmi, interface))

    def delete_template(self, dtmi: str) -> None:
        """Forget a model, or raise UnknownTemplate."""
        self._store.call(lambda db: directory.delete_template(db, dtmi))

    def _about(self, device_id: str, job: Callable[[sqlite3.Connection], T]) -> T:
        """Do a job about a device that must exist."""

        def checked(db: sqlite3.Connection) -> T:
            directory.device(db, device_id)
            return job(db)

        return self._store.read(checked)

    def _tell(self, kind: str, device_id: str, data: object) -> None:
        self.events.publish(Event(kind, device_id, data))


def _times(times: dict[str, float], change: twins.Document, now: float) -> dict[str, float]:
    """Return when each top-level property last changed, after this change."""
    changed = {name: now for name, value in change.items() if value is not None}
    kept = {name: time for name, time in times.items() if name not in change}
    return kept | changed
