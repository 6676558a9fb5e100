"""Upgrades that do not complete: the version before runs, also after a restart of the machine."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import build_debs
import debs
import pytest
import vendored
from containers import ENVIRONMENT, MORE
from debs import CANNOT_START, with_program
from package_pis import PackagePi, install_package
from pis import CONFIG, STATE, until
from places import ROOT
from wheels import sources

TREE = "/usr/lib/sensor-agent"
COPY = "/usr/lib/sensor-agent.previous"
TRIAL = "/run/sensor-agent.trial"
UNIT = "/usr/lib/systemd/system/sensor-agent.service"
LOCAL_UNIT = "/etc/systemd/system/sensor-agent.service"
NEVER_READY = "import time\ntime.sleep(1000)\n"
CONFIGURATION = "[sensor]\ndriver = 'fake'\ninterval = 0.5\n[led]\ndriver = 'fake'\n"
RUNS_AGAIN = "did not start, so the previous version runs again. The reason: sudo journalctl -u"


@pytest.fixture(scope="module", params=list(MORE))
def machine(request, packages, tmp_path_factory):
    home = tmp_path_factory.mktemp(f"{request.param}-upgrade")
    with PackagePi(request.param, home, "upgrade") as machine:
        machine.debs = packages
        machine.put("/etc/dpkg/dpkg.cfg.d/fast", "force-unsafe-io\n", mode="644")
        yield machine


@pytest.fixture
def running(machine):
    """The machine with version 0.1.0 of the daemon alone, running."""
    machine.put(CONFIG, CONFIGURATION, mode="644")
    machine.run("dpkg", "--remove", "sensor-agent-central", "sensor-agent-adafruit")
    machine.install_package()
    machine.restart()
    until_runs(machine, "0.1.0")
    return machine


def until_runs(machine, version):
    done = ("sensor-agent", "status", "--json")
    until(
        lambda: f'"version": "{version}"' in machine.run(*done, check=False).stdout,
        what=lambda: machine.out("journalctl", "--lines", "50"),
    )


def restart(machine):
    machine.power_off()
    machine.boot()


def newer(machine, version, change=lambda tree: None):
    """Put another version on the machine, and return its path there."""
    made = debs.other_version(machine.debs["sensor-agent"], version, change)
    shutil.copy(made, machine.path("/root"))
    return f"/root/{made.name}"


def unpack_until(machine, package, *, line, count):
    """Have dpkg unpack a package, and kill it when it has printed `line` so many times."""
    process = subprocess.Popen(
        [
            *("nsenter", "--target", machine.pid, "--all", "--root", "--wd", *ENVIRONMENT),
            *("dpkg", "-D300", "--unpack", package),
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        pipesize=4096,  # dpkg waits for the reader, so it cannot be far ahead.
    )
    assert process.stderr is not None
    with process:
        for printed in process.stderr:
            count -= line in printed
            if count == 0:
                break
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        os.kill(int(children), signal.SIGKILL)
    status = machine.out("dpkg-query", "--show", "--showformat", "${db:Status-Status}", PACKAGE)
    assert status == "half-installed"


PACKAGE = "sensor-agent"


def before_the_first_file(machine):
    package = newer(machine, "0.2.0")
    unpack_until(machine, package, line="tarobject", count=1)
    return "--install", package


def between_two_files(machine):
    package = newer(machine, "0.2.0")
    unpack_until(machine, package, line="needs rename", count=200)
    for links in ("1", "+1"):  # Those of the new version, and those that the copy has, too.
        assert machine.out("find", TREE, "-name", "*.py", "-links", links)
    return "--install", package


def before_postinst(machine):
    machine.run("dpkg", "--unpack", newer(machine, "0.2.0"))
    return "--configure", "--pending"


@pytest.mark.parametrize("moment", [before_the_first_file, between_two_files, before_postinst])
def test_interrupted_before_the_end_the_version_before_runs(running, moment):
    the_rest = moment(running)
    running.restart()
    until_runs(running, "0.1.0")
    restart(running)
    until_runs(running, "0.1.0")
    running.run("dpkg", *the_rest)
    until_runs(running, "0.2.0")
    assert not running.path(COPY).exists()
    assert running.out("dpkg", "--audit") == ""


def test_interrupted_while_the_new_version_is_tried_the_version_before_runs(running):
    package = newer(running, "0.2.1", with_program(NEVER_READY))
    running.run("systemd-run", "--quiet", "--unit=upgrade", "dpkg", "--install", package)
    until(lambda: running.run("test", "-e", TRIAL, check=False).returncode == 0)
    until(lambda: running.show("ActiveState")["ActiveState"] == "activating")
    running.run("systemctl", "kill", "--signal=KILL", "upgrade")
    restart(running)
    until_runs(running, "0.1.0")
    running.run("mkdir", "-p", "/etc/systemd/system/sensor-agent.service.d")
    with running.added("[Service]\nTimeoutStartSec=15\n"):
        said = running.run("dpkg", "--configure", "--pending").stderr
        assert f"sensor-agent 0.2.1 {RUNS_AGAIN}" in said
    until_runs(running, "0.1.0")
    running.run("dpkg", "--install", newer(running, "0.2.2"))
    until_runs(running, "0.2.2")


@pytest.mark.parametrize("end", ["INT", "HUP", "KILL"])
def test_when_the_upgrade_is_ended_in_the_trial_the_version_before_soon_runs(running, end):
    running.run("mkdir", "-p", "/etc/systemd/system/sensor-agent.service.d")
    package = newer(running, "0.2.9", with_program(NEVER_READY))
    with running.added("[Service]\nTimeoutStartSec=10\n"):
        running.run("systemd-run", "--quiet", "--unit=upgrade", "dpkg", "--install", package)
        until(lambda: running.run("test", "-e", TRIAL, check=False).returncode == 0)
        until(lambda: running.show("ActiveState")["ActiveState"] == "activating")
        running.run("systemctl", "kill", f"--signal={end}", "upgrade")
        until_runs(running, "0.1.0")
        running.run("systemctl", "reset-failed", "upgrade", check=False)
        running.run("dpkg", "--install", newer(running, "0.2.2"))
    until_runs(running, "0.2.2")


def unusable_unit(tree):
    unit = tree.parent / "systemd/system/sensor-agent.service"
    unit.write_text(unit.read_text().replace("[Service]\n", "[Service]\nExecStartPre=/bin/false\n"))


def test_if_it_is_the_unit_that_does_not_start_the_unit_before_is_used_again(running):
    package = newer(running, "0.3.0", unusable_unit)
    running.run("dpkg", "--unpack", package)
    restart(running)
    until_runs(running, "0.1.0")
    said = running.run("dpkg", "--configure", "--pending").stderr
    assert f"sensor-agent 0.3.0 {RUNS_AGAIN}" in said
    until_runs(running, "0.1.0")
    running.run("systemctl", "enable", PACKAGE)
    restart(running)
    until_runs(running, "0.1.0")

    running.run("dpkg", "--install", newer(running, "0.3.1"))
    until_runs(running, "0.3.1")
    unit = running.show("FragmentPath", "UnitFileState", "NeedDaemonReload")
    assert unit["FragmentPath"].removeprefix("/usr") == UNIT.removeprefix("/usr")
    assert (unit["UnitFileState"], unit["NeedDaemonReload"]) == ("enabled", "no")
    assert running.run("test", "-L", LOCAL_UNIT, check=False).returncode == 1
    restart(running)
    until_runs(running, "0.3.1")


def test_a_package_that_is_only_unpacked_can_be_purged(running):
    boot = running.path("/boot/config.txt")
    boot.parent.mkdir(exist_ok=True)
    boot.write_text("# begin sensor-agent\n# end sensor-agent\n")
    running.run("dpkg", "--unpack", newer(running, "0.3.2"))
    try:
        done = running.run("dpkg", "--purge", PACKAGE)
    finally:
        boot.unlink()
    assert "stays in config.txt. To release the sensor's line, delete the lines" in done.stderr
    assert running.show("ActiveState")["ActiveState"] == "inactive"
    for path in (TREE, COPY, STATE, LOCAL_UNIT):
        assert running.run("test", "-e", path, "-o", "-L", path, check=False).returncode == 1
    assert running.run("getent", "passwd", PACKAGE, check=False).returncode == 2


@pytest.mark.parametrize("step", ["--install", "--remove", "--purge"])
def test_without_its_files_the_package_can_be_installed_and_removed(running, step):
    running.run("rm", "-r", TREE)
    argument = newer(running, "0.3.3") if step == "--install" else PACKAGE
    running.run("dpkg", step, argument)
    if step == "--install":
        until_runs(running, "0.3.3")


def test_a_state_directory_on_another_disk_does_not_prevent_the_purge(running):
    running.run("systemctl", "stop", PACKAGE)
    running.run("mount", "-t", "tmpfs", "tmpfs", STATE)
    try:
        done = running.run("dpkg", "--purge", PACKAGE)
    finally:
        running.run("umount", STATE)
    assert f"{STATE} stays." in done.stderr
    assert running.run("getent", "passwd", PACKAGE, check=False).returncode == 2


def test_a_package_that_cannot_be_unpacked_does_not_stop_the_daemon(running):
    before = running.show("MainPID")
    package = newer(running, "0.2.3")
    running.run("truncate", "--size=-100000", package)
    assert running.run("dpkg", "--install", package, check=False).returncode != 0
    assert running.show("MainPID") == before
    restart(running)
    until_runs(running, "0.1.0")
    running.run("dpkg-reconfigure", PACKAGE)
    assert not running.path(COPY).exists()


def test_a_daemon_that_would_refuse_its_changed_file_is_not_restarted(running):
    before = running.show("MainPID")
    running.put(CONFIG, CONFIGURATION.replace("0.5", "0"), mode="644")
    said = running.run("dpkg", "--install", newer(running, "0.2.4")).stderr
    assert f"{CONFIG}: [sensor] interval " in said
    assert "continues to run. Correct the mistake, and then: sudo dpkg-reconfigure" in said
    assert running.show("MainPID") == before
    assert running.out("dpkg", "--audit") == ""
    running.put(CONFIG, CONFIGURATION, mode="644")
    running.restart()
    until_runs(running, "0.1.0")
    running.run("dpkg-reconfigure", PACKAGE)
    until_runs(running, "0.2.4")
    assert not running.path(COPY).exists()


def adafruit(packages, version, change=lambda tree: None):
    """Return the package of Adafruit's driver for this machine, and without its dependencies."""

    def made(tree):
        control = tree.parents[2] / "DEBIAN/control"
        lines = control.read_text().replace("Architecture: arm64", "Architecture: all")
        control.write_text(lines.replace(", python3-libgpiod, python3-sysv-ipc", ""))
        change(tree)

    [package] = (one for one in build_debs.PACKAGES if one.architecture == "arm64")
    deb = build_debs.build(package, packages["sensor-agent"].parent)
    return debs.other_version(deb, version, made)


