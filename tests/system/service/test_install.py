"""The service as somebody with sudo sets it up: `sudo sensor-agent setup`."""

import base64
import hmac
import json
import shutil

import vendored
from pis import DEVICE, GROUP_KEY, OWN_KEY, STATE
from places import ROOT
from wheels import sources

CONNECTION = "/home/anna/shed.connection"
UNIT = "/usr/lib/systemd/system/sensor-agent.service"
ADDITIONS = "/etc/systemd/system/sensor-agent.service.d"


def test_make_install_builds_as_its_caller_and_only_installs_as_root(bare):
    project = bare.path("/home/anna/sensor-agent")
    sources(project)
    # The machine has no network, and here the packages were fetched already.
    shutil.copytree(vendored.CACHE, project / vendored.CACHE.relative_to(ROOT))
    bare.run("chown", "-R", "anna:anna", "/home/anna/sensor-agent")
    options = "--fake-hw --central /var/lib/central"
    refused = bare.anna("cd sensor-agent && sudo make install", check=False)
    assert refused.returncode != 0
    assert "Type make install without sudo" in refused.stderr
    said = bare.anna(f"cd sensor-agent && make install ARGS='{options}'").stdout
    assert f"sensor-agent runs as {DEVICE} " in said
    built = bare.out("find", "/home/anna/sensor-agent", "-user", "root")
    shutil.rmtree(project)
    assert built == ""


def test_a_dry_run_says_every_step_and_does_none(bare):
    bare.install("--dry-run")
    before = bare.snapshot()
    said = bare.install("--dry-run").stdout
    assert bare.snapshot() == before
    for step in ("/etc/sensor-agent/config.toml", OWN_KEY, "systemctl restart sensor-agent"):
        assert step in said
    assert "Nothing was changed." in said


def test_a_file_with_a_connection_string_is_enough(bare):
    bare.rest("PUT", f"/api/devices/{DEVICE}", {"displayName": "A shed"}, status=200)
    group_key = base64.b64decode(bare.path(GROUP_KEY).read_text())
    key = base64.b64encode(hmac.digest(group_key, DEVICE.encode(), "sha256")).decode()
    string = f"HostName=127.0.0.1;DeviceId={DEVICE};SharedAccessKey={key}"
    bare.anna(f"umask 077; cat > {CONNECTION}", input=string)
    files = f"--connection-string-file {CONNECTION} --ca-file /var/lib/central/ca.pem"
    bare.install("--dry-run")  # Which installs the package.
    said = bare.anna(f"sudo sensor-agent setup --fake-hw {files}")
    assert f"sensor-agent runs as {DEVICE} " in said.stdout
    bare.until_connected()
    stored = "/etc/sensor-agent/credentials/device.connection"
    assert bare.out("stat", "--format", "%a %U:%G", stored).strip() == "600 root:root"
    assert not bare.path(OWN_KEY).exists()
    again = bare.anna("sudo sensor-agent setup")
    assert f"sensor-agent runs as {DEVICE} " in again.stdout
    assert key not in said.stdout + said.stderr + again.stdout + again.stderr
    assert key not in bare.out("journalctl", "--output", "json")


def test_the_data_directory_of_a_local_central_replaces_four_options(bare):
    bare.install("--dry-run")
    said = bare.anna("sudo sensor-agent setup --fake-hw --central /var/lib/central").stdout
    assert f"sensor-agent runs as {DEVICE} " in said
    bare.until_connected()


def test_only_this_devices_own_key_is_kept(installed):
    group_key = installed.path(GROUP_KEY).read_text().strip()
    found = installed.run("grep", "-rlF", group_key, "/etc", STATE, "/run", check=False)
    assert found.stdout == ""
    assert installed.path(OWN_KEY).read_text().strip() != group_key


def test_who_set_it_up_asks_and_drives_it_without_sudo(installed):
    assert installed.status()["device_id"] == DEVICE
    assert installed.ask("led", "on")["state"] == "on"
    (reading,) = installed.anna("sensor-agent read --json").stdout.splitlines()
    assert json.loads(reading)["humidity"] > 0


def test_the_unit_is_clean_with_each_of_its_additions(installed):
    additions = installed.path(ADDITIONS)
    for addition in ("adafruit.conf", "clock.conf"):
        shutil.copy2(installed.path("/usr/share/sensor-agent") / addition, additions)
    try:
        done = installed.run("systemd-analyze", "verify", UNIT)
        assert (done.stdout, done.stderr) == ("", "")
    finally:
        installed.install()  # Which removes what does not belong there.
    assert not (additions / "adafruit.conf").exists()


def test_the_clock_is_asked_where_timesyncd_does_not_keep_it(installed):
    there = installed.path(f"{ADDITIONS}/clock.conf").exists()
    assert there == (installed.suite == "bookworm")


def test_set_up_again_nothing_changes(installed):
    before = installed.show("MainPID", "ActiveEnterTimestamp")
    files = installed.snapshot()
    said = installed.install().stdout
    assert "Nothing has changed." in said
    assert installed.show("MainPID", "ActiveEnterTimestamp") == before
    changed = {line for line in files ^ installed.snapshot() if f" {STATE}/" not in f" {line}"}
    assert not changed
