"""The two programs that are compared, each a process of its own, and what the kernel says of it."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from agent.daemon.control_socket import SOCKET_NAME, ask
from agent.errors import NoDaemonError
from agent.readings.clock import Stamp
from agent.readings.disk import Directory
from agent.readings.outbox import OUTBOX_NAME
from agent.readings.segment_files import Entry, Position, SegmentFiles
from agent.storage.machine_id import board_id
from hw import Reading

PLAIN = Path(__file__).with_name("plain.py")
SELDOM = 86400  # Seconds between two readings, where only the first one matters.


@dataclass(frozen=True)
class Usage:
    """Of one process, until now: CPU seconds of user and system, bytes of memory, threads."""

    cpu: float
    rss: int
    private: int
    threads: int


class Program:
    """A process with a directory of its own; it is ended with the `with` block."""

    def __init__(self, name, home, command, *, under=()):
        self.name = name
        self.home = home
        self.began = 0.0
        self._command = [*under, sys.executable, *command]
        self._process: subprocess.Popen[bytes]  # Inside the `with` block.
        self._log = home / "log"

    def __enter__(self):
        places = {"STATE_DIRECTORY": self.home / "state", "RUNTIME_DIRECTORY": self.home / "run"}
        with self._log.open("ab") as log:
            self.began = time.monotonic()
            self._process = subprocess.Popen(
                [str(part) for part in self._command],
                env=os.environ | {name: str(path) for name, path in places.items()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *exception):
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self):
        return self._process.pid

    def ended(self):
        return self._process.poll() is not None

    def log(self):
        return self._log.read_text()[-3000:]

    def status(self):
        """Ask the daemon."""
        return ask(self.home / "run" / SOCKET_NAME, {"command": "status"})["status"]

    def answers(self):
        """Return whether the daemon answers."""
        try:
            self.status()
        except NoDaemonError:
            return False
        return True

    def usage(self):
        """Return the Usage; None where there is no /proc."""
        process = Path("/proc", str(self._process.pid))
        if not process.is_dir():
            return None
        # After the name, which may hold anything, stand the fields from the third on: proc(5).
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        rss = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        return Usage(cpu, rss, private_memory(self._process.pid), int(fields[17]))


def private_memory(process):
    """Return the bytes of a process (id or "self") that no other one shares: proc_pid_smaps(5)."""
    lines = Path("/proc", str(process), "smaps_rollup").read_text().splitlines()
    private = (line.split()[1] for line in lines if line.startswith("Private_"))
    return sum(int(kilobytes) * 1024 for kilobytes in private)


def daemon(home, hub, device_id, *, interval=SELDOM, under=(), **options):
    """Return the daemon with a fake sensor; everything not named here is as it comes.

    `under` is a command that runs it, such as valgrind; `options` are keys of [cloud].
    """
    home.mkdir(parents=True, exist_ok=True)
    cloud = {
        "id_scope": hub.info["id_scope"],
        "provisioning_host": hub.info["mqtt_host"],
        "group_key_file": hub.info["group_key_file"],
        "ca_file": hub.info["ca_file"],
    }
    cloud |= options
    config = home / "config.toml"
    config.write_text(
        f'[device]\nid = "{device_id}"\n[cloud]\n'
        + "\n".join(f"{name} = {json.dumps(value)}" for name, value in cloud.items())
        + f'\n[sensor]\ndriver = "fake"\ninterval = {interval}\n[led]\ndriver = "fake"\n'
    )
    command = ["-m", "agent", "run", "--config", config]
    return Program("sensor-agent", home, command, under=under)


def plain(home, hub, device_id, *, count, in_flight=1, interval=0.0, under=()):
    """Return the plain program, which sends `count` readings and stays."""
    home.mkdir(parents=True, exist_ok=True)
    key = home / "key"
    key.write_text(hub.key(device_id))
    info = hub.info
    arguments = [info["mqtt_host"], info["id_scope"], device_id, key, info["ca_file"]]
    arguments += ["--count", count, "--in-flight", in_flight, "--interval", interval]
    return Program("The plain program", home, [PLAIN, *arguments], under=under)


def fill_outbox(home, count):
    """Leave `count` readings of an earlier boot in a daemon's outbox, one a minute until now."""
    run, boot = token_hex(6), str(uuid.uuid4())
    state = home / "state"
    disk = Directory(
        state / OUTBOX_NAME, before_create=lambda: state.mkdir(parents=True, exist_ok=True)
    )
    files = SegmentFiles(disk, run=run, boot=boot, board=board_id(), max_bytes=64_000_000)
    files.load()
    numbers, began = range(1, count + 1), time.time() - count * 60.0
    for first in numbers[::1000]:
        files.save([_reading(run, boot, number, began) for number in numbers[first - 1 :][:1000]])
    files.close()


def _reading(run, boot, number, began):
    taken = Stamp(began + number * 60.0, number * 60.0, boot, synchronised=True)
    return Entry(Position(0, run, number), Reading(20.0 + number % 10 / 10, 45.0), taken)
