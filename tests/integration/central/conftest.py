"""Devices that speak raw MQTT, and a browser."""

import itertools

import pytest
import pytest_asyncio
from browsers import running_browser, watched_page
from mqtt_client import MqttClient

ids = itertools.count(1)


@pytest.fixture
def device(central):
    """The id of a device that only this test uses."""
    device_id = f"device-{next(ids)}"
    central.call(lambda c: c.registry.add_device(device_id))
    return device_id


@pytest.fixture
def connect(central, device):
    """Connect as the device. The connections are closed at the end."""
    clients = []

    def connect(*filters, **options):
        client = MqttClient(central)
        clients.append(client)
        assert client.connect_as(central, device, **options)[1] == 0
        if filters:
            assert client.subscribe(*filters) == [1] * len(filters)
        return client

    yield connect
    for client in clients:
        client.close()


# One loop and one browser for a whole file: starting a browser takes a while.


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser():
    async with running_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser, central):
    """A page of the test's own central, which the file defines as a fixture."""
    async with watched_page(browser, central) as page:
        yield page
