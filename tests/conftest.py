"""What all tests share."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A slow machine is no fault of the code: how long an example takes is nobody's business.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


@pytest.fixture
def ordinary_place():
    """A directory that an ordinary user can reach and write to, whoever runs the tests."""
    place = Path(tempfile.mkdtemp(prefix="sensor-agent-", dir="/tmp"))
    place.chmod(0o777)
    yield place
    shutil.rmtree(place)
