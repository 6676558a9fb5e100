"""A machine as a Raspberry Pi of somebody called anna, with a local IoT Central on it."""

import base64
import json
import secrets
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from containers import Machine

SERIAL = "10000000c0ffee42"
DEVICE = "pi-c0ffee42"
OWN_KEY = "/etc/sensor-agent/credentials/device.key"
GROUP_KEY = "/home/anna/group.key"
CONFIG = "/etc/sensor-agent/config.toml"
STATE = "/var/lib/sensor-agent"
# apt may install what is recommended too, as it does by itself.
APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y")
PATIENCE = 150.0  # Seconds that anything may take; never how long it takes.

CENTRAL_UNIT = """\
[Service]
ExecStart=/usr/bin/python3 -m agent central --data /var/lib/central --http-port 8080
Environment=PYTHONPATH=/opt/central HOME=/root
"""

REST = """
import json, sys, urllib.request, urllib.error
method, path = sys.argv[1:]
request = urllib.request.Request(
    "http://127.0.0.1:8080" + path, method=method, data=sys.stdin.buffer.read() or None,
    headers={"Content-Type": "application/json"})
try:
    with urllib.request.urlopen(request, timeout=40) as answer:
        status, body = answer.status, answer.read()
except urllib.error.HTTPError as error:
    status, body = error.code, error.read()
print(json.dumps({"status": status, "body": json.loads(body or b"null")}))
"""


class Pi(Machine):
    """A machine with what the tests of the service ask of it."""

    central: dict[str, Any]  # The content of central.json.
    deb: Path  # The package sensor-agent.
    neighbour: Machine | None = None  # The machine that central runs on, if not on this one.

    def install(self, *options, check=True, key=True, board=("--fake-hw",)):
        """Install the package if it is not there, and have anna set up the service."""
        if not self.path("/usr/bin/sensor-agent").exists():
            shutil.copy(self.deb, self.path("/root/sensor-agent.deb"))
            self.run(*APT, "install", "/root/sensor-agent.deb")
        arguments = [
            *("--id-scope", self.central["id_scope"]),
            *(("--group-key-file", GROUP_KEY) if key else ()),
            *("--provisioning-host", "127.0.0.1", "--ca-file", "/var/lib/central/ca.pem"),
            *(*board, *options),
        ]
        return self.anna(f"sudo sensor-agent setup {' '.join(arguments)}", check=check)

    def purge(self):
        return self.run("dpkg", "--purge", "sensor-agent")

    def anna(self, line, **options):
        """Have anna type a line after she has logged in."""
        return self.run("runuser", "--login", "anna", "--command", line, **options)

    def ask(self, *arguments):
        """Return what a command of sensor-agent's tells anna in JSON."""
        return json.loads(self.anna(f"sensor-agent {' '.join(arguments)} --json").stdout)

    def status(self):
        return self.ask("status")

    def rest(self, method, path, body=None, *, status=None):
        """Ask central, and return the answer's body."""
        done = (self.neighbour or self).run(
            *("python3", "-c", REST, method, path), input="" if body is None else json.dumps(body)
        )
        answer = json.loads(done.stdout)
        assert status is None or answer["status"] == status, answer
        return answer["body"]

    def command(self, name, request=None):
        body = {"responseTimeout": 30} if request is None else {"request": request}
        return self.rest("POST", f"/api/devices/{DEVICE}/commands/{name}", body, status=201)

    def properties(self):
        return self.rest("GET", f"/api/devices/{DEVICE}/properties", status=200)

    def messages(self):
        """Return all that central has of the device, oldest first, as message ids."""
        found: list[dict[str, Any]] = []
        before = 1 << 53
        while True:
            page = self.rest(
                "GET",
                f"/console/api/devices/{DEVICE}/messages?limit=500&before={before}",
                status=200,
            )["value"]
            if not page:
                return found[::-1]
            found += page
            before = page[-1]["number"]

    def new_messages(self, count=1):
        """Wait until so many more have arrived, and return them, oldest first."""
        last = max((message["number"] for message in self.messages()), default=0)

        def newer():
            found = [message for message in self.messages() if message["number"] > last]
            return found if len(found) >= count else None

        return until(newer)

    def show(self, *properties):
        """Return properties of the unit, as systemctl shows them."""
        lines = self.out("systemctl", "show", "sensor-agent", "--property", ",".join(properties))
        return dict(line.split("=", 1) for line in lines.splitlines())

    def journal(self, *arguments):
        """Return the unit's journal, an object a record."""
        lines = self.out(
            "journalctl", "--unit", "sensor-agent", "--output", "json", *arguments
        ).splitlines()
        return [json.loads(line) for line in lines]

    def restart(self):
        self.run("systemctl", "reset-failed", "sensor-agent", check=False)
        self.run("systemctl", "restart", "sensor-agent")

    @contextmanager
    def added(self, text, name="test"):
        """Add to the unit while the block lasts; the service is restarted with it, and without."""
        place = self.path(f"/etc/systemd/system/sensor-agent.service.d/{name}.conf")
        place.write_text(text)
        self.run("systemctl", "daemon-reload")
        try:
            yield
        finally:
            place.unlink()
            self.run("systemctl", "daemon-reload")
            self.restart()

    def until_connected(self):
        until(lambda: self.status()["cloud"]["hub"])

    def snapshot(self):
        """Return every file with what tells whether it changed, but not those that always do."""
        listed = self.out(
            *("find", "/", "-xdev", "("),
            *" -o ".join(f"-path {place}" for place in CHANGING).split(),
            *(")", "-prune", "-o", "-type", "d", "-printf", r"%p %y %m %u:%g\n"),
            *("-o", "-printf", r"%p %y %m %u:%g %s %l\n"),
        )
        return set(listed.splitlines())


CHANGING = (
    *("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/cache"),  # noqa: S108 - left out
    *("/var/lib/apt", "/var/lib/dpkg", "/var/lib/central", "/var/lib/systemd"),
    *("/etc/.pwd.lock", "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-"),
    *("/etc/subuid-", "/etc/subgid-"),
)


def until(condition, *, what=lambda: "it did not come true", patience=PATIENCE):
    """Wait until `condition()` holds, and return it; fail with what `what()` says if never."""
    end = time.monotonic() + patience
    while not (result := condition()):
        assert time.monotonic() < end, what()
        time.sleep(0.2)
    return result


def run_of(message):
    """Return the run of the daemon that took a message's reading: the first part of its id."""
    return message["system"]["message_id"].partition(":")[0]


def previous_of(messages):
    """Return the ids that messages name as the last one of the run before."""
    return {m["properties"]["previous"] for m in messages if "previous" in m["properties"]}


def a_secret():
    """Return a key as the service makes them, and no two alike."""
    return base64.b64encode(secrets.token_bytes(32)).decode()
