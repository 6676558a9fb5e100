"""The installer's steps one by one, with a systemctl that only tells what it was asked."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from daemons import until

ROOT = Path(__file__).parents[2]
STATES = """\
#!/bin/sh
echo "$*" >>"$0.told"
case $* in *is-active*) [ "$IS_ACTIVE" = active ] ;; esac
"""


@pytest.fixture
def steps(tmp_path):
    """Returns a function that runs lines after the installer's own, and what systemctl was told."""
    (tmp_path / "systemctl").write_text(STATES)
    (tmp_path / "systemctl").chmod(0o755)
    *functions, main = (ROOT / "deploy/install.sh").read_text().splitlines()
    assert main == 'main "$@"'

    def do(lines, **environment):
        done = subprocess.run(
            ["sh", "-euc", "\n".join([*functions, lines]), "deploy/install.sh"],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=30,
            env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | environment,
        )  # fmt: skip
        told = tmp_path / "systemctl.told"
        return done, told.read_text().splitlines() if told.exists() else []

    return do


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ("active", "active", []),
        ("active", "inactive", ["start sensor-agent"]),
        ("activating", "inactive", ["--no-block start sensor-agent"]),
        ("inactive", "inactive", []),
        ("failed", "inactive", []),
    ],
)
def test_a_failure_leaves_the_service_as_it_was(steps, before, now, told):
    state = f"was_active={before} was_enabled=enabled; undo_with service_as_before"
    done, asked = steps(f"{state}; fail 'A step failed.'", IS_ACTIVE=now)
    assert "A step failed." in done.stderr
    assert "That failed" not in done.stderr
    assert "Undone." in done.stderr
    assert [line.strip() for line in asked if "start" in line] == told


@pytest.mark.parametrize("name", ["config.toml", "credentials/device.key"])
@pytest.mark.parametrize("is_newer", [False, True])
def test_what_the_daemon_has_not_read_yet_is_put_in_force(steps, tmp_path, name, is_newer):
    settings = tmp_path / "settings"
    (settings / "credentials").mkdir(parents=True)
    (settings / name).touch()
    (tmp_path / "control.sock").touch()
    for path in (settings / name, settings / "credentials", settings):
        os.utime(path, (1000, 1000))
    os.utime(settings / name, (3000, 3000) if is_newer else (1000, 1000))
    os.utime(tmp_path / "control.sock", (2000, 2000))
    places = f"settings={settings} socket={tmp_path / 'control.sock'}"
    done, asked = steps(f"{places} was_active=active was_enabled=enabled; start")
    assert done.returncode == 0, done.stderr
    assert ("Nothing is different" in done.stdout) is not is_newer
    assert ("restart sensor-agent" in asked) is is_newer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_undoing_is_not_left_half_done_by_who_is_impatient(tmp_path, number):
    os.mkfifo(tmp_path / "wait")
    slow = f"slow() {{ : >{tmp_path}/began; cat {tmp_path}/wait; : >{tmp_path}/ended; }}"
    with subprocess.Popen(
        ["sh", "-euc", f". deploy/steps.sh; {slow}; undo_with slow; fail 'It failed.'"],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as running:  # fmt: skip
        until((tmp_path / "began").exists)
        os.killpg(running.pid, number)
        (tmp_path / "wait").write_text("Go on.")
        told = running.communicate(timeout=30)[1]
    assert running.returncode == 1
    assert (tmp_path / "ended").exists()
    assert "Undone." in told
