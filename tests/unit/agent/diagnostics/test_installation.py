"""Advice on missing packages fits the way the program was installed."""

import sys
from dataclasses import replace
from pathlib import Path

import build_debs
import pytest

from agent.diagnostics import installation
from agent.diagnostics.installation import (
    Copy,
    advice,
    debian_version,
    described,
    listed,
    need,
    origin,
    this_copy,
    with_advice,
)
from agent.errors import MissingPackagesError
from hw import DriverError

WHEEL = Copy(
    root=Path("/home/ada/venv/lib/python3.11/site-packages"),
    prefix=Path("/home/ada/venv"),
    base_prefix=Path("/usr"),
    python="/home/ada/venv/bin/python",
    in_venv=True,
    belongs_to_system=False,
    has_pip=True,
    may_write=True,
    is_raspberry_pi=True,
    has_repository=False,
)
SYSTEM = replace(
    WHEEL,
    prefix=Path("/usr"),
    python="/usr/bin/python3",
    in_venv=False,
    belongs_to_system=True,
    may_write=False,
)
DEBIAN = replace(SYSTEM, root=Path("/usr/lib/sensor-agent"))


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "venv.sh").touch()
    return replace(
        WHEEL, root=tmp_path, prefix=tmp_path / ".venv", python=str(tmp_path / ".venv/bin/python")
    )


def test_the_environment_of_a_checkout_gets_the_extra_from_the_source(checkout):
    assert advice(["cryptography"], extra="central", copy=checkout) == (
        f"to install it: cd {checkout.root} && .venv/bin/python -m pip install -e '.[central]'"
    )
    elsewhere = replace(checkout, python="/home/ada/my env/bin/python")
    assert "'/home/ada/my env/bin/python' -m pip" in advice(["x"], extra="pi", copy=elsewhere)
    assert advice(["azure-iot-device"], extra="", copy=checkout).endswith("pip install -e .")


def test_a_checkout_without_an_environment_is_advised_to_make_one(checkout):
    bare = replace(checkout, python="/usr/bin/python3", in_venv=False, belongs_to_system=True)
    said = advice(["aiohttp", "cryptography"], extra="central", copy=bare)
    assert f"cd {checkout.root} && sh deploy/venv.sh central" in said
    assert "make demo" in said
    assert "pip install" not in said


def test_other_environments_get_the_names_of_the_packages():
    assert advice(["aiohttp", "wsproto"], extra="central", copy=WHEEL) == (
        "to install them: /home/ada/venv/bin/python -m pip install aiohttp wsproto"
    )
    closed = replace(WHEEL, may_write=False)
    assert ": sudo /home/ada/venv/bin/python -m pip" in advice(["x"], extra="", copy=closed)


def test_an_environment_without_pip_uses_the_tool_that_made_it(tmp_path):
    made_by_uv = replace(WHEEL, has_pip=False)
    assert "uv pip install --python /home/ada/venv/bin/python cryptography" in advice(
        ["cryptography"], extra="central", copy=made_by_uv
    )
    (tmp_path / "pipx_metadata.json").touch()
    made_by_pipx = replace(WHEEL, has_pip=False, prefix=tmp_path)
    assert "pipx inject sensor-agent cryptography" in advice(
        ["cryptography"], extra="", copy=made_by_pipx
    )


def test_no_package_is_installed_into_the_systems_python():
    said = advice(["aiohttp", "cryptography"], extra="central", copy=SYSTEM)
    assert "/usr/bin/python3 -m venv" in said
    assert "pip install" not in said


IN_DIST = "make deb builds {} in dist/: docs/install.md"
ADAFRUIT = f"sensor-agent-adafruit_{build_debs.version()}_arm64.deb"
CENTRAL_DEB = f"sensor-agent-central_{build_debs.version()}_all.deb"
OURS = f"sensor-agent_{build_debs.version()}_all.deb"
NOT_DEBIAN = "Raspberry Pi OS has python3-lgpio, Debian does not"


@pytest.mark.parametrize(
    ("packages", "extra", "fetched", "built"),
    [
        (["aiohttp"], "central", "sensor-agent-central",
         f"./{CENTRAL_DEB} ({IN_DIST.format(CENTRAL_DEB)})"),
        (["lgpio"], "pi", f"python3-lgpio ({NOT_DEBIAN})", f"python3-lgpio ({NOT_DEBIAN})"),
        (["gpiod"], "pi", "sensor-agent-adafruit", f"./{ADAFRUIT} ({IN_DIST.format(ADAFRUIT)})"),
        (["gpiod", "lgpio"], "pi", f"python3-lgpio sensor-agent-adafruit ({NOT_DEBIAN})",
         f"python3-lgpio ./{ADAFRUIT} ({NOT_DEBIAN}; {IN_DIST.format(ADAFRUIT)})"),
        (["janus"], "", "--reinstall sensor-agent",
         f"--reinstall ./{OURS} ({IN_DIST.format(OURS)})"),
    ],
)  # fmt: skip
def test_the_debian_package_is_completed_with_packages(packages, extra, fetched, built):
    kept = replace(DEBIAN, root=Path("/usr/lib/sensor-agent.previous"))
    them = "them" if len(packages) > 1 else "it"
    for copy in (DEBIAN, kept):
        said = advice(packages, extra=extra, copy=replace(copy, has_repository=True))
        assert said == f"to install {them}: sudo apt install {fetched}"
        said = advice(packages, extra=extra, copy=copy)
        assert said == f"to install {them}: sudo apt install {built}"


