"""The operator's command rundiagnostics in a running daemon."""

import os
import shutil

import pytest
from centrals import running_central
from daemons import Daemon, until

from agent.device.commands import MAX_DIAGNOSTICS
from central.storage import devices, telemetry


@pytest.fixture
def central(tmp_path):
    with running_central(tmp_path / "central") as central:
        yield central


@pytest.fixture
def daemon(central, tmp_path):
    key = tmp_path / "pi" / "key"
    key.parent.mkdir()
    shutil.copy(central.info["group_key_file"], key)
    with Daemon(tmp_path / "pi", central, group_key_file=str(key)) as daemon:
        yield daemon.until_connected()


def call(central, name, payload=None):
    return central.call(lambda central: central.hub.call("pi-1", name, payload))


def result(central):
    reported = central.read(devices.get_twin, "pi-1").reported
    return reported.get("rundiagnostics", {}).get("value")


def test_a_hanging_check_blocks_nothing_else(central, daemon):
    key = daemon.home / "key"
    key.unlink()
    os.mkfifo(key, 0o600)  # Reading it blocks until somebody writes, as with a hanging disk.
    assert call(central, "rundiagnostics").status == 202
    assert call(central, "rundiagnostics").status == 409
    assert call(central, "turnon").status == 200
    assert daemon.status()["led"]["state"] == "on"
    newest = central.read(telemetry.messages, "pi-1", limit=1)[0]
    until(lambda: central.read(telemetry.messages, "pi-1", limit=1)[0] != newest)
    assert result(central) is None
    said = until(lambda: result(central), what=daemon.tail)
    assert "failed: secrets: The check did not end" in said
    assert len(said.encode()) <= MAX_DIAGNOSTICS
