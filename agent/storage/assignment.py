"""The hub that this device is assigned to, stored so that a restart needs no registration."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.storage.settings import Settings

SETTING = "assignment"


@dataclass(frozen=True, slots=True)
class Assignment:
    """The hub that the provisioning service assigned to this device."""

    hub: str
    device_id: str


class StoredAssignment:
    """The last assignment, valid only for the `registration` that it came from.

    `registration` is what the provisioning service was asked: its host, ID scope and device id.
    """

    def __init__(self, settings: Settings, registration: Sequence[str]) -> None:
        self._settings = settings
        self._registration = list(registration)

    async def load(self) -> Assignment | None:
        """Return the assignment; None if there is none for this registration."""
        match await self._settings.get(SETTING):
            case {"asked": asked, "hub": str(hub), "device_id": str(device_id)}:
                return Assignment(hub, device_id) if asked == self._registration else None
            case _:  # Not stored yet, or damaged.
                return None

    async def save(self, assignment: Assignment) -> None:
        """Replace the stored assignment."""
        await self._settings.put(
            SETTING,
            {
                "asked": self._registration,
                "hub": assignment.hub,
                "device_id": assignment.device_id,
            },
        )
