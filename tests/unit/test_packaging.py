import re
from configparser import ConfigParser
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import ROOT

PACKAGES = ("agent", "hw", "central")


def modules():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def test_the_base_install_has_only_what_the_daemon_needs():
    required = [Requirement(line) for line in metadata.requires("sensor-agent") or ()]
    assert [need.name for need in required if need.marker is None] == ["azure-iot-device"]
    extras = metadata.metadata("sensor-agent").get_all("Provides-Extra")
    assert set(extras or ()) == {"central", "docs", "pi", "service", "test"}


def test_the_command_is_installed():
    [script] = metadata.entry_points(group="console_scripts", name="sensor-agent")
    assert script.value == "agent.cli.parser:main"


def setup_cfg():
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_every_file_of_a_package_is_installed_with_it():
    data = setup_cfg()["options.package_data"]
    installed = set()
    for package in {path.parent for path in MODULES.values()}:
        name = ".".join(package.relative_to(ROOT).parts)
        assert (package / "__init__.py").exists(), f"{name} would not be found"
        for pattern in f"{data['*']}\n{data.get(name, '')}".split():
            installed.update(package.glob(pattern))
    there = {
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert ROOT / "agent" / "py.typed" in there
    assert not there - installed


def test_the_constraints_are_plain_pins_that_fit_what_is_required():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
        assert match, line
        pins[canonicalize_name(match[1])] = match[2]
    for need in map(Requirement, metadata.requires("sensor-agent") or ()):
        # These two have no part in an install on a PC: one is for the Pi, one must be compiled.
        if need.name in {"sensor-agent", "adafruit-lgpio", "systemd-python"}:
            continue
        assert need.specifier.contains(pins[canonicalize_name(need.name)]), need
