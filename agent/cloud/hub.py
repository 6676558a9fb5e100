"""How one device registers, and connects to its hub."""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from agent.cloud.registration import register
from agent.cloud.session import AzureSession, Event, open_session
from agent.config.credentials import Credentials
from agent.config.loader import CloudConfig
from agent.storage.assignment import Assignment


@dataclass(frozen=True, kw_only=True, slots=True)
class AzureHub:
    """The provisioning service and the hub, for one device."""

    cloud: CloudConfig
    credentials: Credentials
    device_id: str
    model_id: str

    async def register(self) -> Assignment:
        """Ask the provisioning service for this device's hub. Raises CloudError."""
        return await register(
            cloud=self.cloud,
            credentials=self.credentials,
            device_id=self.device_id,
            model_id=self.model_id,
        )

    def connect(
        self, assignment: Assignment, events: asyncio.Queue[Event]
    ) -> AbstractAsyncContextManager[AzureSession]:
        """Open a session. `events` receives what the hub sends. Raises CloudError."""
        return open_session(
            assignment,
            events,
            cloud=self.cloud,
            credentials=self.credentials,
            model_id=self.model_id,
        )
