"""The daemon survives exhausted file descriptors, and recovers without a restart."""

import json
import os
import resource
import socket
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from centrals import running_central
from daemons import Daemon, until

from agent.errors import ControlError
from central.storage import telemetry

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux can change the limits of another process"
)

DURATION = 10.0  # Seconds without file descriptors.
OTHERS = 30  # Clients of the control socket meanwhile.


def open_files(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def numbers(central):
    """Return the numbers of the readings that arrived, by run."""
    messages = central.read(telemetry.messages, "pi-1", limit=100_000)
    found: dict[str, set[int]] = {}
    for message in messages:
        run, _, number = message.system["message_id"].rpartition(":")
        found.setdefault(run, set()).add(int(number))
    return found


def is_connected(daemon):
    try:
        return daemon.status()["cloud"]["hub"]
    except ControlError:  # The requests of the clients before are still under way.
        return False


@pytest.mark.timeout(180)
def test_exhausted_descriptors_are_survived_and_logged_once_a_minute(tmp_path, way):
    with (
        running_central(tmp_path / "central") as central,
        Daemon(tmp_path / "pi", central, way, interval=0.2) as daemon,
    ):
        daemon.until_connected()
        pid, before = daemon.process.pid, len(daemon.log.splitlines())
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files(pid), limits[1]))
        central.call(lambda central: central.faults.drop_connections())
        clients: list[socket.socket] = []
        end = time.monotonic() + DURATION
        while time.monotonic() < end:
            if len(clients) < OTHERS:
                clients.append(socket.socket(socket.AF_UNIX))
                clients[-1].connect(str(daemon.socket))
                command = "status" if len(clients) > 1 else "check"
                clients[-1].sendall(json.dumps({"command": command}).encode() + b"\n")
            time.sleep(0.1)
        assert daemon.process.poll() is None, daemon.tail()
        loud = [line for line in daemon.log.splitlines()[before:] if " DEBUG " not in line]
        assert any(os.strerror(24) in line for line in loud), loud
        sentences = Counter(line.partition(" ")[2] for line in loud)
        assert max(sentences.values()) == 1, sentences
        assert len(loud) < 10, loud
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        for client in clients:
            client.close()
        until(lambda: is_connected(daemon), what=daemon.tail, patience=90)
        accepted = daemon.status()["sensor"]["counters"]["accepted"]
        until(lambda: daemon.status()["outbox"]["waiting"] == 0, what=daemon.tail)
        assert daemon.stop() == 0
        (found,) = numbers(central).values()
        assert len(found) >= accepted
        assert found == set(range(1, max(found) + 1))
        # The SDK logs one at debug level if it cannot open the file of a certificate.
        traced = [line for line in daemon.log.splitlines() if "Traceback" in line]
        assert all(" DEBUG azure.iot.device." in line for line in traced), traced
