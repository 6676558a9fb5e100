"""`sensor-agent central backup` and `restore`, with a central that runs."""

import stat
import subprocess

import pytest
from centrals import CentralProcess
from daemons import AGENT
from mqtt_client import MqttClient, Registering, telemetry_of
from places import ROOT


def run(*arguments):
    command = [*AGENT, "central", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def running(tmp_path):
    with CentralProcess(tmp_path / "data") as central:
        yield central.start()


def send(central, device, numbers):
    with MqttClient(central) as client:
        assert client.connect_as(central, device)[1] == 0
        for number in numbers:
            client.publish(telemetry_of(device), b'{"temp": 5}', packet_id=number)
            client.receive(4)


def register(central, device):
    with Registering(central, device) as client:
        assert client.register()["status"] == "assigned"


def test_a_backup_of_a_running_central_brings_back_its_devices(running, tmp_path):
    file = tmp_path / "backup"
    register(running, "kept")
    send(running, "kept", range(1, 20))
    saved = run("backup", file, "--data", tmp_path / "data")
    assert (saved.returncode, saved.stderr) == (0, "")
    assert str(file) in saved.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    register(running, "later")
    scope, authority = running.info["id_scope"], running.ca

    refused = run("--data", tmp_path / "data", "restore", file)
    assert refused.returncode == 1
    assert "Another central is using" in refused.stderr

    assert running.stop() == 0
    restored = run("--data", tmp_path / "data", "restore", file)
    assert (restored.returncode, restored.stderr) == (0, "")
    assert "before-restore" in restored.stdout
    running.start()
    assert (running.info["id_scope"], running.ca) == (scope, authority)
    send(running, "kept", range(20, 30))
    with MqttClient(running) as client:
        assert client.connect_as(running, "later")[1] == 5


@pytest.mark.parametrize("content", [b"", b"not a backup", b"x" * 20_000])
def test_a_foreign_file_is_refused_in_a_sentence(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    refused = run("restore", tmp_path / "file", "--data", tmp_path / "data")
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert str(tmp_path / "file") in refused.stderr
