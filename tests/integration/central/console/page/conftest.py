"""A central for each test of the page. One event loop for a whole file, because of its browser."""

import pytest
import pytest_asyncio
from addresses import own_address
from consoles import INFORMATION, MODEL

from central.application import Settings
from central.console.run import open_central


@pytest.fixture
def settings(tmp_path):
    return Settings(
        tmp_path / "central", listen=own_address(), http_port=0, templates=(MODEL, INFORMATION)
    )


@pytest_asyncio.fixture(loop_scope="module")
async def central(settings):
    async with open_central(settings) as central:
        first = settings.templates[0]["@id"]
        central.registry.add_device("pi-1", display_name="Kitchen", template=first)
        yield central
