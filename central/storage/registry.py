"""Every change that central records, and the event that reports it.

To look something up, pass a query to the store: `store.read(history.commands, device_id)`.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import EllipsisType

from central.errors import InvalidDeviceId, UnknownDevice
from central.events import Events, Subscription
from central.protocol import sas, twins
from central.records import (
    DEVICE_ID,
    Command,
    Connection,
    Device,
    Event,
    Message,
    QueuedMessage,
    Twin,
)
from central.storage import (
    cloud_properties,
    command_queue,
    devices,
    fleet,
    history,
    rules,
    telemetry,
)
from central.storage.cloud_properties import CloudPatch
from central.storage.store import Store


class Registry:
    """Records changes and publishes an event of each, once it is committed.

    Methods that take a `device_id` raise UnknownDevice, and all raise StoreError. They are for the
    thread of the event loop; those that are not coroutines block it for a few milliseconds.
    """

    def __init__(
        self,
        store: Store,
        *,
        group_key: str,
        clock: Callable[[], float],
        id_scopes: int = 1,
    ) -> None:
        self.store = store
        self._clock = clock
        self.events = Events()
        self.group_key = group_key
        self.id_scopes = store.call(devices.id_scopes, id_scopes)
        self.id_scope = self.id_scopes[0]

    # Devices

    def add_device(
        self,
        device_id: str,
        *,
        display_name: str | None = None,
        template: str | None = None,
        simulated: bool = False,
        enabled: bool = True,
        organizations: tuple[str, ...] = (),
    ) -> Device:
        """Add a device. Raise InvalidDeviceId or DeviceExists."""
        device = replace(
            self._new_device(device_id),
            display_name=display_name or device_id,
            template=template,
            simulated=simulated,
            enabled=enabled,
            organizations=organizations,
        )
        self.store.call(devices.insert, device)
        self._publish("device", device_id, device)
        return device

    def update_device(
        self,
        device_id: str,
        *,
        display_name: str | EllipsisType = ...,
        template: str | EllipsisType | None = ...,
        enabled: bool | EllipsisType = ...,
        organizations: tuple[str, ...] | EllipsisType = ...,
        check: Callable[[str], None] | None = None,
    ) -> Device:
        """Change what the operator may change; `...` keeps a value.

        `check` is called with the device's etag before, and raises what is to be raised.
        """
        wanted = {
            "display_name": display_name,
            "template": template,
            "enabled": enabled,
            "organizations": ... if organizations is ... else json.dumps(organizations),
        }
        changes = {name: value for name, value in wanted.items() if value is not ...}
        return self._update(device_id, changes, check)

    async def change_tags(
        self, device_id: str, change: Callable[[tuple[str, ...]], Iterable[str]]
    ) -> None:
        """Replace the tags of a device by what `change` makes of them, or raises."""

        def job(db: sqlite3.Connection) -> Device:
            fleet.set_tags(db, device_id, change(fleet.tags(db, device_id)))
            return devices.get(db, device_id)

        self._publish("device", device_id, await self.store.run(job))

    def delete_device(self, device_id: str, check: Callable[[str], None] | None = None) -> None:
        """Delete a device and everything recorded of it. `check` is that of `update_device`."""
        self.store.call(devices.delete, device_id, check)
        self._publish("device", device_id, None)

    def keys(self, device_id: str) -> tuple[str, str]:
        """Return the primary and the secondary key of a device, in base64.

        The primary key is derived from the group's unless the device was given its own. May be
        called from any thread.
        """
        return self.store.read(devices.get_keys, device_id, self.group_key)

    async def accepted_keys(self, device_id: str) -> tuple[str, ...]:
        """Return the keys that a device may sign in with, also if it is not known yet."""
        try:
            return await self.store.run(devices.get_keys, device_id, self.group_key)
        except UnknownDevice:
            return (sas.derive_device_key(self.group_key, device_id),)

    def set_keys(self, device_id: str, *, primary: str, secondary: str) -> None:
        """Give a device keys of its own, in place of the group's. Raise InvalidKey."""
        keys = {"primary_key": sas.check_key(primary), "secondary_key": sas.check_key(secondary)}
        self._update(device_id, keys)

    async def register(
        self, device_id: str, model: str | None, *, id_scope: str | None = None
    ) -> Device:
        """Record a registration and the model it announces; add the device if it is new.

        `id_scope` None is the first one. Raise InvalidDeviceId.
        """
        new = replace(self._new_device(device_id), id_scope=id_scope or self.id_scope)
        device = await self.store.run(devices.register, new, model)
        self._publish("device", device_id, device)
        return device

    async def announce(self, device_id: str, model: str) -> None:
        """Record the model that a device announces when it connects to the hub."""
        device = await self.store.run(devices.announce, device_id, model)
        if device is not None:
            self._publish("device", device_id, device)

    def _new_device(self, device_id: str) -> Device:
        if not DEVICE_ID.fullmatch(device_id):
            raise InvalidDeviceId(device_id)
        return Device(device_id, device_id, created=self._clock(), etag=devices.new_etag())

    def _update(
        self,
        device_id: str,
        changes: Mapping[str, object],
        check: Callable[[str], None] | None = None,
    ) -> Device:
        device = self.store.call(devices.update, device_id, changes, check)
        self._publish("device", device_id, device)
        return device

    # Twins

    async def patch_reported(self, device_id: str, patch: object) -> Twin:
        """Merge what a device reports, and complete its commands with it. Raise InvalidTwin."""
        change, now = twins.check_patch(patch), self._clock()

        def job(db: sqlite3.Connection) -> tuple[Twin, list[Command]]:
            twin = devices.get_twin(db, device_id)
            twin = replace(
                twin,
                reported=twins.merge_within_limit(twin.reported, change),
                reported_version=twin.reported_version + 1,
                reported_times=_times(twin.reported_times, change, now),
            )
            devices.save_twin(db, device_id, twin)
            rules.add_reported_change(db, device_id, now, change)
            return twin, history.complete_commands(db, device_id, change, now)

        twin, completed = await self.store.run(job)
        self._publish("twin", device_id, twin)
        for command in completed:
            self._publish("command", device_id, command)
        return twin

    async def patch_desired(
        self,
        device_id: str,
        patch: object,
        *,
        replace_all: bool,
        cloud: CloudPatch | None = None,
    ) -> tuple[Twin, twins.Document]:
        """Merge desired properties, or replace them all; return the twin and the effective patch.

        Cloud properties are merged or replaced with them. Raise InvalidTwin.
        """
        wanted, now = twins.check_patch(patch), self._clock()

        def job(db: sqlite3.Connection) -> tuple[Twin, twins.Document]:
            twin, change = devices.get_twin(db, device_id), wanted
            if cloud is not None:
                cloud_properties.patch(db, device_id, cloud, now, replace_all=replace_all)
            if replace_all:
                change = twins.difference(twin.desired, twins.merge({}, wanted))
            if cloud and not change:
                return twin, {}
            twin = replace(
                twin,
                desired=twins.merge_within_limit(twin.desired, change),
                desired_version=twin.desired_version + 1,
                desired_times=_times(twin.desired_times, change, now),
            )
            devices.save_twin(db, device_id, twin)
            return twin, change

        twin, change = await self.store.run(job)
        self._publish("twin", device_id, twin)
        return twin, change

    # Messages, commands and connections

    async def record_message(
        self,
        device_id: str,
        *,
        created: float | None,
        body: bytes,
        properties: dict[str, str],
        system: dict[str, str],
    ) -> Message:
        """Record a message from a device, received now. `created` is when the device made it."""
        # The number is assigned when the message is stored.
        new = Message(0, device_id, self._clock(), created, body, properties, system)
        message = await self.store.run(telemetry.add_message, new)
        self._publish("telemetry", device_id, message)
        return message

    async def record_connection(self, device_id: str, event: str, detail: str) -> None:
        """Add a line to the connection log of a device. An unknown device has none."""
        entry = Connection(device_id, self._clock(), event, detail)
        if await self.store.run(history.add_connection, entry):
            self._publish("connection", device_id, entry)

    async def record_command(self, command: Command, message: QueuedMessage | None = None) -> None:
        """Record a command, and queue the message that carries it, if any. Raise QueueFull."""

        def job(db: sqlite3.Connection) -> None:
            history.add_command(db, command)
            if message is not None:
                command_queue.enqueue(db, message, now=command.asked)

        await self.store.run(job)
        self._publish("command", command.device_id, command)

    async def record_answer(
        self, command_id: str, *, answered: float | None, status: int | None, response: object
    ) -> Command | None:
        """Record the answer to a command; return the command, or None if it is no longer there."""
        command = await self.store.run(
            history.answer_command, command_id, answered, status, response
        )
        if command is not None:
            self._publish("command", command.device_id, command)
        return command

    def subscribe(self, device_id: str | None = None) -> Subscription:
        """Return a subscription to the events of one device, or of all, from now on."""
        return Subscription(self.events, device_id)

    def _publish(self, kind: str, device_id: str, data: object) -> None:
        self.events.publish(Event(kind, device_id, data))


def _times(times: dict[str, float], change: twins.Document, now: float) -> dict[str, float]:
    """Return when each top-level property last changed, after this change."""
    changed = {name: now for name, value in change.items() if value is not None}
    kept = {name: time for name, time in times.items() if name not in change}
    return kept | changed
