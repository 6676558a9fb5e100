"""A central with the device pi-1."""

import pytest


@pytest.fixture
async def central(central):
    central.registry.add_device("pi-1")
    return central
