"""A Raspberry Pi that gets the program from packages, and reports to central on its neighbour."""

import json
import shutil
from pathlib import Path

from containers import Machine
from pis import CONFIG, DEVICE, Pi

CENTRAL_DATA = "/var/lib/sensor-agent-central"
CENTRAL_ADDRESS, OUR_ADDRESS = "10.77.0.1", "10.77.0.2"
APT = (
    *("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "--no-install-recommends"),
    "--allow-downgrades",
)


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
        """Set up the service for central on the neighbour, reading its simulated sensor often."""
        for name in ("group-key", "ca.pem"):
            content = self.neighbour.path(f"{CENTRAL_DATA}/{name}").read_text()
            self.put(f"/root/{name}", content, mode="600")
        self.run("rm", "-f", CONFIG)  # Setup would keep it.
        done = self.run(
            *("sensor-agent", "setup", "--fake-hw", "--device-id", DEVICE),
            *("--id-scope", self.central["id_scope"], "--provisioning-host", CENTRAL_ADDRESS),
            *("--group-key-file", "/root/group-key", "--ca-file", "/root/ca.pem"),
        )
        self.run("sed", "-i", "s/^\\[sensor\\]/&\\ninterval = 0.5/", CONFIG)
        self.restart()
        return done.stdout

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
