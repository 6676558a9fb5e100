import re
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from examinations import CONFIG, FAKE, examination, raspberry_pi, write_key
from places import ROOT

from agent.config.loader import SensorConfig
from agent.diagnostics.checks import software
from agent.diagnostics.finding import Outcome

SETUP = (ROOT / "setup.cfg").read_text()
VERSIONS = {"azure-iot-device": "2.14.0", "gpiozero": "2.0.1.post3", "lgpio": "0.2.2.0"}


@pytest.fixture
def packages(tmp_path):
    raspberry_pi(tmp_path)

    def packages(config=CONFIG, *, missing=(), **versions):
        known = VERSIONS | {name.replace("_", "-"): found for name, found in versions.items()}

        def version(name):
            if known.get(name) is None:
                raise PackageNotFoundError(name)
            return known[name]

        return software.packages(
            examination(
                tmp_path, config, is_installed=lambda one: one not in missing, version=version
            )
        )

    return packages


def test_every_mistake_is_listed_and_the_first_is_in_the_line(tmp_path):
    finding = software.configuration(examination(tmp_path, mistakes=("a is wrong", "b is wrong")))
    assert finding.outcome is Outcome.FAILED
    assert finding.line == "a is wrong (and 1 more)"
    assert finding.details == ("a is wrong", "b is wrong")


def test_a_configuration_that_this_user_may_not_read_needs_no_correction(tmp_path):
    (tmp_path / "config.toml").touch()
    finding = software.configuration(
        examination(tmp_path, mistakes=("It cannot be read.",), may_read=lambda _: False)
    )
    assert finding.line == "It cannot be read."
    assert str(finding.advice).startswith("Use sudo")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": None}, "no configuration file"),
        ({"config": replace(CONFIG, cloud=None)}, "no [cloud] section"),
        ({"config_in_file": replace(CONFIG, sensor=SensorConfig(pin=5))}, "was changed after"),
    ],
)
def test_a_configuration_that_may_not_be_intended_is_a_warning(tmp_path, options, words):
    finding = software.configuration(examination(tmp_path, **options))
    assert finding.outcome is Outcome.WARNING
    assert words in finding.line


def test_the_required_packages_depend_on_the_drivers(packages):
    everything = packages(missing={"azure", "adafruit_dht", "gpiozero"})
    assert everything.line == (
        "Not installed: azure-iot-device, adafruit-circuitpython-dht, gpiozero."
    )
    assert packages(FAKE, missing={"azure", "adafruit_dht", "gpiozero"}).outcome is Outcome.OK


def test_versions_are_in_the_details(packages):
    details = packages().details
    assert "azure-iot-device 2.14.0" in details
    assert "systemd-python (version unknown)" in details
    assert details[0].startswith("Python 3.")


def test_another_package_with_the_same_module_is_found(packages):
    assert "lgpio 0.2.2.1" in packages(lgpio=None, adafruit_lgpio="0.2.2.1").details


def test_an_empty_placeholder_of_lgpio_fails(packages):
    finding = packages(lgpio="0.0.0.2")
    assert finding.outcome is Outcome.FAILED
    assert "placeholder" in finding.line


@pytest.mark.parametrize("version", ["2.13.0", "2.16.0", "3.0.0"])
def test_an_untested_version_of_the_sdk_is_a_warning(packages, version):
    finding = packages(azure_iot_device=version)
    assert finding.outcome is Outcome.WARNING
    assert version in finding.line
    [required] = re.findall(r"^\s+azure-iot-device (\S+)$", SETUP, re.MULTILINE)
    assert f"azure-iot-device{required}" in finding.advice


@pytest.mark.parametrize("version", ["2.14.0", "2.15.0rc1", "2.15.1"])
def test_a_tested_version_of_the_sdk_is_ok(packages, version):
    assert packages(azure_iot_device=version).outcome is Outcome.OK


def may_not(path, **_keywords):
    raise PermissionError(13, "Permission denied", str(path))


def test_a_secret_that_only_root_can_read_is_skipped(tmp_path, monkeypatch):
    write_key(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", may_not)
    finding = software.secrets(examination(tmp_path))
    assert finding.outcome is Outcome.SKIPPED
    assert "sudo sensor-agent check" in finding.line
    finding = software.secrets(examination(tmp_path, is_root=True))
    assert finding.outcome is Outcome.FAILED
    assert f"{tmp_path}/key: mode 0600" in finding.details[1]


def test_secrets_in_a_directory_that_only_root_can_search_are_skipped(tmp_path, monkeypatch):
    stat = Path.stat

    def closed(path, **keywords):
        return (may_not if path.parent.name == "credentials" else stat)(path, **keywords)

    monkeypatch.setattr(Path, "stat", closed)
    monkeypatch.setattr(Path, "read_bytes", may_not)
    assert software.secrets(examination(tmp_path)).outcome is Outcome.SKIPPED


def test_a_missing_secret_fails(tmp_path):
    finding = software.secrets(examination(tmp_path))
    assert finding.outcome is Outcome.FAILED
    assert f"{tmp_path}/key: No such file" in finding.details[1]


@pytest.mark.parametrize("place", [".", "credentials"])
def test_secrets_are_described_by_mode_and_owner_and_never_shown(tmp_path, place):
    (tmp_path / place).mkdir(exist_ok=True)
    key = write_key(tmp_path).rename(tmp_path / place / "key")
    finding = software.secrets(examination(tmp_path))
    assert finding.outcome is Outcome.OK
    assert f"{key}: mode 0600" in finding.details[0]
    assert key.read_text() not in str(finding)
