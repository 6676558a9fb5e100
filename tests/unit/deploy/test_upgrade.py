"""Which version runs after an upgrade, as upgrade.py decides it for the packages' postinst."""

import contextlib
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import upgrade
from upgrade import COPY, LOCAL_UNIT, LOCK, NEW_UNIT, OLD, TREE, TRIAL_UNIT, UNIT, WANTED

RESTART = ("deb-systemd-invoke", "restart", UNIT)
RESTART_PREVIOUS = ("systemctl", "--quiet", "restart", UNIT)
RELOAD = ("systemctl", "--system", "daemon-reload")
MISTAKE = "sensor-agent: /etc/sensor-agent/config.toml: [sensor] interval must be a number"


class Pi:
    """A machine with a running daemon, in the middle of an upgrade from version 1 to 2."""

    def __init__(self, root):
        self.root = root
        self.starts = {"1": True, "2": True}  # Whether a version becomes ready.
        self.file_status = {"1": 0, "2": 0}  # How a version judges the configuration file.
        self.state = "running"
        self.is_active = True
        self.file_state = "enabled"
        self.installed = {"sensor-agent"}
        self.unit_read = "1"  # The version of the unit that systemd has read.
        self.calls: list[tuple[str, ...]] = []
        self.started: list[tuple[str, str]] = []  # Each attempt: the unit's version, the program's.
        (root / "run/systemd/system").mkdir(parents=True)
        (root / WANTED).parent.mkdir(parents=True)
        (root / WANTED).symlink_to(f"/{NEW_UNIT}")
        self.put(NEW_UNIT, "2")
        self.put(f"{TREE}/launch", "2")
        self.put(f"{COPY}/launch", "1")
        self.put(f"{COPY}/{UNIT}", "1")
        (root / LOCAL_UNIT).symlink_to(f"/{COPY}/{UNIT}")

    def put(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def exists(self, path):
        return (self.root / path).is_symlink() or (self.root / path).exists()

    def unit(self):
        """Return the version whose unit systemd finds."""
        for place in (TRIAL_UNIT, LOCAL_UNIT, NEW_UNIT):
            file = self.root / place
            if file.is_symlink():
                file = self.root / file.readlink().relative_to("/")
            if file.exists():
                return file.read_text()
        raise AssertionError

    def program(self):
        """Return the version that launch runs: see test_launch.py."""
        if self.unit_read == "old":
            return "1"
        is_copy = self.exists(f"{COPY}/launch") and not self.exists(LOCK)
        return (self.root / (COPY if is_copy else TREE) / "launch").read_text()

    def run(self, *command):
        self.calls.append(command)
        status, output = 0, ""
        if command == RELOAD:
            self.unit_read = self.unit()
        elif command in {RESTART, RESTART_PREVIOUS}:
            self.started.append((self.unit_read, self.program()))
            status = not self.starts[self.program()]
        elif command == ("systemctl", "is-system-running"):
            output = f"{self.state}\n"
        elif command == ("systemctl", "is-enabled", UNIT):
            output = f"{'enabled' if self.exists(TRIAL_UNIT) else self.file_state}\n"
        elif "is-active" in command:
            status = 0 if self.is_active else 3
        elif command[0] == "dpkg-query":
            output = "installed" if command[-1] in self.installed else "unpacked"
        elif command[0].endswith("/launch"):
            status = self.file_status[Path(command[0]).read_text()]
            output = MISTAKE if status == 78 else "{}"
        return CompletedProcess(command, status, output)

    def upgrade(self):
        return upgrade.start(self.root, self.run, version="2")


@pytest.fixture
def pi(tmp_path):
    return Pi(tmp_path)


def test_a_version_that_starts_stays(pi, capsys):
    assert pi.upgrade() == 0
    assert pi.started == [("2", "2")]
    assert [path for path in (COPY, LOCAL_UNIT, LOCK, TRIAL_UNIT) if pi.exists(path)] == []
    assert (pi.unit(), pi.program()) == ("2", "2")
    assert pi.unit_read == "2"
    assert capsys.readouterr().err == ""


def test_one_that_does_not_start_is_replaced_by_the_version_before_and_its_unit(pi, capsys):
    pi.starts["2"] = False
    assert pi.upgrade() == 0
    assert pi.started == [("2", "2"), ("1", "1")]
    assert (pi.unit(), pi.program()) == ("1", "1")
    said = capsys.readouterr().err
    assert said.startswith("sensor-agent 2 did not start, so the previous version runs again. The")
    pi.starts["2"] = True
    pi.upgrade()
    assert (pi.unit(), pi.program()) == ("2", "2")
    assert not pi.exists(COPY)


def test_if_neither_starts_it_is_said(pi, capsys):
    pi.starts = {"1": False, "2": False}
    assert pi.upgrade() == 0
    said = capsys.readouterr().err
    assert said.startswith("Neither sensor-agent 2 nor the previous version starts. The reason: ")


def test_a_first_installation_that_does_not_start_is_said(pi, capsys):
    (pi.root / LOCAL_UNIT).unlink()
    shutil.rmtree(pi.root / COPY)
    pi.starts["2"] = False
    assert pi.upgrade() == 0
    assert pi.started == [("2", "2")]
    assert capsys.readouterr().err.startswith("sensor-agent 2 does not start. The reason: ")


class Killed(BaseException):
    pass


def test_a_power_cut_while_it_is_tried_leaves_the_version_before_and_its_unit(pi, monkeypatch):
    def cut(*command):
        if command == RESTART:
            assert (pi.unit_read, pi.program()) == ("2", "2")
            shutil.rmtree(pi.root / "run")
            raise Killed
        return pi.run(*command)

    with contextlib.suppress(Killed):
        upgrade.start(pi.root, cut, version="2")
    assert (pi.unit(), pi.program()) == ("1", "1")


def test_interrupted_while_it_is_tried_systemd_reads_the_unit_before_again(pi):
    def interrupted(*command):
        if command == RESTART:
            raise KeyboardInterrupt
        return pi.run(*command)

    with contextlib.suppress(KeyboardInterrupt):
        upgrade.start(pi.root, interrupted, version="2")
    assert (pi.unit_read, pi.program()) == ("1", "1")
    assert [path for path in (LOCK, TRIAL_UNIT) if pi.exists(path)] == []


@pytest.mark.parametrize("is_link", [True, False])
def test_a_unit_of_the_owner_stays_in_use(pi, is_link):
    unit = pi.root / LOCAL_UNIT
    unit.unlink()
    if is_link:
        unit.symlink_to("/dev/null")
    else:
        unit.write_text("owner's")
    with upgrade.trial(pi.root, pi.run):
        assert not pi.exists(TRIAL_UNIT)
    upgrade.remove_previous(pi.root)
    assert pi.exists(LOCAL_UNIT)
    assert not pi.exists(COPY)


def test_a_service_that_was_enabled_with_the_previous_unit_stays_enabled(pi):
    (pi.root / WANTED).unlink()
    (pi.root / WANTED).symlink_to(f"/{COPY}/{UNIT}")
    pi.upgrade()
    assert (pi.root / WANTED).readlink() == Path("/", NEW_UNIT)


@pytest.mark.parametrize("statuses", [{"1": 78, "2": 78}, {"1": 0, "2": 78}, {"1": 78, "2": 1}])
def test_a_daemon_that_would_refuse_its_changed_file_is_not_restarted(pi, statuses, capsys):
    pi.file_status = statuses
    assert pi.upgrade() == 0
    assert pi.started == []
    assert (pi.unit(), pi.program()) == ("1", "1")
    said = capsys.readouterr().err
    assert said.startswith(f"{MISTAKE}\nThe service was not restarted, because it would refuse")


def test_a_service_that_is_disabled_and_stopped_is_not_started(pi):
    pi.is_active, pi.file_state = False, "linked"
    assert pi.upgrade() == 0
    assert pi.started == []
    assert (pi.unit_read, pi.program()) == ("2", "2")
    assert not pi.exists(COPY)


def test_a_disabled_service_that_runs_returns_to_the_previous_version(pi):
    pi.file_state, pi.starts["2"] = "linked", False
    pi.upgrade()
    assert pi.started == [("2", "2"), ("1", "1")]


def test_a_daemon_that_does_not_run_is_tried_whatever_its_file_says(pi):
    pi.is_active = False
    pi.file_status = {"1": 78, "2": 78}
    pi.upgrade()
    assert pi.started == [("2", "2")]


def test_the_file_alone_is_checked_and_not_the_secrets(pi):
    pi.upgrade()
    [asked] = [call for call in pi.calls if call[0].endswith("launch")]
    assert asked[1:] == ("model", "--config", "/etc/sensor-agent/config.toml")


def test_during_a_shutdown_dpkg_is_to_configure_the_package_again(pi, capsys):
    pi.state = "stopping"
    assert pi.upgrade() == 1
    assert pi.started == []
    assert (pi.unit(), pi.program()) == ("1", "1")
    assert "To complete the upgrade: sudo dpkg --configure -a" in capsys.readouterr().err


def test_without_a_running_systemd_the_new_version_is_for_the_next_boot(pi):
    (pi.root / "run/systemd/system").rmdir()
    assert pi.upgrade() == 0
    assert pi.calls == []
    assert (pi.unit(), pi.program()) == ("2", "2")


@pytest.mark.parametrize(("installed", "restarted"), [(True, True), (False, False)])
def test_a_central_that_ran_from_the_copy_is_restarted(pi, installed, restarted):
    # While it waits to be configured, its own postinst restarts it.
    pi.installed |= {"sensor-agent-central"} if installed else set()
    pi.upgrade()
    command = ("systemctl", "--no-block", "try-restart", f"{upgrade.CENTRAL}.service")
    assert (command in pi.calls) == restarted


@pytest.fixture
def unchanged(pi):
    """The machine after an upgrade of a package that adds to sensor-agent."""
    (pi.root / TREE / "launch").unlink()
    (pi.root / TREE / "launch").hardlink_to(pi.root / COPY / "launch")
    return pi


def test_the_copy_is_removed_if_sensor_agent_was_not_upgraded(unchanged):
    upgrade.forget_if_unchanged(unchanged.root, unchanged.run)
    assert not unchanged.exists(COPY)
    assert not unchanged.exists(LOCAL_UNIT)


def test_the_copy_stays_if_sensor_agent_is_unpacked_in_part(unchanged):
    # dpkg has replaced files of it, but not launch.
    unchanged.installed = set()
    upgrade.forget_if_unchanged(unchanged.root, unchanged.run)
    assert unchanged.exists(COPY)


def test_the_copy_stays_if_the_new_version_did_not_start(pi):
    upgrade.forget_if_unchanged(pi.root, pi.run)
    assert pi.exists(COPY)


def test_without_a_copy_or_the_tree_nothing_is_forgotten(pi):
    (pi.root / TREE / "launch").unlink()
    upgrade.forget_if_unchanged(pi.root, pi.run)
    assert pi.exists(COPY)
    shutil.rmtree(pi.root / COPY)
    upgrade.forget_if_unchanged(pi.root, pi.run)


@pytest.fixture
def old(pi):
    """The machine with the program as `make install` installed it before there was a package."""
    shutil.rmtree(pi.root / COPY)
    (pi.root / LOCAL_UNIT).unlink()
    pi.put(LOCAL_UNIT, "old")
    pi.put(f"{OLD}/1/launch", "1")
    (pi.root / OLD / "current").symlink_to("1")
    pi.put(upgrade.OLD_FILES[0], "")
    return pi


def test_the_package_replaces_what_make_install_installed(old):
    old.upgrade()
    assert old.started == [("2", "2")]
    assert [p for p in (OLD, LOCAL_UNIT, *upgrade.OLD_FILES) if old.exists(p)] == []


def test_what_make_install_installed_runs_again_if_the_package_does_not_start(old, capsys):
    old.starts["2"] = False
    old.upgrade()
    assert old.started == [("2", "2"), ("old", "1")]
    assert "so the previous version runs again." in capsys.readouterr().err


def test_a_power_cut_while_the_old_program_is_removed_leaves_the_new_one(old, monkeypatch):
    def cut(directory, **options):
        if directory.exists():
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", cut)
        with contextlib.suppress(Killed):
            old.upgrade()
    assert old.unit() == "2"
    assert not upgrade.has_old_layout(old.root)
