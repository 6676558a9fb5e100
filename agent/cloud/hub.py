"""How one device registers, and connects to its hub."""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from agent.cloud.registration import REGISTRATION_DEADLINE, register
from agent.cloud.sdk import CloudAccess
from agent.cloud.session import AzureSession, Event, open_session
from agent.storage.assignment import Assignment


class AzureHub(CloudAccess):
    """The hub of one device, and the provisioning service if that assigns it."""

    async def register(
        self,
        id_scope: str | None,
        *,
        known: bool = False,
        deadline: float = REGISTRATION_DEADLINE,
    ) -> Assignment:
        """Return the configured hub, or ask the provisioning service for it in an ID scope.

        `known` is true if it has assigned one in this ID scope before. Raises CloudError.
        """
        if self.cloud.hub is not None:
            return Assignment(self.cloud.hub, self.device_id)
        there = replace(self, cloud=replace(self.cloud, id_scope=id_scope))
        return await register(there, known=known, deadline=deadline)

    def connect(
        self, assignment: Assignment, events: asyncio.Queue[Event]
    ) -> AbstractAsyncContextManager[AzureSession]:
        """Open a session. `events` receives what the hub sends. Raises CloudError."""
        return open_session(self, assignment, events)
