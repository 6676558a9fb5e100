"""The hub this device was last assigned to, kept so that a restart needs no registration."""

from agent.cloud.sdk import Assignment
from agent.config.loader import CloudConfig
from agent.storage.store import Store

SETTING = "assignment"


class RegistrationMemory:
    """One assignment in the store, good only for the registration that it came from."""

    def __init__(self, store: Store, cloud: CloudConfig, device_id: str) -> None:
        self._store = store
        self._asked = [cloud.provisioning_host, cloud.id_scope, device_id]

    async def recall(self) -> Assignment | None:
        """Return the last assignment; None if there is none, or another service was asked."""
        match await self._store.get(SETTING):
            case {"asked": asked, "hub": str(hub), "device_id": str(device_id)}:
                return Assignment(hub, device_id) if asked == self._asked else None
            case _:  # None yet, or one that has rotted on the card.
                return None

    async def remember(self, assignment: Assignment) -> None:
        """Keep an assignment in place of the last one."""
        await self._store.put(
            SETTING,
            {"asked": self._asked, "hub": assignment.hub, "device_id": assignment.device_id},
        )
