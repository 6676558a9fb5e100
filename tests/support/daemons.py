"""The daemon as a process of its own, as systemd or a person would start it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from places import SUPPORT
from ways import PROVISIONING, cloud_keys

from agent.daemon.control_socket import SOCKET_NAME, ask
from agent.errors import NoDaemonError

PATIENCE = 30.0  # Seconds that anything may take here before a test fails; never how long it takes.
STOPPED_WITHIN = 5.0  # Seconds: the promise to systemd and to whoever pressed Ctrl-C.


AGENT = [sys.executable, "-m", "agent"]


def agent(*arguments, program=AGENT, **options):
    """Run `sensor-agent ARGUMENTS` to its end, and return what subprocess.run does."""
    usual: dict[str, Any] = {"stdin": subprocess.DEVNULL, "text": True, "timeout": 120}
    usual |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run([*program, *arguments], check=False, **usual | options)


def places(home):
    """Return an environment with the state and the control socket of a daemon in `home`."""
    return os.environ | {
        "STATE_DIRECTORY": str(home / "state"),
        "RUNTIME_DIRECTORY": str(home / "run"),
    }


class Daemon:
    """`sensor-agent run` with fake hardware in a directory of its own, pointed at a central.

    `central` is anything with `info`, as in central.json, if `way` is the provisioning service.
    """

    def __init__(
        self,
        home: Path,
        central: Any,
        way=PROVISIONING,
        *,
        device_id="pi-1",
        interval=0.1,
        **cloud,
    ):
        self.home = home
        self.socket = home / "run" / SOCKET_NAME
        self.log_path = home / "daemon.log"
        self.process: subprocess.Popen[bytes]  # Since start().
        home.mkdir(parents=True, exist_ok=True)
        keys = cloud_keys(central, way, home, device_id=device_id)
        keys |= {"ca_file": central.info["ca_file"], "keep_alive": 4, "max_rate": 100} | cloud
        lines = [f"{name} = {json.dumps(value)}" for name, value in keys.items() if value]
        (home / "config.toml").write_text(
            f'[device]\nid = "{device_id}"\n[cloud]\n'
            + "\n".join(lines)
            + f'\n[sensor]\ndriver = "fake"\ninterval = {interval}\n'
            '[led]\ndriver = "fake"\n[log]\nlevel = "debug"\n'
        )

    def program(self):
        return AGENT

    def start(self):
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.program(), "run", "--config", self.home / "config.toml"],
                env=places(self.home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)

    @property
    def log(self):
        return self.log_path.read_text()

    def ask(self, **request):
        return ask(self.socket, request)

    def status(self):
        return self.ask(command="status")["status"]

    def kill(self):
        """Do to it what a power cut does."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self, *, timeout=STOPPED_WITHIN + 2.0):
        """Ask it to stop; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def until_connected(self):
        until(self._connected, what=self.tail)
        return self

    def status_if_any(self):
        """Return its status; None where no daemon answers: not yet, or what a killed one left."""
        try:
            return self.status()
        except NoDaemonError:
            return None

    def _connected(self):
        status = self.status_if_any()
        return status and status["cloud"]["hub"]

    def tail(self):
        return self.log[-3000:]


class ImpatientDaemon(Daemon):
    """The daemon with shorter deadlines of its connection."""

    def program(self):
        return [sys.executable, SUPPORT / "impatience.py"]


def until(condition, *, what=lambda: "It did not come true.", patience=PATIENCE) -> Any:
    """Wait until `condition()` holds; fail with what `what()` says if it never does."""
    end = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, what()
        time.sleep(0.02)
