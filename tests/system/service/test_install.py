"""Installed in one command, again, over itself, and undone where a step fails."""

import base64
import hmac
import json
import shutil
import zipfile

import pytest
from pis import CONFIG, DEVICE, GROUP_KEY, OWN_KEY, STATE, WHEELS, previous_of, run_of, until

PROGRAMS = "/opt/sensor-agent"
CONNECTION = "/home/anna/shed.connection"
UNIT = "/etc/systemd/system/sensor-agent.service"


def test_a_dry_run_says_every_step_and_does_none(bare):
    before = bare.snapshot()
    said = bare.install("--dry-run").stdout
    assert bare.snapshot() == before
    for step in (
        "useradd --system",
        "-m venv --system-site-packages",
        "--no-index --find-links /home/anna/wheels sensor-agent",
        "install -m 640 -o root -g sensor-agent",
        "install -m 600 -o root -g root",
        "systemctl --quiet enable sensor-agent",
        "systemctl restart sensor-agent",
        "Nothing was changed.",
    ):
        assert step in said


def test_a_failing_step_is_told_and_what_was_done_is_undone(bare):
    before = bare.snapshot()
    packages = bare.out("dpkg-query", "--show")
    needed = next(bare.path(WHEELS).glob("janus-*"))
    needed.rename(needed.with_suffix(".away"))
    try:
        done = bare.install(check=False)
    finally:
        needed.with_suffix(".away").rename(needed)
    assert done.returncode != 0
    assert "This failed: /opt/sensor-agent/" in done.stderr
    assert "janus" in done.stderr
    assert "Undone." in done.stderr
    assert bare.out("dpkg-query", "--show") == packages
    assert bare.snapshot() == before


def test_one_command_ends_with_a_running_service_although_there_is_no_network(bare):
    bare.run("systemctl", "stop", "central")
    try:
        said = bare.install().stdout
        assert f"sensor-agent runs as {DEVICE}." in said
        assert "group key" not in said  # It is that of a central on this machine.
        unit = bare.show("ActiveState", "UnitFileState", "NotifyAccess", "Type", "NRestarts")
        assert unit == {
            "ActiveState": "active",
            "UnitFileState": "enabled",
            "NotifyAccess": "main",
            "Type": "notify",
            "NRestarts": "0",
        }
    finally:
        bare.run("systemctl", "start", "central")


def test_a_file_with_a_connection_string_is_enough(bare):
    bare.rest("PUT", f"/api/devices/{DEVICE}", {"displayName": "A shed"}, status=200)
    group_key = base64.b64decode(bare.path(GROUP_KEY).read_text())
    key = base64.b64encode(hmac.digest(group_key, DEVICE.encode(), "sha256")).decode()
    string = f"HostName=127.0.0.1;DeviceId={DEVICE};SharedAccessKey={key}"
    bare.anna(f"umask 077; cat > {CONNECTION}", input=string)
    files = f"--connection-string-file {CONNECTION} --ca-file /var/lib/central/ca.pem"
    options = f"--fake-hw {files} --wheels {WHEELS}"
    said = bare.anna(f"cd sensor-agent && sudo make install ARGS='{options}'")
    assert f"sensor-agent runs as {DEVICE}." in said.stdout
    bare.until_connected()
    stored = "/etc/sensor-agent/credentials/device.connection"
    assert bare.out("stat", "--format", "%a %U:%G", stored).strip() == "600 root:root"
    assert not bare.path(OWN_KEY).exists()
    again = bare.anna(f"cd sensor-agent && sudo make install ARGS='--wheels {WHEELS}'")
    assert f"sensor-agent runs as {DEVICE}." in again.stdout
    assert key not in said.stdout + said.stderr + again.stdout + again.stderr
    assert key not in bare.out("journalctl", "--output", "json")


def test_the_data_directory_of_a_local_central_replaces_four_options(bare):
    options = f"--fake-hw --central /var/lib/central --wheels {WHEELS}"
    said = bare.anna(f"cd sensor-agent && sudo make install ARGS='{options}'").stdout
    assert f"sensor-agent runs as {DEVICE}." in said
    bare.until_connected()


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/etc/sensor-agent", "750 root:sensor-agent"),
        (CONFIG, "640 root:sensor-agent"),
        ("/etc/sensor-agent/credentials", "700 root:root"),
        (OWN_KEY, "600 root:root"),
        (STATE, "700 sensor-agent:sensor-agent"),
        (f"{STATE}/settings.json", "600 sensor-agent:sensor-agent"),
        ("/run/sensor-agent", "750 sensor-agent:sensor-agent"),
        ("/run/sensor-agent/control.sock", "660 sensor-agent:sensor-agent"),
        (UNIT, "644 root:root"),
    ],
)
def test_everything_belongs_to_whom_it_should(installed, path, mode):
    assert installed.out("stat", "--format", "%a %U:%G", path).strip() == mode


