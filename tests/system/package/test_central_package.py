"""The package of central on the machine beside: a service of its own, and little that it may do."""

import json

import pytest
from package_pis import CENTRAL_ADDRESS, CENTRAL_DATA, install_package

UNIT = "sensor-agent-central"
# Arguments: the console's URL, the authority's file, and the header Authorization or nothing.
FETCH = """
import ssl, sys, urllib.error, urllib.request
url, authority, *token = sys.argv[1:]
headers = {"Authorization": token[0]} if token else {}
request = urllib.request.Request(url + "console/api/central", headers=headers)
try:
    context = ssl.create_default_context(cafile=authority)
    print(urllib.request.urlopen(request, context=context, timeout=20).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture
def neighbour(pi):
    return pi.neighbour


def test_it_runs_as_a_user_of_its_own(neighbour):
    shown = neighbour.out("systemctl", "show", UNIT, "--property", "ActiveState,UnitFileState,User")
    assert sorted(shown.split()) == [
        "ActiveState=active",
        "UnitFileState=enabled",
        "User=sensor-agent-central",
    ]
    mode = neighbour.out("stat", "--format", "%a %U:%G", CENTRAL_DATA).strip()
    assert mode == "700 sensor-agent-central:sensor-agent-central"


def test_its_page_is_on_loopback_only(neighbour):
    listening = neighbour.out("ss", "--listening", "--tcp", "--numeric", "--no-header")
    addresses = {line.split()[3] for line in listening.splitlines()}
    assert "127.0.0.1:8080" in addresses
    assert f"{CENTRAL_ADDRESS}:8883" in addresses


@pytest.fixture
def opened(neighbour):
    """The console's URL on the network, and a viewer's token."""
    command = ("runuser", "-u", UNIT, "--", "sensor-agent", "central", "--data", CENTRAL_DATA)
    install = ("install", "-m", "600", "-o", UNIT, "/dev/stdin", "/run/password")
    neighbour.run(*install, input="correct horse battery\n")
    words = ("--role", "administrator", "--password-file", "/run/password")
    neighbour.run(*command, "user", "add", "ann", *words)
    token = neighbour.out(*command, "token", "add", "script", "--role", "viewer").strip()
    addition = neighbour.path(f"/etc/systemd/system/{UNIT}.service.d/console.conf")
    addition.write_text(f"[Service]\nEnvironment=CONSOLE={CENTRAL_ADDRESS}\n")
    restart(neighbour)
    yield json.loads(neighbour.path(f"{CENTRAL_DATA}/central.json").read_text())["http"], token
    addition.unlink()
    restart(neighbour)


def restart(machine):
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)


def test_its_console_is_opened_to_a_network_with_tls_and_sign_in(neighbour, pi, opened):
    url, token = opened
    assert url == f"https://{CENTRAL_ADDRESS}:8443/"
    authority = neighbour.path(f"{CENTRAL_DATA}/console-ca.pem").read_text()
    pi.put("/root/console-ca.pem", authority, mode="600")
    fetch = ("python3", "-c", FETCH, url, "/root/console-ca.pem")
    assert pi.out(*fetch) == "401\n"
    assert pi.out(*fetch, token) == "200\n"


def test_its_unit_is_clean_and_its_exposure_small(neighbour):
    done = neighbour.run("systemd-analyze", "verify", f"/usr/lib/systemd/system/{UNIT}.service")
    assert (done.stdout, done.stderr) == ("", "")
    neighbour.run("systemd-analyze", "security", "--threshold=15", f"{UNIT}.service")


def test_the_service_on_the_same_machine_is_pointed_at_it_by_one_answer(with_central):
    said = with_central.out("sensor-agent", "setup", "--fake-hw", "--central", CENTRAL_DATA)
    assert f"and is connected to {CENTRAL_ADDRESS}." in said


def test_purged_alone_it_leaves_the_daemon(pi):
    install_package(pi, pi.debs["sensor-agent"], pi.debs["sensor-agent-central"])
    pi.run("systemctl", "is-active", UNIT)
    said = pi.apt("purge", UNIT)
    assert f"{CENTRAL_DATA}, with devices, keys and readings, stays until" in said
    assert not pi.path(CENTRAL_DATA).exists()
    assert not pi.path("/usr/lib/sensor-agent/central").exists()
    assert pi.run("getent", "passwd", UNIT, check=False).returncode != 0
    assert pi.out("sensor-agent", "--version").startswith("sensor-agent 0.1.0")
