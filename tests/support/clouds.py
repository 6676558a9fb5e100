"""A central, and the access of one device to it with the real SDK."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from agent.cloud.hub import AzureHub
from agent.cloud.session import Event, open_session
from agent.config.credentials import Credentials, sign_in
from agent.config.loader import load
from agent.device.model import CELSIUS
from central.errors import UnknownDevice
from central.storage import devices
from central.transport.certificates import issue_device_certificate

PROVISIONING, CONNECTION_STRING, CERTIFICATE = "provisioning", "connection string", "X.509"

every_way = pytest.mark.parametrize(
    "way", [PROVISIONING, CONNECTION_STRING, CERTIFICATE], indirect=True
)
"""Runs a test for each way to a hub. The fixture `way` of its file returns `way_of(request)`."""


def way_of(request):
    """Return the way in that `every_way` asks for; without it, the provisioning service."""
    return getattr(request, "param", PROVISIONING)


def configure(central, way, home, *, device_id="pi-1"):
    """Make the files of a way in, and return its keys of [cloud]. The hub knows the device then."""
    info = central.info
    if way == PROVISIONING:
        return {
            "id_scope": info["id_scope"],
            "provisioning_host": info["mqtt_host"],
            "group_key_file": info["group_key_file"],
        }
    _add_device(central, device_id)
    parts = f"HostName={info['mqtt_host']};DeviceId={device_id}"
    string = home / "connection-string"
    keys = {"connection_string_file": str(string)}
    if way == CERTIFICATE:
        directory = Path(info["ca_file"]).parent
        certificate, key = issue_device_certificate(directory, device_id)
        keys |= {"x509_cert_file": str(certificate), "x509_key_file": str(key)}
        parts += ";x509=true"
    else:
        parts += f";SharedAccessKey={central.key(device_id)}"
    home.mkdir(parents=True, exist_ok=True)
    string.touch(mode=0o600)
    string.write_text(f"{parts}\n")
    return keys


def _add_device(central, device_id):
    try:
        central.read(devices.get, device_id)
    except UnknownDevice:
        central.call(lambda central: central.registry.add_device(device_id))


class Cloud:
    """A central, and the access of one device to it."""

    def __init__(self, central, home, way=PROVISIONING, *, device_id="pi-1", keep_alive=4):
        self.central = central
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        home.mkdir(exist_ok=True)
        keys = configure(central, way, home, device_id=device_id)
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

    async def register(self, *, credentials=None, **deadline):
        return await self.access(credentials).register(self.config.id_scope, **deadline)

    def session(self, assignment, *, credentials=None):
        return open_session(self.access(credentials), assignment, self.events)

    async def ask(self, work):
        """Run `work(central)` on central's loop without blocking this one."""
        return await asyncio.to_thread(self.central.call, work)