def test_only_this_devices_own_key_is_kept(installed):
    group_key = installed.path(GROUP_KEY).read_text().strip()
    found = installed.run(
        "grep", "-rlF", group_key, "/etc", "/opt/sensor-agent", STATE, "/run", check=False
    )
    assert found.stdout == ""
    assert installed.path(OWN_KEY).read_text().strip() != group_key


def test_who_installed_it_asks_and_drives_it_without_sudo(installed):
    assert installed.status()["device_id"] == DEVICE
    assert installed.ask("led", "on")["state"] == "on"
    (reading,) = installed.anna("sensor-agent read --json").stdout.splitlines()
    assert json.loads(reading)["humidity"] > 0


def test_the_unit_is_clean_with_each_of_its_additions(installed):
    additions = installed.path(f"{UNIT}.d")
    for addition in ("adafruit.conf", "clock.conf"):
        shutil.copy2(installed.path("/home/anna/sensor-agent/deploy") / addition, additions)
    try:
        done = installed.run("systemd-analyze", "verify", UNIT)
        assert (done.stdout, done.stderr) == ("", "")
    finally:
        installed.install()  # Which removes what does not belong there.
    assert not (additions / "adafruit.conf").exists()


def test_the_clock_is_asked_where_timesyncd_does_not_keep_it(installed):
    there = installed.path(f"{UNIT}.d/clock.conf").exists()
    assert there == (installed.suite == "bookworm")


def test_installed_again_nothing_changes(installed):
    before = installed.show("MainPID", "ActiveEnterTimestamp")
    files = installed.snapshot()
    said = installed.install().stdout
    assert "Nothing has changed." in said
    assert installed.show("MainPID", "ActiveEnterTimestamp") == before
    changed = {line for line in files ^ installed.snapshot() if f" {STATE}/" not in f" {line}"}
    assert not changed


def remade(pi, change):
    """Change the wheel of this program, as a new version would."""
    [wheel] = pi.path(WHEELS).glob("sensor_agent-*.whl")
    old = wheel.with_suffix(".old")
    wheel.rename(old)
    with zipfile.ZipFile(old) as before, zipfile.ZipFile(wheel, "w") as after:
        for name in before.namelist():
            after.writestr(name, change(name, before.read(name)))
    return wheel, old


def test_an_upgrade_keeps_configuration_and_outbox(installed):
    before = installed.show("MainPID")
    old = installed.path(f"{PROGRAMS}/current").readlink()
    config = installed.path(CONFIG).read_text()
    sent = installed.new_messages()
    remade(
        installed,
        lambda name, data: data + b"\n# newer\n" if name == "hw/leds/gpiozero_led.py" else data,
    )[1].unlink()
    said = installed.install().stdout
    assert f"Removing the previous version, {old}" in said
    assert not installed.path(str(old)).exists()
    assert installed.show("MainPID") != before
    assert installed.path(CONFIG).read_text() == config
    installed.until_connected()
    last = run_of(sent[-1])
    until(lambda: last in {end.partition(":")[0] for end in previous_of(installed.messages())})


def test_an_upgrade_that_does_not_start_leaves_the_old_one_running(installed):
    before = installed.path(f"{PROGRAMS}/current").readlink()
    broken = b"\nraise RuntimeError('this version is broken')\n"
    wheel, old = remade(
        installed, lambda name, data: data + broken if name == "agent/cli/run.py" else data
    )
    try:
        done = installed.install(check=False)
    finally:
        old.rename(wheel)
    assert done.returncode != 0
    assert "this version is broken" in done.stderr
    assert "The service does not start." in done.stderr
    assert "starting the previous service" in done.stderr
    assert installed.path(f"{PROGRAMS}/current").readlink() == before
    assert [place.name for place in installed.path(PROGRAMS).glob("[0-9]*")] == [before.name]
    assert installed.show("ActiveState", "UnitFileState") == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
    }
    installed.until_connected()
