"""Machines to set up: a directory in place of the root directory, and programs that only record."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examinations import raspberry_pi, write
from statuses import status_with

from agent.cli.setup.command import setup
from agent.cli.setup.machine import Done, Machine
from agent.cli.setup.options import Options
from agent.errors import NoDaemonError
from agent.status import Status

SECRET = "c2VjcmV0"
CONNECTION = f"HostName=contoso.azure-devices.net;DeviceId=shed_1.a;SharedAccessKey={SECRET}"
GROUP_KEY = "dGhlIGtleSBvZiBhIHdob2xlIGdyb3Vw"
BOOT = "dtparam=audio=on\n[pi4]\narm_boost=1\n"
UNIT = "usr/lib/systemd/system/sensor-agent.service"
SETTINGS = "etc/sensor-agent"
DROP_INS = "etc/systemd/system/sensor-agent.service.d"
QUESTIONS = ("systemctl is-", "id -nG", "journalctl")  # Commands that change nothing.


@dataclass
class Pi:
    """A Raspberry Pi with the package, before setup. `answers` maps commands to how they end."""

    root: Path
    answers: dict[str, Any] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    statuses: list[Status | None] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)
    is_root: bool = True
    clock: float = 0.0

    def __post_init__(self):
        raspberry_pi(self.root)
        write(self.root, "proc/device-tree/serial-number", "10000000abcd1234\0")
        write(self.root, "boot/firmware/config.txt", BOOT)
        for name in ("dev/gpiochip0", UNIT):
            write(self.root, name, "")
        for name in ("adafruit.conf", "clock.conf"):
            write(self.root, f"usr/share/sensor-agent/{name}", f"# {name}\n")
        (self.root / "run/systemd/system").mkdir(parents=True)
        self.answers = {
            "systemctl is-active sensor-agent": [Done(3, "inactive\n"), Done(0, "active\n")],
            "systemctl is-enabled sensor-agent": Done(0, "enabled\n"),
            "systemctl is-enabled systemd-timesyncd": Done(0, "enabled\n"),
            **self.answers,
        }

    def runs(self):
        """Let the service run from now on."""
        self.answers["systemctl is-active sensor-agent"] = Done(0, "active\n")

    def path(self, name):
        return self.root / name

    def text(self, name="etc/sensor-agent/config.toml"):
        return self.path(name).read_text()

    def config(self, text):
        """Write a configuration with the modes that setup gives it."""
        write(self.root, f"{SETTINGS}/config.toml", text)
        self.path(f"{SETTINGS}/config.toml").chmod(0o640)
        self.path(f"{SETTINGS}/credentials").mkdir(mode=0o700)
        self.path(SETTINGS).chmod(0o750)

    def secret(self, name, text):
        """Write a file among the credentials."""
        path = self.path(f"{SETTINGS}/credentials/{name}")
        path.write_text(f"{text}\n")
        path.chmod(0o600)

    def setup(self, **options):
        return setup(Options(**options), self.machine())

    def machine(self):
        return Machine(
            root=self.root,
            root_user=os.getuid(),
            is_root=self.is_root,
            environ={"HOME": "/nowhere", **self.environ},
            run=self._run,
            chown=lambda _descriptor, _user, _group: None,
            group_number=lambda _name: os.getgid(),
            status=self._status,
            now=lambda: self.clock,
            sleep=self._sleep,
        )

    @property
    def changes(self):
        """The commands that change something."""
        return [line for line in self.commands if not line.startswith(QUESTIONS)]

    def files(self):
        """Every file of the machine: its mode and content, by name."""
        return {
            str(path.relative_to(self.root)): (path.stat().st_mode, path.read_bytes())
            for path in self.root.rglob("*")
            if path.is_file()
        }

    def _run(self, command):
        line = " ".join(command)
        self.commands.append(line)
        answer = self.answers.get(line, Done(0))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer() if callable(answer) else answer

    def _status(self):
        if not self.statuses:
            return status_with()
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status is None:
            raise NoDaemonError("No daemon is running.")
        return status

    def _sleep(self, seconds):
        self.clock += seconds
