"""`sensor-agent setup` of the package, under a real systemd, with central on the next machine."""

import base64
import hmac
import json

import pytest
from package_pis import CENTRAL_ADDRESS, CENTRAL_DATA
from pis import CONFIG, DEVICE, OWN_KEY, until

GROUP_KEY = "/root/group.key"
AUTHORITY = "/root/central-ca.pem"
STRING = "/etc/sensor-agent/credentials/device.connection"
ADDITION = "/etc/systemd/system/sensor-agent.service.d/test.conf"
# Types the answers, each when its question is on the screen, and prints the screen.
TYPE = """
import os, pty, sys
answers = sys.stdin.read().split("\\n")
child, terminal = pty.fork()
if child == 0:
    os.execvp("sensor-agent", ["sensor-agent", "setup", *sys.argv[1:]])
screen, seen = "", 0
while True:
    try:
        data = os.read(terminal, 4096).decode(errors="replace")
    except OSError:
        break
    if not data:
        break
    screen += data
    if answers and screen[seen:].endswith(": "):
        seen = len(screen)
        os.write(terminal, (answers.pop(0) + "\\n").encode())
print(screen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture
def fresh(bare):
    """The machine with the package, without a configuration, and the files of central's."""
    bare.install_package()
    for name, path in (("group-key", GROUP_KEY), ("ca.pem", AUTHORITY)):
        bare.put(path, bare.neighbour.path(f"{CENTRAL_DATA}/{name}").read_text(), mode="600")
    return bare


def setup(pi, *options, check=True):
    return pi.run("sensor-agent", "setup", *options, check=check)


def by_group_key(pi):
    """Set up the service without questions."""
    return setup(
        pi,
        *("--id-scope", pi.central["id_scope"], "--group-key-file", GROUP_KEY),
        *("--provisioning-host", CENTRAL_ADDRESS, "--ca-file", AUTHORITY),
        *("--device-id", DEVICE, "--fake-hw"),
    )


def connection_string(pi):
    """Return a connection string of the device, as central's page shows it."""
    group_key = base64.b64decode(pi.neighbour.path(f"{CENTRAL_DATA}/group-key").read_text())
    key = base64.b64encode(hmac.digest(group_key, DEVICE.encode(), "sha256")).decode()
    return f"HostName={CENTRAL_ADDRESS};DeviceId={DEVICE};SharedAccessKey={key}"


def test_one_command_connects_the_service_and_says_so(fresh):
    said = by_group_key(fresh).stdout
    assert f"sensor-agent runs as {DEVICE} and is connected to {CENTRAL_ADDRESS}." in said
    assert fresh.show("ActiveState", "UnitFileState", "NRestarts") == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "NRestarts": "0",
    }
    assert json.loads(until(fresh.messages)[0]["body"])["humid"] > 0
    group_key = fresh.path(GROUP_KEY).read_text().strip()
    found = fresh.run("grep", "-rlF", group_key, "/etc", "/var/lib/sensor-agent", check=False)
    assert found.stdout == ""
    for path, mode in {
        "/etc/sensor-agent": "750 root:sensor-agent",
        CONFIG: "640 root:sensor-agent",
        "/etc/sensor-agent/ca.pem": "644 root:root",
        "/etc/sensor-agent/credentials": "700 root:root",
        OWN_KEY: "600 root:root",
    }.items():
        assert fresh.out("stat", "--format", "%a %U:%G", path).strip() == mode


def test_an_option_changes_one_value_of_a_running_service(fresh):
    by_group_key(fresh)
    again = setup(fresh)
    assert "Nothing has changed. The service continues to run." in again.stdout
    before = fresh.show("MainPID")
    config = fresh.path(CONFIG).read_text()
    setup(fresh, "--model", "dht11")
    assert fresh.path(CONFIG).read_text() == config.replace(
        'driver = "fake"\n', 'driver = "fake"\nmodel = "dht11"\n', 1
    )
    assert fresh.show("MainPID") != before