def test_the_copy_has_one_version_of_every_package_in_any_order(running):
    central = running.debs["sensor-agent-central"]
    install_package(running, running.debs[PACKAGE], central, adafruit(running.debs, "0.1.0"))

    def mark(tree):
        for name in ("agent", "central", "vendor-adafruit"):
            if (tree / name).exists():
                (tree / name / "new").touch()

    files = [
        adafruit(running.debs, "0.2.5", mark),
        debs.other_version(central, "0.2.5", mark),
        debs.other_version(running.debs[PACKAGE], "0.2.5", mark),
    ]
    for file in files:
        shutil.copy(file, running.path("/root"))
        running.run("dpkg", "--unpack", f"/root/{file.name}")
    assert running.out("find", COPY, "-name", "new") == ""
    assert len(running.out("find", TREE, "-name", "new").splitlines()) == len(files)
    restart(running)
    until_runs(running, "0.1.0")
    running.run("dpkg", "--configure", "--pending")
    until_runs(running, "0.2.5")
    assert not running.path(COPY).exists()

    for file in files[:2]:  # Installed alone, they leave no copy either.
        running.run("dpkg", "--install", f"/root/{file.name}")
        assert not running.path(COPY).exists()
    running.run("systemctl", "is-active", "sensor-agent-central")