def test_a_32_bit_system_gets_the_package_for_it(monkeypatch):
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert "_armhf.deb" in advice(["gpiod"], extra="pi", copy=DEBIAN)


@pytest.mark.parametrize("version", ["1.0", "1.0rc1", "1.0b2", "1.0.dev3"])
def test_the_package_files_are_named_as_make_deb_names_them(version):
    assert debian_version(version) == build_debs.debian_version(version)


def test_versions_name_the_package_that_they_come_from():
    assert described("1.0", origin(DEBIAN.root)) == "sensor-agent 1.0 (package)"
    assert described("1.0", origin(WHEEL.root)) == "sensor-agent 1.0"
    kept = described("1.0", origin(Path("/usr/lib/sensor-agent.previous")))
    assert kept == "sensor-agent 1.0 (previous package, because the upgrade is not complete)"


@pytest.mark.parametrize("copy", [WHEEL, SYSTEM])
@pytest.mark.parametrize("extra", ["", "pi", "central"])
def test_the_project_name_on_the_package_index_is_never_named(copy, extra):
    assert "sensor-agent[" not in advice(["aiohttp"], extra=extra, copy=copy)
    assert "install sensor-agent" not in advice(["aiohttp"], extra=extra, copy=copy)


def python(monkeypatch, *version, machine="aarch64", bits=64):
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(sys, "maxsize", 2 ** (bits - 1) - 1)
    monkeypatch.setattr("platform.machine", lambda: machine)


def test_lgpio_is_the_package_that_has_a_wheel(monkeypatch):
    python(monkeypatch, 3, 12, 4)
    assert advice(["lgpio"], extra="pi", copy=WHEEL).endswith(" lgpio")
    python(monkeypatch, 3, 13, 1)
    assert advice(["lgpio"], extra="pi", copy=WHEEL).endswith(" adafruit-lgpio")


@pytest.mark.parametrize(("version", "bits"), [((3, 13, 1), 32), ((3, 14, 0), 64)])
def test_without_a_wheel_lgpio_comes_from_the_system(monkeypatch, checkout, version, bits):
    python(monkeypatch, *version, bits=bits)
    for copy in (WHEEL, checkout):
        said = advice(["lgpio"], extra="pi", copy=copy)
        assert "sudo apt install python3-lgpio" in said
        assert said.endswith(f"python3 -m venv --system-site-packages {copy.prefix}")
    other_python = replace(WHEEL, base_prefix=Path("/usr/local"))
    assert "--system-site-packages DIRECTORY" in advice(["lgpio"], extra="pi", copy=other_python)
    both = advice(["lgpio", "gpiozero"], extra="pi", copy=WHEEL)
    assert both.endswith(
        "; then to install it: /home/ada/venv/bin/python -m pip install --upgrade gpiozero"
    )


@pytest.mark.parametrize("packages", [["lgpio"], ["gpiozero", "lgpio"]])
def test_a_machine_that_is_not_a_pi_is_advised_to_use_the_fake_drivers(checkout, packages):
    for copy in (WHEEL, DEBIAN, SYSTEM, checkout):
        said = advice(packages, extra="pi", copy=replace(copy, is_raspberry_pi=False))
        assert said.startswith("this machine is not a Raspberry Pi: use --fake-hw")
        assert 'driver = "fake"' in said
        assert "install" not in said


def test_this_copy_is_a_checkout_run_by_this_python():
    copy = this_copy()
    assert copy.is_checkout
    assert copy.python == sys.executable
    assert copy.prefix == Path(sys.prefix)


def test_missing_packages_are_named_with_the_command_that_needs_them(monkeypatch):
    need({"json": "json"}, what="sensor-agent demo")
    with pytest.raises(MissingPackagesError) as caught:
        need({"json": "json", "no_such": "nosuch"}, what="sensor-agent demo", extra="central")
    assert str(caught.value).startswith("sensor-agent demo needs nosuch, which is not installed. ")
    with pytest.raises(MissingPackagesError, match="needs azure-iot-device, which is not"):
        need({"no_such.iot.device": "azure-iot-device"}, what="sensor-agent run")


def test_a_driver_error_about_packages_ends_with_the_command(monkeypatch):
    monkeypatch.setattr(installation, "this_copy", lambda: WHEEL)
    lacking = DriverError("The package gpiozero is not installed.", packages=("gpiozero",))
    assert with_advice(lacking) == (
        "The package gpiozero is not installed. To install it: /home/ada/venv/bin/python -m pip "
        "install --upgrade gpiozero"
    )
    assert with_advice(DriverError("There is no GPIO 99.")) == "There is no GPIO 99."


def test_a_driver_error_without_a_pi_ends_with_the_fake_drivers(monkeypatch):
    monkeypatch.setattr(installation, "this_copy", lambda: replace(WHEEL, is_raspberry_pi=False))
    assert with_advice(DriverError("It has no pins.")) == (
        'It has no pins. Use --fake-hw, or set driver = "fake" in [sensor] and [led].'
    )


@pytest.mark.parametrize(
    ("names", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_are_listed_with_and(names, text):
    assert listed(names) == text
