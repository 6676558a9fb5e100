"""`sensor-agent config apply` against the whole daemon, connected to central."""

import json

import pytest
from daemons import Daemon, agent, places, until


@pytest.fixture
def daemon(central, tmp_path, device_id):
    with Daemon(tmp_path / "pi", central, device_id=device_id) as daemon:
        yield daemon.until_connected()


@pytest.fixture
def edit(daemon):
    """Replace text in the daemon's configuration file."""

    def edit(before, after):
        file = daemon.home / "config.toml"
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))

    return edit


def config(daemon, *words, file=None):
    return agent(
        "config", *words, "--config", file or daemon.home / "config.toml", env=places(daemon.home)
    )


def test_a_change_applies_and_is_reported_to_the_hub(daemon, hub, edit):
    edit("interval = 0.1", "interval = 7")
    edit('driver = "fake"\n[log]', 'driver = "fake"\npin = 5\n[log]')
    done = config(daemon, "apply")
    file = daemon.home / "config.toml"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Applied {file}: interval in [sensor].\n")
    assert "These changes need a restart: pin in [led]." in done.stdout
    assert daemon.status()["sensor"]["interval"] == 7

    def reported():
        return hub.reported().get("telemetryInterval", {})

    until(lambda: reported().get("value") == 7, what=daemon.tail)
    assert (reported()["ac"], reported()["av"]) == (203, 0)
    again = config(daemon, "apply")
    assert again.stdout.startswith(f"These changes in {file} need a restart: pin in [led].")
    assert daemon.log.count("Applied ") == 1


def test_a_mistake_is_printed_as_config_check_prints_it(daemon, edit):
    edit("interval = 0.1", "intervall = 7\npin = 99")
    checked, applied = config(daemon, "check"), config(daemon, "apply")
    assert checked.returncode == applied.returncode == 78
    assert applied.stderr == checked.stderr
    assert len(applied.stderr.splitlines()) == 2
    assert daemon.status()["sensor"]["interval"] == 0.1
    assert daemon.log.count("Cannot apply the changed configuration") == 1


def test_a_mistake_in_a_key_file_is_found_too(daemon, edit, tmp_path):
    key = tmp_path / "empty.key"
    key.write_text("")
    key.chmod(0o600)
    text = (daemon.home / "config.toml").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("group_key_file")]
    edit(line, f"group_key_file = {json.dumps(str(key))}")
    done = config(daemon, "apply")
    assert done.returncode == 78
    assert f"{key} is empty." in done.stderr


def test_the_operators_interval_stays_in_force(daemon, hub, edit):
    hub.set(telemetryInterval=30)
    until(lambda: daemon.status()["sensor"]["interval"] == 30, what=daemon.tail)
    edit("interval = 0.1", "interval = 7")
    assert "The operator's value stays in force for" in config(daemon, "apply").stdout
    assert daemon.status()["sensor"]["interval"] == 30


def test_the_daemons_own_file_is_applied_and_named(daemon, edit, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text("[sensor]\ninterval = 50\n")
    edit("interval = 0.1", "interval = 7")
    done = config(daemon, "apply", file=other)
    file = daemon.home / "config.toml"
    assert done.returncode == 0
    assert f"Applied {file}: interval in [sensor]." in done.stdout
    assert done.stderr == f"The daemon uses {file}, and not {other}.\n"
    assert daemon.status()["sensor"]["interval"] == 7


def test_without_a_daemon_there_is_one_sentence(tmp_path):
    done = agent("config", "apply", env=places(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("No daemon answers at ")
