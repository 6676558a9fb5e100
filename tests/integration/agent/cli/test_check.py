"""`sensor-agent check` beside a daemon, without one, and with a wrong configuration."""

import json
import os
import re
import stat
from importlib.metadata import version
from pathlib import Path

import pytest
from daemons import Daemon, agent, places, until
from ordinary import AS_ORDINARY_USER
from ways import PROVISIONING, with_provisioning

from agent.diagnostics.runner import IDS
from central.protocol.sas import derive_device_key
from central.storage import history

PASSES = ["packages", "sensor", "led", "disk-space", "outbox"]
ROUTES = {PROVISIONING: ("provisioning", "hub")}


@pytest.fixture
def device_id(way):
    """A device for each way, because all tests share one central."""
    return f"pi-{way}"


@pytest.fixture
def home(tmp_path, central, way, device_id):
    """A directory of a daemon that is configured but not running."""
    Daemon(tmp_path / "pi", central, way, device_id=device_id)
    (tmp_path / "pi" / "state").mkdir()
    return tmp_path / "pi"


def check(home, *arguments, config=None, **options):
    config = config or home / "config.toml"
    return agent("check", "--config", config, *arguments, env=places(home), **options)


def network(way):
    """Return the checks of the servers that a device reaches."""
    return [one for one in IDS if one.startswith(ROUTES.get(way, "hub"))]


def outcomes(done):
    return {one["id"]: one["outcome"] for one in json.loads(done.stdout)["checks"]}


def test_without_a_daemon_the_command_runs_the_checks(home, central, way, device_id):
    done = check(home, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = outcomes(done)
    assert list(told) == list(IDS)
    for name in [*PASSES, "configuration", "secrets", "registration", *network(way)]:
        assert told[name] == "ok", (name, done.stdout)
    assert told["daemon"] == "warning"
    # The check registers the device and does not connect, or it signs in to the configured hub.
    expected = {"registered"} if way == PROVISIONING else {"connected", "disconnected"}
    # Central may hear of the end only after the command has ended.
    until(lambda: events(central, device_id) >= expected)
    assert events(central, device_id) == expected


def test_beside_a_daemon_the_daemon_runs_the_checks(central, tmp_path, way):
    device_id = f"pi-both-{way}"
    with Daemon(tmp_path / "pi", central, way, device_id=device_id, interval=1) as daemon:
        daemon.until_connected()
        until(lambda: daemon.status()["sensor"]["last"], what=daemon.tail)
        done = check(daemon.home, "--json")
        answer = json.loads(done.stdout)
        assert answer["asked_daemon"] is True
        assert done.returncode == 0, done.stdout
        told = outcomes(done)
        for name in [*PASSES, "daemon", "configuration", "secrets", "registration", *network(way)]:
            assert told[name] == "ok", (name, done.stdout)
        # The only connection is the daemon's.
        connections = central.read(history.connections, device_id)
        assert [one.event for one in connections if one.event != "registered"] == ["connected"]
        (daemon.home / "config.toml").write_text("[sensor]\npin = 99\n")
        changed = check(daemon.home, "--only", "configuration")
        assert changed.returncode == 1
        assert "pin = 99" in changed.stdout
        assert "run by the daemon" in changed.stdout
        assert changed.stdout.endswith("Follow the advice above, then run this command again.\n")


def test_a_wrong_configuration_is_one_finding_and_other_checks_run(home):
    (home / "config.toml").write_text('[sensor]\ndriver = "fake"\npin = 99\n')
    done = check(home, "--fake-hw")
    assert done.returncode == 1
    assert re.search(r"^failed   configuration .*pin = 99", done.stdout, re.MULTILINE)
    assert re.search(r"^\w+ +disk-space ", done.stdout, re.MULTILINE)
    assert re.search(
        r"^skipped +secrets .*the check configuration failed", done.stdout, re.MULTILINE
    )
    assert "Traceback" not in done.stderr


def test_a_missing_configuration_file_is_a_finding(home):
    done = check(home, "--only", "configuration", config=home / "none.toml")
    assert done.returncode == 1
    assert "there is no such file" in done.stdout


def test_only_the_chosen_checks_run(home):
    done = check(home, "--only", "led,disk-space", "--only", "clock", "--skip", "clock")
    assert [line.split()[1] for line in done.stdout.splitlines()[:-1]] == ["led", "disk-space"]
    assert done.stdout.splitlines()[-1] == (
        "2 checks: 2 ok, 0 warning, 0 failed, 0 skipped. No problems were found."
    )
    assert check(home, "--only", "lid").returncode == 2


def give_key(home, *, mode):
    """Replace the group key by a key of the device."""
    key = home / "pi.key"
    key.write_text("c2VjcmV0IGtleSBvZiBubyB1c2U=")
    key.chmod(mode)
    config = (home / "config.toml").read_text()
    (home / "config.toml").write_text(re.sub("group_key_file = .*", 'key_file = "pi.key"', config))


def test_verbose_prints_details(home):
    details = f"azure-iot-device {version('azure-iot-device')}"
    assert details not in check(home, "--only", "packages").stdout
    assert details in check(home, "--only", "packages", "--verbose").stdout


@with_provisioning
def test_a_wrong_key_fails_the_registration(home):
    give_key(home, mode=0o600)
    done = check(home, "--json", "--only", "registration,hub")
    assert done.returncode == 1
    assert outcomes(done)["registration"] == "failed"
    assert outcomes(done)["hub-dns"] == "skipped"


@with_provisioning
def test_a_key_without_read_permission_is_skipped(home):
    give_key(home, mode=0o000)
    names = ("--only", "secrets,provisioning,registration")
    done = check(home, "--json", *names, program=AS_ORDINARY_USER)
    told = outcomes(done)
    assert told["provisioning-tls"] == "ok"
    if os.getuid() == 0:  # Root without its capabilities is still root, so the check fails.
        assert (told.pop("secrets"), done.returncode) == ("failed", 1)
    else:
        assert (told.pop("secrets"), done.returncode) == ("skipped", 0)
    assert told["registration"] == "skipped"


def test_the_report_has_every_check_and_no_key(home, central, device_id, tmp_path):
    report = tmp_path / "report.txt"
    done = check(home, "--report", str(report), "--json")
    assert done.returncode == 0
    json.loads(done.stdout)
    text = report.read_text()
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    assert all(f": {name}: " in text for name in IDS)
    group_key = Path(central.info["group_key_file"]).read_text().strip()
    for secret in (group_key, derive_device_key(group_key, device_id)):
        assert secret not in text + done.stdout + done.stderr


def test_a_report_that_cannot_be_written_is_an_error(home, tmp_path):
    done = check(home, "--only", "led", "--report", str(tmp_path / "none" / "report.txt"))
    assert done.returncode == 1
    assert "Cannot write" in done.stderr


def test_a_daemon_that_does_not_answer_is_a_finding(home, monkeypatch):
    # As if the daemon's event loop hangs.
    from agent.cli import check as check_command  # noqa: PLC0415 - used in this process only here.
    from agent.errors import ControlError  # noqa: PLC0415 - the same.

    def refuse(*_, **__):
        raise ControlError("The daemon did not answer within 30 s.")

    monkeypatch.setattr(check_command, "ask", refuse)
    asked, refusal = check_command._ask_daemon(home / "run" / "control.sock", IDS)
    assert asked is None
    assert refusal is not None
    assert "did not answer" in refusal.sentence


def events(central, device_id):
    return {line.event for line in central.read(history.connections, device_id)}
