"""Memory, threads and open files of the daemon do not grow over many connections.

Short here; `make soak` takes 500 connections and 20,000 readings.
"""

import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from centrals import running_central
from daemons import Daemon, until
from places import SUPPORT

from central.storage import telemetry

CONNECTIONS = int(os.environ.get("FLAT_CONNECTIONS", "40"))
READINGS = int(os.environ.get("FLAT_READINGS", "2000"))
WARM_UP = 15  # Connections until all caches and pools have their final size.
GROWTH = 2000, 2  # kB, and kB for each connection, as the heap fragments. A client needs 500 kB.
POOL = 4  # Threads that the SDK's loop may still add to its bounded pool.
PROGRAM = SUPPORT / "hurried_daemon.py"

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc of Linux")


class HurriedDaemon(Daemon):
    def program(self):
        return [sys.executable, PROGRAM]


@dataclass(frozen=True)
class Held:
    """Resident memory in kB, threads and open files of a process."""

    memory: int
    threads: int
    files: int


def held(process):
    proc = Path("/proc", str(process.pid))
    status = (proc / "status").read_text()
    fields = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE))
    memory, threads = int(fields["VmRSS"]), int(fields["Threads"])
    return Held(memory, threads, len(list((proc / "fd").iterdir())))


@pytest.mark.timeout(120 + CONNECTIONS + READINGS / 20)
def test_nothing_grows_over_many_connections_and_readings(tmp_path, way):
    with (
        running_central(tmp_path / "central") as central,
        HurriedDaemon(
            tmp_path / "pi", central, way, interval=0.05, keep_alive=10, max_rate=1000
        ) as daemon,
    ):

        def arrived():
            return central.read(telemetry.messages, "pi-1", limit=1)[0].number

        def connections():
            return daemon.status()["cloud"]["connections"]

        def cut_until(count, readings):
            while (number := connections()) < count or arrived() < readings:
                central.call(lambda c: c.faults.drop_connections())
                until(lambda number=number: connections() > number, what=daemon.tail)

        def look():
            # Some threads end a moment after their connection. Wait until the numbers are stable.
            until(daemon._connected)
            time.sleep(1)
            return held(daemon.process)

        daemon.until_connected()
        until(lambda: central.read(telemetry.messages, "pi-1", limit=1))
        cut_until(WARM_UP, 100)
        before = look()
        cut_until(WARM_UP + CONNECTIONS, 100 + READINGS)
        after = look()
        made = connections()
        print(f"{made} connections, {arrived()} messages: {before}, then {after}")
        assert daemon.stop() == 0
    assert after.threads <= before.threads + POOL
    assert after.files <= before.files
    assert after.memory <= before.memory + GROWTH[0] + GROWTH[1] * made
