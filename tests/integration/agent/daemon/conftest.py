"""All tests share one central. Each has a device of its own there."""

from zlib import crc32

import pytest
from hub_view import Hub


@pytest.fixture
def device_id(request):
    return f"pi-{crc32(request.node.nodeid.encode())}"


@pytest.fixture
def hub(central, device_id):
    return Hub(central, device_id)
