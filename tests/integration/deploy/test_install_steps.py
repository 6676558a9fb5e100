"""Steps of installer and uninstaller, with a systemctl that only records its arguments."""

import os
import signal
import subprocess

import pytest
from daemons import until
from ordinary import OBEYING_MODES
from places import ROOT
from scripts import functions_of, sh, write_program

STATES = """\
echo "$*" >>"$0.told"
case $* in
*is-active*) [ "$IS_ACTIVE" = active ] ;;
*is-failed*) [ "$IS_FAILED" = failed ] ;;
esac
"""


@pytest.fixture
def steps(tmp_path):
    """Return a function that runs lines after the script's functions, and systemctl's arguments."""
    write_program(tmp_path / "systemctl", STATES)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def do(lines, script="install.sh", options=(), before=(), **environment):
        text, environ = functions_of(script, lines), os.environ | path | environment
        done = sh(text, f"deploy/{script}", *options, before=before, env=environ)
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
def test_settings_that_are_newer_than_the_daemon_restart_it(steps, tmp_path, name, is_newer):
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
    assert ("Nothing has changed." in done.stdout) is not is_newer
    assert ("restart sensor-agent" in asked) is is_newer


def test_a_user_who_cannot_join_the_group_does_not_undo_the_installation(steps, tmp_path):
    write_program(tmp_path / "usermod", "echo 'usermod: no such user' >&2; exit 6")
    done, _ = steps("undo_with stop; let_caller_in", SUDO_USER="nobody")
    assert done.returncode == 0, done.stderr
    assert "Cannot add nobody (usermod: no such user). nobody needs sudo" in done.stdout


@pytest.mark.parametrize(
    ("architecture", "python", "narrowed"),
    [("armhf", "true", True), ("armhf", "false", False), ("arm64", "true", False)],
)
def test_pip_sees_a_32_bit_system_as_one(steps, tmp_path, architecture, python, narrowed):
    write_program(tmp_path / "dpkg", f"echo {architecture}")
    done, _ = steps(f"is_taken_for_64_bit {python} || exit 3")
    assert (done.returncode == 0) is narrowed
    override = f"is_taken_for_64_bit() {{ {str(narrowed).lower()}; }}"
    done, _ = steps(f"{override}; dry_run=yes program=/opt/p extra= wheels=/w; install_program")
    assert (
        "    setarch linux32 /opt/p/bin/python -I deploy/run_pip.py " in done.stdout
    ) is narrowed


@pytest.mark.parametrize(
    ("found", "led", "works"), [(0, "gpiozero", True), (1, "gpiozero", False), (1, "fake", True)]
)
def test_a_system_without_lgpio_is_refused_before_the_service_starts(
    steps, tmp_path, found, led, works
):
    (tmp_path / "bin").mkdir()
    write_program(tmp_path / "bin" / "python", f"exit {found}")
    done, _ = steps(f"program={tmp_path} led_driver={led}; must_have_lgpio")
    assert (done.returncode == 0) is works
    assert ("Cannot drive the LED: there is no lgpio for Python 3." in done.stderr) is not works


def test_apt_waits_for_its_lock(steps):
    need = "need() { missing=' python3-venv'; }"
    done, _ = steps(f"{need}; dry_run=yes led_driver=fake; install_packages")
    assert "apt-get -o DPkg::Lock::Timeout=300 install" in done.stdout


@pytest.mark.parametrize("driver", ["dht22", "fake", "kernel"])
def test_the_kernels_driver_is_removed_if_another_driver_is_set(steps, tmp_path, driver):
    (tmp_path / "config.txt").write_text("# begin sensor-agent\n[all]\n# end sensor-agent\n")
    places = (
        f"boot={tmp_path}/config.txt gpio_rule={tmp_path}/rules driver={driver} led_driver=fake"
    )
    done, _ = steps(f"dry_run=yes pin=4 {places}; prepare_board")
    assert done.returncode == 0, done.stderr
    assert ("Removing the kernel's driver" in done.stdout) is (driver != "kernel")


@pytest.mark.parametrize("named", ["-", "other.key"])
def test_a_key_that_would_not_be_used_is_refused(steps, tmp_path, named):
    (tmp_path / "key").write_text("a2V5\n")
    done, _ = steps(f"named_key={named} configuration=FILE key_file={tmp_path}/key; settle_key")
    assert done.returncode == 1
    assert 'FILE does not have key_file = "device.key"' in done.stderr


def test_unreadable_settings_are_reported(steps, tmp_path):
    (tmp_path / "settings").mkdir(mode=0o000)
    done, _ = steps(f"settings={tmp_path}/settings; settle", before=OBEYING_MODES)
    assert done.returncode == 1
    assert f"Only root can read {tmp_path}/settings" in done.stderr


def uninstall(steps, lines, *options, **environment):
    return steps(lines, script="uninstall.sh", options=["--dry-run", *options], **environment)


@pytest.mark.parametrize("options", [[], ["--purge"]])
def test_additions_to_the_unit_are_removed_with_the_configuration(steps, tmp_path, options):
    (tmp_path / "override.conf").touch()
    done, _ = uninstall(steps, f"additions={tmp_path}; main", *options)
    assert done.returncode == 0, done.stderr
    assert (f"    rm -rf {tmp_path}\n" in done.stdout) is bool(options)
    assert (f"rmdir --ignore-fail-on-non-empty {tmp_path}\n" in done.stdout) is not options


@pytest.mark.parametrize("has_failed", [True, False])
def test_a_failed_service_is_no_longer_listed(steps, tmp_path, has_failed):
    done, _ = uninstall(
        steps, f"unit={tmp_path}; main", IS_FAILED="failed" if has_failed else "inactive"
    )
    assert ("systemctl reset-failed sensor-agent" in done.stdout) is has_failed


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_does_not_interrupt_the_undoing(tmp_path, number):
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
