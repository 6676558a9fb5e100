"""One machine for each of Debian's releases, with central on it, and our service to install."""

import json
import shutil
import subprocess
import sys

import debs
import pytest
from by_machine import ByMachine
from containers import MORE
from pis import CENTRAL_UNIT, CONFIG, GROUP_KEY, OWN_KEY, SERIAL, STATE, Pi, until
from wheels import own_wheel, sources, wheels


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return ByMachine(config, log)


@pytest.fixture(scope="session")
def deb(tmp_path_factory):
    return debs.built(tmp_path_factory.mktemp("debs"))["sensor-agent"]


@pytest.fixture(scope="session", params=list(MORE))
def pi(request, deb, tmp_path_factory):
    """A booted machine; central runs, the service is not there yet."""
    home = tmp_path_factory.mktemp(request.param)
    with Pi(request.param, home) as pi:
        pi.deb = deb
        _furnish(pi, home)
        yield pi


@pytest.fixture
def installed(pi):
    """The machine with the service running and connected."""
    if not pi.path(OWN_KEY).exists():  # Another way in, with a configuration that would be kept.
        pi.purge()
    if pi.show("ActiveState")["ActiveState"] != "active" or not pi.path(CONFIG).exists():
        pi.install()
    hurry(pi)
    pi.until_connected()
    return pi


@pytest.fixture
def bare(pi):
    """The machine without a trace of the service."""
    pi.purge()
    assert not pi.path(STATE).exists()
    return pi


def hurry(pi):
    """Have it read its made-up sensor twice a second, so that there is something to see."""
    config = pi.path(CONFIG)
    text = config.read_text()
    if "interval" not in text:
        config.write_text(text.replace("[sensor]\n", "[sensor]\ninterval = 0.5\n"))
        pi.restart()


def _furnish(pi, home):
    """Put there what a person would have: a board's number, and an IoT Central."""
    pi.run("useradd", "--create-home", "--shell", "/bin/sh", "anna")
    pi.path("/etc/sudoers.d/anna").write_text("anna ALL=(ALL) NOPASSWD: ALL\n")
    board = pi.path("/root/cpuinfo")
    board.write_text(f"processor\t: 0\nSerial\t\t: {SERIAL}\nModel\t\t: Raspberry Pi 4\n")
    pi.run("mount", "--bind", "/root/cpuinfo", "/proc/cpuinfo")
    _start_central(pi, home)


def _start_central(pi, home):
    version = pi.out("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    sources(home / "source")
    needed = home / "wheels"
    shutil.copytree(wheels(version, "central"), needed)
    own_wheel(home / "source", needed)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
            *("--no-index", "--find-links", needed, "--target", pi.path("/opt/central")),
            *("--python-version", version, "--only-binary=:all:", "sensor-agent[central]"),
        ],
        check=True,
        timeout=300,
    )
    pi.path("/etc/systemd/system/central.service").write_text(CENTRAL_UNIT)
    pi.run("systemctl", "start", "central")
    announced = pi.path("/var/lib/central/central.json")
    until(announced.exists, what=lambda: pi.out("journalctl", "--unit", "central"))
    pi.central = json.loads(announced.read_text())
    shutil.copy2(pi.path(pi.central["group_key_file"]), pi.path(GROUP_KEY))
    pi.run("chown", "anna:anna", GROUP_KEY)
