from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from agent.config.loader import CloudConfig, Config, DeviceConfig, LedConfig, SensorConfig
from agent.diagnostics.checks import software
from agent.diagnostics.checks.finding import Outcome
from agent.errors import SecretError

CONFIG = Config(
    device=DeviceConfig(id="pi-1"),
    cloud=CloudConfig(id_scope="0ne0", key_file=Path("key")),
    sensor=SensorConfig(driver="dht22"),
    led=LedConfig(driver="gpiozero"),
)
FILE = Path("/etc/sensor-agent/config.toml")
VERSIONS = {"azure-iot-device": "2.14.0", "gpiozero": "2.0.1.post3", "lgpio": "0.2.2.0"}


def packages(config=CONFIG, *, missing=(), **versions):
    known = VERSIONS | {name.replace("_", "-"): found for name, found in versions.items()}

    def version(name):
        if known.get(name) is None:
            raise PackageNotFoundError(name)
        return known[name]

    return software.packages(config, find=lambda module: module not in missing, version=version)


def test_every_mistake_is_there_and_the_first_is_in_the_line():
    finding = software.configuration(FILE, ("a is wrong", "b is wrong"), CONFIG, in_file=None)
    assert finding.outcome is Outcome.FAILED
    assert finding.line == "a is wrong (and 1 more)"
    assert finding.details == ("a is wrong", "b is wrong")


@pytest.mark.parametrize(
    ("path", "config", "in_file", "words"),
    [
        (None, CONFIG, None, "no configuration file"),
        (FILE, replace(CONFIG, cloud=None), None, "no [cloud] section"),
        (FILE, CONFIG, replace(CONFIG, sensor=SensorConfig(pin=5)), "was changed since"),
    ],
)
def test_a_configuration_that_is_not_what_was_meant_is_a_warning(path, config, in_file, words):
    finding = software.configuration(path, (), config, in_file=in_file)
    assert finding.outcome is Outcome.WARNING
    assert words in finding.line


def test_what_is_needed_depends_on_the_drivers():
    everything = packages(missing={"azure", "adafruit_dht", "gpiozero"})
    assert everything.line == (
        "Not installed: azure-iot-device, adafruit-circuitpython-dht, gpiozero."
    )
    fake = Config(
        device=DeviceConfig(id="x"),
        sensor=SensorConfig(driver="fake"),
        led=LedConfig(driver="fake"),
    )
    assert packages(fake, missing={"azure", "adafruit_dht", "gpiozero"}).outcome is Outcome.OK


def test_versions_are_told():
    details = packages().details
    assert "azure-iot-device 2.14.0" in details
    assert "systemd-python (version unknown)" in details
    assert details[0].startswith("Python 3.")


def test_the_module_of_another_package_is_found():
    assert "lgpio 0.2.2.1" in packages(lgpio=None, adafruit_lgpio="0.2.2.1").details


def test_an_empty_placeholder_is_recognised():
    finding = packages(lgpio="0.0.0.2")
    assert finding.outcome is Outcome.FAILED
    assert "placeholder" in finding.line


def test_an_sdk_that_was_not_tested_is_a_warning():
    finding = packages(azure_iot_device="2.15.0")
    assert finding.outcome is Outcome.WARNING
    assert "2.15.0" in finding.line


def not_ours():
    refused = PermissionError(13, "Permission denied")
    raise SecretError("key cannot be read: Permission denied.") from refused


def test_a_secret_that_only_root_may_read_is_no_failure_of_it():
    ask = software.secrets(not_ours, [Path("/nowhere/key")], may_ask_root=True)
    assert ask.outcome is Outcome.SKIPPED
    assert "sudo" in ask.line
    itself = software.secrets(not_ours, [Path("/nowhere/key")], may_ask_root=False)
    assert itself.outcome is Outcome.FAILED
    assert "/nowhere/key: No such file" in itself.details[1]


def test_secrets_are_told_by_mode_and_owner_and_never_by_what_is_in_them(tmp_path):
    key = tmp_path / "key"
    key.write_text("c2VjcmV0")
    key.chmod(0o600)
    finding = software.secrets(lambda: None, [key], may_ask_root=False)
    assert finding.outcome is Outcome.OK
    assert "mode 0600" in finding.details[0]
    assert "c2VjcmV0" not in str(finding)