def test_make_install_upgrades_central_and_installs_adafruits_driver(running):
    older = [
        debs.other_version(running.debs[name], "0.0.9") for name in (PACKAGE, f"{PACKAGE}-central")
    ]
    install_package(running, *older)
    project = running.path("/root/project")
    sources(project)
    # The machine has no network, and here the packages were fetched already.
    shutil.copytree(vendored.CACHE, project / vendored.CACHE.relative_to(ROOT))
    driver = adafruit(running.debs, "0.1.0")
    (project / "dist").mkdir(exist_ok=True)
    architecture = running.out("dpkg", "--print-architecture").strip()
    shutil.copy(driver, project / f"dist/sensor-agent-adafruit_0.1.0_{architecture}.deb")
    options = "--fake-hw --device-id pi --central /var/lib/sensor-agent-central"
    said = running.out("make", "-C", "/root/project", "install", f"ARGS={options}", timeout=600)
    shutil.rmtree(project)
    assert "is connected to 127.0.0.1." in said
    shown = running.out("dpkg-query", "--show", f"{PACKAGE}*")
    assert [line.split() for line in shown.splitlines()] == [
        [name, "0.1.0"] for name in (PACKAGE, f"{PACKAGE}-adafruit", f"{PACKAGE}-central")
    ]
    running.run("systemctl", "is-active", PACKAGE, f"{PACKAGE}-central")


