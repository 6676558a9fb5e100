"""The wheel and the source distribution, built from a clean checkout."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import PurePosixPath
from urllib.request import urlopen

import pytest
from centrals import CentralProcess
from checkout import copy_project, project_files
from daemons import PATIENCE, Daemon, agent, until

from agent import __version__

FOLDERS = {"agent", "hw", "central"}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Build both, and return their directory."""
    place = tmp_path_factory.mktemp("distributions")
    copy_project(place / "checkout")
    built = agent(
        place / "dist",
        program=[sys.executable, place / "checkout" / "deploy" / "distributions.py"],
        cwd=place,
    )
    assert built.returncode == 0, built.stderr
    return place / "dist"


def name_of(kind):
    return f"sensor_agent-{__version__}{kind}"


def test_the_source_distribution_has_every_file_of_the_checkout(distributions):
    top = PurePosixPath(name_of(""))
    with tarfile.open(distributions / name_of(".tar.gz")) as archive:
        files = {
            PurePosixPath(one.name).relative_to(top).as_posix()
            for one in archive
            if not one.isdir()
        }
    made = {name for name in files if name.startswith("sensor_agent.egg-info/")} | {"PKG-INFO"}
    # An unpacked source distribution has PKG-INFO, too.
    assert files - made == {path.as_posix() for path in project_files()} - {"PKG-INFO"}


def test_the_wheel_has_the_packages_and_nothing_else(distributions):
    with zipfile.ZipFile(distributions / name_of("-py3-none-any.whl")) as archive:
        files = set(archive.namelist())
    metadata = {name for name in files if name.startswith(f"{name_of('.dist-info')}/")}
    assert files - metadata == {p.as_posix() for p in project_files() if p.parts[0] in FOLDERS}
    assert {"agent/py.typed", "hw/py.typed", "central/py.typed"} <= files
    assert "central/console/page/index.html" in files
    assert "agent/device/dtmi/sensoragent/environmentalsensor-2.json" in files
    assert {PurePosixPath(name).name for name in metadata} >= {"METADATA", "LICENSE"}


def test_the_description_shows_its_pictures_anywhere(distributions):
    with zipfile.ZipFile(distributions / name_of("-py3-none-any.whl")) as archive:
        description = archive.read(f"{name_of('.dist-info')}/METADATA").decode()
    pictures = [line for line in description.splitlines() if line.startswith("![")]
    assert pictures
    assert all("](https://" in line for line in pictures)


@pytest.fixture
def installed(distributions, tmp_path, monkeypatch):
    """Install the wheel in a fresh environment, and return the command.

    Its dependencies are those of this environment: nothing is fetched.
    """
    venv = tmp_path / "venv"
    wheel = distributions / name_of("-py3-none-any.whl")
    for command in (
        ("venv", "--without-pip", venv),
        ("pip", "--python", venv / "bin" / "python", "install", "--no-index", "--no-deps", wheel),
    ):
        subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
    # Entries of PYTHONPATH have no .pth files, so the editable installation is not found there.
    monkeypatch.setenv("PYTHONPATH", sysconfig.get_path("purelib"))
    monkeypatch.chdir(tmp_path)
    where = subprocess.run(
        [venv / "bin" / "python", "-c", "import agent, hw, central; print(agent.__file__)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(f"{venv}{os.sep}")
    return venv / "bin" / "sensor-agent"


class InstalledDaemon(Daemon):
    """The daemon of the wheel."""

    def __init__(self, command, home, central):
        super().__init__(home, central)
        self.command = command

    def program(self):
        return [self.command]


def test_the_installed_daemon_reports_to_the_installed_central(installed, tmp_path):
    printed = agent("--version", program=[installed])
    assert printed.stdout == f"sensor-agent {__version__}\n"
    with (
        CentralProcess(tmp_path / "central", program=[installed]).start() as central,
        InstalledDaemon(installed, tmp_path / "pi", central) as daemon,
    ):
        daemon.until_connected()
        until(lambda: daemon.status()["outbox"]["waiting"] == 0, what=daemon.tail)
        with urlopen(central.info["http"], timeout=PATIENCE) as page:
            assert b"<html" in page.read()
        url = f"{central.info['http']}api/devices/pi-1/telemetry/temp"
        with urlopen(url, timeout=PATIENCE) as answer:
            assert b'"value"' in answer.read()
        assert daemon.stop() == 0
