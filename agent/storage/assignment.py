"""The hub that this device is assigned to, stored so that a restart needs no registration."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.errors import quote
from agent.ranges import HOST_NAME, HUB_DEVICE_ID
from agent.storage.settings import Settings

SETTING = "assignment"


@dataclass(frozen=True, slots=True)
class Assignment:
    """The hub that the provisioning service assigned to this device, and its id there.

    Raises ValueError if `hub` is not a host name, or `device_id` not a device id.
    """

    hub: str
    device_id: str

    def __post_init__(self) -> None:
        if not isinstance(self.hub, str) or not re.fullmatch(HOST_NAME, self.hub):
            raise ValueError(f"its hub is {quote(self.hub)}, which is not a host name")
        if not isinstance(self.device_id, str) or not re.fullmatch(HUB_DEVICE_ID, self.device_id):
            raise ValueError(
                f"its device id is {quote(self.device_id)}, which is not one that a hub allows"
            )


class StoredAssignment:
    """The last assignment that worked, valid only for the `registration` that it came from.

    `registration` is what the provisioning service was asked: its host, ID scope and device id. It
    is None if the configuration names the hub; then nothing is stored.
    """

    def __init__(self, settings: Settings, registration: Sequence[str] | None) -> None:
        self._settings = settings
        self._registration = None if registration is None else list(registration)

    async def load(self) -> Assignment | None:
        """Return the assignment; None if there is none for this registration."""
        if self._registration is None:
            return None
        match await self._settings.get(SETTING):
            case {"asked": asked, "hub": hub, "device_id": device_id} if (
                asked == self._registration
            ):
                try:
                    return Assignment(hub, device_id)
                except ValueError:  # Damaged, so the device registers again.
                    return None
            case _:  # Not stored yet, from another registration, or damaged.
                return None

    async def save(self, assignment: Assignment) -> None:
        """Replace the stored assignment, if it is a different one."""
        if self._registration is not None and await self.load() != assignment:
            await self._settings.put(
                SETTING,
                {
                    "asked": self._registration,
                    "hub": assignment.hub,
                    "device_id": assignment.device_id,
                },
            )

    async def forget(self, assignment: Assignment) -> None:
        """Delete the stored assignment, if it is this one."""
        if await self.load() == assignment:
            await self._settings.put(SETTING, None)