@pytest.fixture
def old_layout(running):
    """The machine with the program as `make install` installed it before, running."""
    running.put("/opt/sensor-agent/1/mark", "", mode="644")
    running.run("cp", "-a", f"{TREE}/.", "/opt/sensor-agent/1")
    unit = running.path(UNIT).read_text()
    running.run("dpkg", "--remove", PACKAGE)
    running.run("ln", "-s", "1", "/opt/sensor-agent/current")
    command = "/opt/sensor-agent/current/launch"
    running.put(LOCAL_UNIT, unit.replace("/usr/bin/sensor-agent", command), mode="644")
    running.run("ln", "-s", command, "/usr/local/bin/sensor-agent")
    running.run("systemctl", "daemon-reload")
    running.run("systemctl", "enable", "--now", PACKAGE)
    until_runs(running, "0.1.0")
    yield running
    running.run("rm", "-rf", "/opt/sensor-agent", "/usr/local/bin/sensor-agent", LOCAL_UNIT)


def test_what_make_install_installed_before_is_replaced_by_the_package(old_layout):
    old_layout.run("dpkg", "--install", newer(old_layout, "0.2.6"))
    until_runs(old_layout, "0.2.6")
    for path in ("/opt/sensor-agent", "/usr/local/bin/sensor-agent", LOCAL_UNIT):
        assert not old_layout.path(path).exists()
    restart(old_layout)
    until_runs(old_layout, "0.2.6")


def test_what_make_install_installed_before_runs_again_if_the_package_does_not_start(old_layout):
    broken = newer(old_layout, "0.2.7", with_program(CANNOT_START))
    said = old_layout.run("dpkg", "--install", broken).stderr
    assert f"sensor-agent 0.2.7 {RUNS_AGAIN}" in said
    until_runs(old_layout, "0.1.0")
    restart(old_layout)
    until_runs(old_layout, "0.1.0")
    old_layout.run("dpkg", "--install", newer(old_layout, "0.2.8"))
    until_runs(old_layout, "0.2.8")
    assert not old_layout.path("/opt/sensor-agent").exists()
