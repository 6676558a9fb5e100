"""For each of Debian's releases a machine for the package, and one beside it with central."""

import json
import subprocess

import build_debs
import debs
import pytest
from by_machine import ByMachine
from containers import MORE, Machine
from package_pis import (
    CENTRAL_ADDRESS,
    CENTRAL_DATA,
    OUR_ADDRESS,
    PackagePi,
    install_package,
)
from pis import CONFIG, until


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return ByMachine(config, log)


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    return debs.built(tmp_path_factory.mktemp("debs"))


@pytest.fixture(scope="session", params=list(MORE))
def pi(request, packages, tmp_path_factory):
    """A booted machine without the package, and beside it one with central."""
    suite = request.param
    homes = [tmp_path_factory.mktemp(f"{suite}-{name}") for name in ("pi", "central")]
    with PackagePi(suite, homes[0]) as pi, Machine(suite, homes[1], "central") as neighbour:
        pi.debs, pi.neighbour = packages, neighbour
        _connect(neighbour, pi)
        pi.central = _start_central(neighbour, packages)
        yield pi


@pytest.fixture
def bare(pi):
    """The machine without a trace of the package."""
    pi.run("dpkg", "--purge", "sensor-agent")
    return pi


@pytest.fixture
def installed(pi):
    """The machine with the version of this checkout, running and connected."""
    query = ("dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Version}")
    if pi.run(*query, "sensor-agent", check=False).stdout != f"installed {build_debs.version()}":
        pi.install_package()
    if not pi.path(CONFIG).exists():
        pi.configure()
    elif not pi.is_active():
        pi.restart()
    pi.until_connected()
    return pi


@pytest.fixture
def with_central(pi):
    """The machine on which central runs, with the daemon's package and no configuration."""
    machine = pi.neighbour
    yield machine
    machine.run("systemctl", "stop", "sensor-agent")
    machine.run("sh", "-c", "rm -rf /etc/sensor-agent/* /var/lib/sensor-agent")


def _connect(neighbour, pi):
    """Lay a network cable between the two machines."""
    subprocess.run(
        [
            *("ip", "link", "add", "name", "cable", "netns", neighbour.pid, "type", "veth"),
            *("peer", "name", "cable", "netns", pi.pid),
        ],
        check=True,
    )
    for machine, address in ((neighbour, CENTRAL_ADDRESS), (pi, OUR_ADDRESS)):
        machine.run("ip", "address", "add", f"{address}/24", "dev", "cable")
        machine.run("ip", "link", "set", "cable", "up")


def _start_central(neighbour, packages):
    """Install central, let it listen to the neighbour, and return what it announces."""
    addition = neighbour.path("/etc/systemd/system/sensor-agent-central.service.d/listen.conf")
    addition.parent.mkdir()
    addition.write_text(f"[Service]\nEnvironment=LISTEN={CENTRAL_ADDRESS}\n")
    install_package(neighbour, packages["sensor-agent"], packages["sensor-agent-central"])
    announced = neighbour.path(f"{CENTRAL_DATA}/central.json")
    until(announced.exists, what=lambda: neighbour.out("journalctl", "--lines", "50"))
    return json.loads(announced.read_text())
