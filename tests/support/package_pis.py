"""A Raspberry Pi that gets the program from packages, and reports to central on its neighbour."""

import base64
import hmac
import json
import shutil
from pathlib import Path

from containers import Machine
from pis import CONFIG, DEVICE, OWN_KEY, Pi

CENTRAL_DATA = "/var/lib/sensor-agent-central"
CENTRAL_ADDRESS, OUR_ADDRESS = "10.77.0.1", "10.77.0.2"
APT = (
    *("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "--no-install-recommends"),
    "--allow-downgrades",
)
CONFIGURATION = """\
[device]
id = "{device}"

[cloud]
id_scope = "{id_scope}"
key_file = "device.key"
provisioning_host = "{host}"
ca_file = "/etc/sensor-agent/ca.pem"

[sensor]
driver = "fake"
interval = 0.5

[led]
driver = "fake"
"""


class PackagePi(Pi):
    """A machine that gets the program from packages, and reports to central on its neighbour."""

    neighbour: Machine
    debs: dict[str, Path]

    def apt(self, *arguments):
        """Run apt-get, and return what it prints."""
        done = self.run(*APT, *arguments)
        return done.stdout + done.stderr

    def install_package(self, deb=None):
        """Install a package file: by default, the daemon's of this checkout."""
        return install_package(self, deb or self.debs["sensor-agent"])

    def ask(self, *arguments):
        return json.loads(self.out("sensor-agent", *arguments, "--json"))

    def configure(self):
        """Write what `sensor-agent setup` writes."""
        group_key = base64.b64decode(self.neighbour.path(f"{CENTRAL_DATA}/group-key").read_text())
        key = base64.b64encode(hmac.digest(group_key, DEVICE.encode(), "sha256")).decode()
        config = CONFIGURATION.format(
            device=DEVICE, id_scope=self.central["id_scope"], host=CENTRAL_ADDRESS
        )
        authority = self.neighbour.path(f"{CENTRAL_DATA}/ca.pem").read_text()
        self.run("install", "-d", "-m", "750", "-g", "sensor-agent", "/etc/sensor-agent")
        self.run("install", "-d", "-m", "700", "/etc/sensor-agent/credentials")
        self.put(CONFIG, config, mode="640", group="sensor-agent")
        self.put(OWN_KEY, key, mode="600")
        self.put("/etc/sensor-agent/ca.pem", authority, mode="644")

    def put(self, path, text, *, mode, group="root"):
        """Write a file on the machine."""
        self.run("install", "-D", "-m", mode, "-g", group, "/dev/stdin", path, input=text)

    def is_active(self):
        return self.show("ActiveState")["ActiveState"] == "active"


def install_package(machine, *files):
    """Copy package files to a machine, and have apt install them."""
    for file in files:
        shutil.copy(file, machine.path("/root"))
    done = machine.run(*APT, "install", *(f"/root/{file.name}" for file in files))
    return done.stdout + done.stderr