def test_a_start_that_fails_leaves_the_service_with_its_previous_settings(fresh):
    by_group_key(fresh)
    config, addition = fresh.path(CONFIG).read_text(), fresh.path(ADDITION)
    addition.write_text(f"[Service]\nExecStartPre=/bin/sh -c '! grep -q dht11 {CONFIG}'\n")
    try:
        done = setup(fresh, "--model", "dht11", check=False)
    finally:
        addition.unlink()
        fresh.run("systemctl", "daemon-reload")
    assert done.returncode == 1
    assert "The service does not start." in done.stderr
    assert "starting the service with its previous settings" in done.stderr
    assert fresh.path(CONFIG).read_text() == config
    assert fresh.is_active()
    fresh.until_connected()


def test_a_service_that_cannot_connect_is_reported_and_continues(fresh):
    fresh.put("/root/wrong.key", base64.b64encode(b"x" * 32).decode(), mode="600")
    done = setup(
        fresh,
        *("--id-scope", fresh.central["id_scope"], "--key-file", "/root/wrong.key"),
        *("--provisioning-host", CENTRAL_ADDRESS, "--ca-file", AUTHORITY),
        *("--device-id", "pi-wrong", "--fake-hw"),
        check=False,
    )
    assert done.returncode == 1
    assert "sensor-agent runs as pi-wrong, but is not connected: " in done.stderr
    assert fresh.is_active()


def test_a_pasted_connection_string_is_not_shown_and_connects_the_service(fresh):
    string = connection_string(fresh)
    fresh.rest("PUT", f"/api/devices/{DEVICE}", {"displayName": "A shed"}, status=200)
    done = fresh.run("python3", "-c", TYPE, "--fake-hw", "--ca-file", AUTHORITY, input=string)
    assert f"Device id: {DEVICE}" in done.stdout
    assert f"is connected to {CENTRAL_ADDRESS}." in done.stdout
    assert string[-30:] not in done.stdout
    assert fresh.path(STRING).read_text() == f"{string}\n"
    assert not fresh.path(OWN_KEY).exists()


@pytest.fixture
def boot(fresh):
    """The machine with a service that runs, and a boot partition that can hold one small file."""
    by_group_key(fresh)
    fresh.run("mkdir", "-p", "/boot/firmware")
    fresh.run("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", "/boot/firmware")
    fresh.run("sh", "-c", "echo dtparam=audio=on >/boot/firmware/config.txt")
    fresh.run("mkdir", "/boot/firmware/overlays")
    fresh.run("touch", "/boot/firmware/overlays/dht11.dtbo")
    yield fresh
    fresh.run("umount", "/boot/firmware")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (
            "mount -o remount,ro /boot/firmware",
            "read-only file system. To make it writable: sudo mount -o remount,rw /boot/firmware",
        ),
        (
            "mount -o remount,size=4k,nr_inodes=4 /boot/firmware",
            "no space left on device. Remove files that are not needed from /boot/firmware.",
        ),
    ],
)
def test_a_boot_partition_that_cannot_be_written_changes_nothing(boot, harm, sentence):
    config = boot.path(CONFIG).read_text()
    before = boot.show("MainPID")
    boot.run("sh", "-c", harm)
    done = setup(boot, "--driver", "kernel", check=False)
    assert done.returncode == 1
    assert f"/boot/firmware/config.txt, which is unchanged: {sentence}" in done.stderr
    assert boot.out("sh", "-c", "cd /boot/firmware; cat config.txt; ls -A") == (
        "dtparam=audio=on\nconfig.txt\noverlays\n"
    )
    assert boot.path(CONFIG).read_text() == config
    assert boot.show("MainPID") == before


def test_enter_connects_to_the_central_of_the_same_machine(with_central):
    done = with_central.run("python3", "-c", TYPE, "--fake-hw", input="\n")
    assert f"Enter connects to the local IoT Central in {CENTRAL_DATA}" in done.stdout
    assert f"is connected to {CENTRAL_ADDRESS}." in done.stdout
    assert "or http://127.0.0.1:8080" in done.stdout
    assert "group key" not in done.stdout  # It is central's own.
