"""A console with users for each test."""

import pytest
from signed_in import browser_session, network_settings

from central.console.run import open_central
from central.console.sign_in import passwords


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch):
    monkeypatch.setattr(passwords, "N", 2**4)


@pytest.fixture
def settings(tmp_path):
    return network_settings(tmp_path / "central")


@pytest.fixture
async def central(settings):
    async with open_central(settings) as central:
        central.registry.add_device("pi-1")
        yield central


@pytest.fixture
async def http(central):
    async with browser_session(central) as http:
        yield http
