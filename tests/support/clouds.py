"""A central, and the access of one device to it with the real SDK."""

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor

from ways import PROVISIONING, cloud_keys

from agent.cloud.hub import AzureHub
from agent.cloud.session import Event, open_session
from agent.config.credentials import Credentials, sign_in
from agent.config.loader import load
from agent.device.model import CELSIUS


async def ask(central, work):
    """Run `work(central)` on central's loop without blocking this one."""
    # Not in the loop's default executor: the calls of the SDK need that.
    return await asyncio.get_running_loop().run_in_executor(_asking, central.call, work)


_asking = ThreadPoolExecutor(thread_name_prefix="asking-central")


class Cloud:
    """A central, and the access of one device to it."""

    def __init__(self, central, home, way=PROVISIONING, *, device_id="pi-1", keep_alive=4):
        self.central = central
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        home.mkdir(exist_ok=True)
        keys = cloud_keys(central, way, home, device_id=device_id)
        keys |= {"ca_file": central.info["ca_file"]}
        lines = [f"{name} = {json.dumps(value)}" for name, value in keys.items()]
        file = home / "config.toml"
        file.write_text(
            "\n".join([f'[device]\nid = "{device_id}"\n[cloud]\nkeep_alive = {keep_alive}', *lines])
        )
        config, credentials = sign_in(load(file), base=home, environ=os.environ)
        assert config.cloud is not None
        assert credentials is not None
        self.config, self.credentials, self.device_id = config.cloud, credentials, device_id

    def sign_in(self, key):
        """Return other credentials: this key."""
        return Credentials(key=key, ca=self.credentials.ca)

    def access(self, credentials=None):
        return AzureHub(
            cloud=self.config,
            credentials=credentials or self.credentials,
            device_id=self.device_id,
            model_id=CELSIUS,
        )

    @property
    def hub(self):
        """The hub as the uplink uses it."""
        return self.access()

    async def register(self, *, credentials=None, **options):
        return await self.access(credentials).register(self.config.id_scope, **options)

    def session(self, assignment, *, credentials=None):
        return open_session(self.access(credentials), assignment, self.events)

    async def ask(self, work):
        """Run `work(central)` on central's loop without blocking this one."""
        return await ask(self.central, work)
