"""Files are changed atomically, with owner and mode, and undone."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli.setup.changes import Changes
from agent.errors import AgentError

NAME = "/etc/sensor-agent/config.toml"


@pytest.fixture
def changes(pi):
    (pi.path("etc/sensor-agent")).mkdir(parents=True)
    return Changes(pi.machine(), dry_run=False)


@pytest.fixture
def file(pi, changes):
    return pi.path(NAME.lstrip("/"))


def test_a_file_gets_its_owner_and_mode_before_its_name(pi, tmp_path):
    seen = []

    def chown(descriptor, user, group):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen.append((path.name, path.stat().st_mode & 0o777, user, group))

    machine = replace(pi.machine(), chown=chown, group_number={"sensor-agent": 77}.__getitem__)
    changes = Changes(machine, dry_run=False)
    pi.path("etc/sensor-agent").mkdir(parents=True)
    changes.put(NAME, b"new\n", 0o640, "sensor-agent")
    assert seen == [(".config.toml.new", 0o600, os.getuid(), 77)]
    assert pi.path(NAME.lstrip("/")).stat().st_mode & 0o777 == 0o640


def test_a_file_that_is_right_is_not_touched(changes, file, capsys):
    changes.put(NAME, b"new\n", 0o640)
    before = (file.stat().st_ino, file.stat().st_mtime_ns)
    again = Changes(changes.machine, dry_run=False)
    again.put(NAME, b"new\n", 0o640)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == before
    assert not again.made
    assert capsys.readouterr().out == f"Writing {NAME}\n"
    again.put(NAME, b"new\n", 0o600)
    assert file.stat().st_mode & 0o777 == 0o600


def test_everything_is_undone_in_reverse_order(pi, changes, file, capsys):
    file.write_bytes(b"old\n")
    file.chmod(0o604)
    before = pi.files()
    changes.put(NAME, b"new\n", 0o640)
    changes.put(NAME, b"newer\n", 0o640)
    changes.directory("/etc/sensor-agent/credentials", 0o700)
    changes.put("/etc/sensor-agent/credentials/device.key", b"key\n", 0o600)
    changes.remove(NAME)
    changes.undo()
    assert pi.files() == before
    assert not pi.path("etc/sensor-agent/credentials").exists()
    assert "removing /etc/sensor-agent/credentials/device.key" in capsys.readouterr().err


def test_what_cannot_be_undone_is_printed_and_the_rest_is_undone(changes, file, capsys):
    def fail():
        raise OSError(5, "Input/output error")

    changes.put(NAME, b"new\n", 0o640)
    changes.undo_with("doing the impossible", fail)
    changes.undo()
    assert not file.exists()
    assert "That failed: [Errno 5] Input/output error" in capsys.readouterr().err


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_failure_leaves_the_old_file_and_no_other(changes, file, monkeypatch, step):
    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    file.write_bytes(b"old\n")
    monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    with pytest.raises(AgentError, match=rf"^Cannot write {NAME}: No space left on device\.$"):
        changes.put(NAME, b"new\n", 0o640)
    assert file.read_bytes() == b"old\n"
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_a_dry_run_changes_nothing(pi, capsys):
    before = pi.files()
    changes = Changes(pi.machine(), dry_run=True)
    changes.directory("/etc/sensor-agent", 0o750, "sensor-agent")
    changes.put(NAME, b"new\n", 0o640)
    changes.must_run("systemctl", "daemon-reload")
    changes.remove("/etc/nothing")
    changes.undo()
    assert pi.files() == before
    assert pi.commands == []
    assert capsys.readouterr().out == (
        f"Creating /etc/sensor-agent\nWriting {NAME}\n    systemctl daemon-reload\n"
    )


def test_a_missing_group_is_named(pi):
    def group_number(name):
        raise KeyError(name)

    machine = replace(pi.machine(), group_number=group_number)
    with pytest.raises(AgentError, match="The group sensor-agent does not exist"):
        Changes(machine, dry_run=False).put(NAME, b"", 0o640, "sensor-agent")
    Changes(machine, dry_run=True).put(NAME, b"", 0o640, "sensor-agent")
