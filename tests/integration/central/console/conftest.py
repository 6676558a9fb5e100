"""A console of its own for each test, over HTTP."""

import contextlib

import aiohttp
import pytest
from addresses import own_address
from consoles import INFORMATION, MODEL, climate_device

from central.application import Settings
from central.console.run import open_central
from central.errors import DeviceExists


@pytest.fixture
def settings(tmp_path):
    return Settings(
        tmp_path / "central",
        listen=own_address(),
        http_port=0,
        templates=(MODEL, INFORMATION),
        room_socket=tmp_path / "room.sock",
    )


@pytest.fixture
async def central(settings):
    async with open_central(settings) as central:
        yield central


@pytest.fixture
async def http(central):
    async with aiohttp.ClientSession(central.http) as session:
        yield session


@pytest.fixture
async def device(central):
    """The connected device pi-1."""
    with contextlib.suppress(DeviceExists):
        central.registry.add_device("pi-1")
    async with climate_device(central) as device:
        yield device
