"""A central, and the access of one device to it with the real SDK."""

import asyncio
from pathlib import Path

from agent.cloud.hub import AzureHub
from agent.cloud.registration import register
from agent.cloud.sdk import CloudAccess
from agent.cloud.session import Event, open_session
from agent.config.credentials import Credentials, derive_device_key
from agent.config.loader import CloudConfig
from agent.device.model import CELSIUS


class Cloud:
    """A central, and the access of one device to it."""

    def __init__(self, central, *, keep_alive=4):
        self.central = central
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        info = central.info
        self.config = CloudConfig(
            id_scope=info["id_scope"],
            provisioning_host=info["mqtt_host"],
            group_key_file=Path(info["group_key_file"]),
            ca_file=Path(info["ca_file"]),
            keep_alive=keep_alive,
        )
        self.ca = Path(info["ca_file"]).read_text()
        self.group_key = Path(info["group_key_file"]).read_text().strip()
        self.credentials = self.sign_in(derive_device_key(self.group_key, "pi-1"))

    def sign_in(self, key):
        return Credentials(key=key, ca=self.ca)

    def access(self, credentials):
        return CloudAccess(
            cloud=self.config,
            credentials=credentials or self.credentials,
            device_id="pi-1",
            model_id=CELSIUS,
        )

    @property
    def hub(self):
        """The hub as the uplink uses it."""
        return AzureHub(
            cloud=self.config, credentials=self.credentials, device_id="pi-1", model_id=CELSIUS
        )

    async def register(self, *, credentials=None, **deadline):
        return await register(self.access(credentials), **deadline)

    def session(self, assignment, *, credentials=None):
        return open_session(self.access(credentials), assignment, self.events)

    async def ask(self, work):
        """Run `work(central)` on central's loop without blocking this one."""
        return await asyncio.to_thread(self.central.call, work)
