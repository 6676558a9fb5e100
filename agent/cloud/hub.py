"""How one device registers, and connects to its hub."""

import asyncio
from contextlib import AbstractAsyncContextManager

from agent.cloud.registration import register
from agent.cloud.sdk import CloudAccess
from agent.cloud.session import AzureSession, Event, open_session
from agent.storage.assignment import Assignment


class AzureHub(CloudAccess):
    """The provisioning service and the hub, for one device."""

    async def register(self) -> Assignment:
        """Ask the provisioning service for this device's hub. Raises CloudError."""
        return await register(self)

    def connect(
        self, assignment: Assignment, events: asyncio.Queue[Event]
    ) -> AbstractAsyncContextManager[AzureSession]:
        """Open a session. `events` receives what the hub sends. Raises CloudError."""
        return open_session(self, assignment, events)
