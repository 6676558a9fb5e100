"""Which version the packages' program launch runs."""

import fcntl
import os
import runpy
import sys

import pytest
from places import ROOT
from upgrade import LOCK

SOURCE = (ROOT / "deploy/debian/launch").read_text()
PROGRAM = "import sys\nsys.exit(f'new {sys.argv[1:]}')\n"


class Installed:
    """The package's directory, and launch in it."""

    def __init__(self, root):
        self.tree = root / "sensor-agent"
        self.lock = root / "lock"
        self.launch = self.tree / "launch"
        self.tree.mkdir()
        assert f'"/{LOCK}"' in SOURCE
        self.launch.write_text(SOURCE.replace(f"/{LOCK}", str(self.lock)))
        (self.tree / "program.py").write_text(PROGRAM)

    def keep_previous(self):
        previous = self.tree.with_name("sensor-agent.previous")
        previous.mkdir()
        (previous / "launch").touch()

    def run(self, *arguments):
        """Return what launch runs, and the arguments of it."""
        sys.argv = [str(self.launch), *map(str, arguments)]
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(self.launch), run_name="__main__")
        return ended.value.code


@pytest.fixture
def installed(tmp_path, monkeypatch):
    def execv(program, arguments):
        assert program == arguments[0]
        sys.exit(f"{arguments}")

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "path", sys.path[:])
    return Installed(tmp_path)


def previous(installed, *arguments):
    place = f"{installed.tree}.previous"
    return str([f"{place}/launch", *(argument.format(place) for argument in arguments)])


def test_the_version_that_is_installed_runs(installed):
    assert installed.run("--program", installed.tree / "program.py", "a") == "new ['a']"


def test_while_there_is_a_copy_it_runs(installed):
    installed.keep_previous()
    assert installed.run("status", "--json") == previous(installed, "status", "--json")


def test_a_daemon_from_before_the_upgrade_gets_the_programs_of_the_copy(installed):
    installed.keep_previous()
    ran = installed.run("--program", installed.tree / "hw/child.py", installed.tree)
    assert ran == previous(installed, "--program", "{}/hw/child.py", str(installed.tree))
    assert installed.run("--program", "/a.py") == previous(installed, "--program", "/a.py")


def test_while_the_new_version_is_tried_it_runs(installed, monkeypatch):
    def lockf(_file, operation):
        # A shared lock, so that nobody but root can pretend a trial.
        assert operation == fcntl.LOCK_SH | fcntl.LOCK_NB
        raise BlockingIOError

    installed.keep_previous()
    installed.lock.touch()
    monkeypatch.setattr(fcntl, "lockf", lockf)
    assert installed.run("--program", installed.tree / "program.py") == "new []"


def test_a_trial_that_was_killed_has_ended(installed):
    installed.keep_previous()
    installed.lock.touch()
    assert installed.run("status") == previous(installed, "status")


def test_a_lock_that_cannot_be_read_is_no_trial(installed):
    installed.keep_previous()
    installed.lock.mkdir()
    assert installed.run("status") == previous(installed, "status")
