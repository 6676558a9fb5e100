import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from daemons import AGENT, agent

from agent.cli.parser import main
from agent.device.model import CELSIUS, FAHRENHEIT
from hw import DriverError, LedError
from hw.leds.fake_led import SimulatedLed


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path, ordinary_place, monkeypatch):
    monkeypatch.setenv("HOME", str(ordinary_place))  # Short enough for the path of a socket.
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


def config_file(directory, text):
    path = directory / "config.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    ended = agent(*arguments, env=os.environ | {"PYTHONPROFILEIMPORTTIME": "1"})
    assert ended.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "argparse" in imported
    heavy = (
        *("azure", "paho", "requests", "gpiozero", "asyncio.events"),
        *("central", "aiohttp", "cryptography", "sqlite3"),
    )
    assert not [name for name in imported if name.startswith(heavy)]


def test_the_version_is_the_installed_one(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("sensor-agent 0.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["demo", "--minutes", "soon"], "must be a number of minutes, not 'soon'"),
        (["demo", "--minutes", "nan"], "must be a number of minutes, not 'nan'"),
        (["read", "--count", "1.5"], "must be a whole number from 1, not '1.5'"),
        (["central", "--http-port", "http"], "must be a whole number from 0 to 65535, not 'http'"),
    ],
)
def test_a_wrong_number_is_reported_with_the_allowed_ones(capsys, arguments, sentence):
    with pytest.raises(SystemExit):
        main(arguments)
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["run", "--interval", "5"], ["led"], ["led", "blink"], ["led", "on", "3"],
     ["led", "blink", "3601"], ["led", "brightness", "0"],
     ["read", "--count", "0"], ["demo", "--minutes", "-1"], ["central", "--http-port", "70000"]],
)  # fmt: skip
def test_a_wrong_command_line_is_status_2(arguments):
    assert agent(*arguments).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "commands"), [([], ("run", "demo", "check")), (["config"], ("check", "example"))]
)
def test_without_a_command_the_commands_are_listed(arguments, commands, capsys):
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert all(re.search(rf"^    {command} +\w", shown, re.MULTILINE) for command in commands)


def test_run_without_a_cloud_is_status_78_with_advice():
    ended = agent("run")
    assert ended.returncode == 78
    assert "sensor-agent read" in ended.stderr
    assert "sensor-agent demo" in ended.stderr


def test_run_with_a_wrong_configuration_is_status_78_with_every_mistake(tmp_path):
    path = config_file(tmp_path, "[sensor]\nintervall = 60\npin = true\n")
    ended = agent("run", "--fake-hw", "--config", path)
    assert ended.returncode == 78
    assert 'did you mean "interval"?' in ended.stderr
    assert "pin = true" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_run_with_fake_hardware_and_no_cloud_prints_readings(tmp_path, ordinary_place):
    path = config_file(tmp_path, '[sensor]\ndriver = "fake"\ninterval = 0.05\n')
    with subprocess.Popen(
        [*AGENT, "run", "--fake-hw", "--config", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as daemon:
        assert daemon.stdout is not None
        lines = [daemon.stdout.readline() for _ in range(4)]
        asked = agent("status", "--json", "--config", path)
        daemon.send_signal(signal.SIGINT)
        _, log = daemon.communicate(timeout=30)
    assert "sensor-agent demo" in lines[0]
    assert all(line.endswith("%\n") and "°C" in line for line in lines[1:])
    assert daemon.returncode == 0
    assert "Stopped." in log
    status = json.loads(asked.stdout)
    assert status["cloud"] is None
    assert status["sensor"]["status"] == "ok"
    assert not list(ordinary_place.rglob("outbox"))


@pytest.mark.parametrize(("count", "words"), [(1, "1 reading"), (3, "3 readings")])
def test_reading_without_a_daemon(capsys, count, words):
    assert main(["read", "--fake-hw", "--count", str(count)]) == 0
    *readings, rate = capsys.readouterr().out.splitlines()
    assert len(readings) == count
    assert rate == f"{words}; {count} of {count} attempts answered (100%); faults: none"


def test_the_led_without_a_daemon_can_be_turned_off():
    assert main(["led", "off", "--fake-hw"]) == 0


@pytest.mark.parametrize(
    ("error", "status"),
    [(DriverError("There is no lgpio."), 78), (LedError("GPIO 17 is busy."), 1)],
)
def test_an_led_that_cannot_be_driven_is_reported(monkeypatch, capsys, error, status):
    def fail(_led, _level):
        raise error

    monkeypatch.setattr(SimulatedLed, "_drive", fail)
    assert main(["led", "on", "--fake-hw"]) == status
    assert str(error) in capsys.readouterr().err


@pytest.mark.parametrize(("unit", "dtmi"), [("celsius", CELSIUS), ("fahrenheit", FAHRENHEIT)])
def test_the_model_is_printed_as_configured(tmp_path, capsys, unit, dtmi):
    path = config_file(tmp_path, f'[sensor]\nunit = "{unit}"\n')
    assert main(["model", "--config", path]) == 0
    assert json.loads(capsys.readouterr().out)[0]["@id"] == dtmi


def test_the_example_passes_the_check(tmp_path, capsys):
    assert main(["config", "example"]) == 0
    path = config_file(tmp_path, capsys.readouterr().out)
    assert main(["config", "check", "--config", path]) == 0
    assert "no mistake found" in capsys.readouterr().out


def test_checking_a_missing_file_is_status_78(tmp_path, capsys):
    assert main(["config", "check", "--config", str(tmp_path / "none.toml")]) == 78
    assert "there is no such file" in capsys.readouterr().err


def test_checking_without_a_file_names_the_places_and_the_example(capsys, ordinary_place):
    assert main(["config", "check"]) == 78
    said = capsys.readouterr().err
    assert f"/etc/sensor-agent/config.toml or {ordinary_place}/.config/sensor-agent" in said
    assert "sensor-agent config example" in said


def test_checking_a_file_checks_the_keys_it_names(tmp_path, capsys):
    path = config_file(
        tmp_path,
        '[device]\nid = "pi-1"\n[cloud]\nid_scope = "0ne00000000"\nkey_file = "device.key"\n',
    )
    key = tmp_path / "device.key"

    def check():
        status = main(["config", "check", "--config", path])
        shown = capsys.readouterr()
        return status, shown.out + shown.err

    assert check()[0] == 78
    assert f"{key} does not exist." in check()[1]
    key.write_text("my key\n")
    key.chmod(0o644)
    assert f"chmod 600 {key}" in check()[1]
    key.chmod(0o600)
    assert f"{key} holds a character that no key has, at position 3." in check()[1]
    key.write_text("c2VjcmV0IGtleSBvZiBubyB1c2U=\n")
    assert check() == (
        0, f"{path}: no mistake found. To check hardware and connection: sensor-agent check\n"
    )  # fmt: skip


def test_keys_that_this_user_cannot_read_are_said_not_to_be_checked(tmp_path, capsys, monkeypatch):
    path = config_file(
        tmp_path,
        '[device]\nid = "pi-1"\n[cloud]\nid_scope = "0ne00000000"\nkey_file = "device.key"\n',
    )
    read = Path.read_bytes

    def may_not(file):
        if file.name == "device.key":
            raise PermissionError(13, "Permission denied")
        return read(file)

    monkeypatch.setattr(Path, "read_bytes", may_not)
    assert main(["config", "check", "--config", path]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "no mistake found. Its keys were not checked" in shown.out
    assert "sudo sensor-agent config check" in shown.out
