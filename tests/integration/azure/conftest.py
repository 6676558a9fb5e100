"""The service that the tests of this directory talk to: central, or Azure's own where asked.

`make test-azure` asks for Azure's. Its credentials are in the environment, keys as files.
"""

import os
import uuid

import pytest
from centrals import running_central
from daemons import Daemon
from rest import Service, from_environment, whole_model

from agent.device.model import CELSIUS


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    if os.environ.get("TEST_AZURE"):
        yield from_environment()
        return
    with running_central(tmp_path_factory.mktemp("central")) as central:
        yield Service(central.info["http"].rstrip("/"), None, central.info, is_azure=False)


@pytest.fixture(scope="module")
def template(service):
    """The model, imported if it is not there yet."""
    path = f"deviceTemplates/{CELSIUS}"
    if service.status("GET", path) == 404:
        service.call(
            "PUT",
            path,
            {
                "@type": ["ModelDefinition", "DeviceModel"],
                "displayName": "sensor-agent",
                "capabilityModel": whole_model(),
            },
        )
    return CELSIUS


@pytest.fixture(scope="module")
def device(service, template, tmp_path_factory):
    """The id of a device that has just come into being: a daemon with a made-up board."""
    device_id = f"test-{uuid.uuid4().hex[:8]}"
    daemon = Daemon(
        tmp_path_factory.mktemp("pi"),
        service,
        device_id=device_id,
        interval=5 if service.is_azure else 1,
        max_rate=10,
        **({"keep_alive": 60} if service.is_azure else {}),
    )
    try:
        with daemon:
            daemon.until_connected()
            yield device_id
    finally:
        service.call("DELETE", f"devices/{device_id}", expect=204)
