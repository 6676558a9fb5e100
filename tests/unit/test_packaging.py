import ast
import re
from configparser import ConfigParser
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import ROOT

PACKAGES = ("agent", "hw", "central")

# The rooms of agent/, from the street to the cellar. A module imports only what stands on a lower
# line than its own: those on one line are siblings, and whoever is above them hands them functions.
ROOMS = """
__main__
cli
run demo central_command at_hand check_command
service
requests
sampler uplink device control doctor lamp watchdog report
checks
checks.software checks.gpio checks.hardware checks.machine checks.storage checks.network
checks.finding
azure_session azure_registration registration_memory lanes troubles
azure_client telemetry
outbox
outbox_tables
store clock model credentials device_information worker
store_file config
config_text
config_keys
journal installation signals
terminal
errors events board local_time
"""
LEVEL = {name: level for level, line in enumerate(ROOMS.split("\n")) for name in line.split()}

# What only these modules may import.
ONLY = {
    "azure": {"agent.azure_client", "agent.azure_registration", "agent.azure_session"},
    "paho": {"agent.azure_client"},
    "systemd": {"agent.journal"},
    "aiohttp": {"central"},
    "trustme": {"central"},
    "wsproto": {"central"},
    "agent": {"agent"},
    "hw": {"agent", "hw"},
    "central": {"agent.central_command", "central"},
}

LONGEST = 400  # lines
NOT_OURS = re.compile(r"uPlot|node_modules", re.IGNORECASE)  # as their makers wrote it


def modules():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imports(path):
    """Yield the full names of what a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def module_of(name):
    """The module of ours that an imported name is or is in; None for anyone else's."""
    return next((known for known in (name, name.rpartition(".")[0]) if known in MODULES), None)


def room_of(module):
    return module.removeprefix("agent.")


def may_import(importer, name):
    allowed = ONLY.get(name.partition(".")[0])
    return allowed is None or any(f"{importer}.".startswith(f"{room}.") for room in allowed)


def test_what_is_checked_is_there():
    assert {"agent.cli", "agent.service", "hw.policy", "central"} <= set(MODULES)
    assert "hw.policy.Policy" in set(imports(MODULES["agent.sampler"]))


def test_every_room_of_the_agent_has_its_level_and_every_level_its_room():
    rooms = {room_of(name) for name in MODULES if name.startswith("agent.")}
    assert rooms == set(LEVEL)


@pytest.mark.parametrize("importer", [name for name in MODULES if name.startswith("agent.")])
def test_the_rooms_of_the_agent_import_only_what_is_below_them(importer):
    own = LEVEL[room_of(importer)]
    upwards = {
        name
        for name in map(module_of, imports(MODULES[importer]))
        if name and name.startswith("agent.") and LEVEL[room_of(name)] <= own
    }
    assert not upwards


@pytest.mark.parametrize("importer", MODULES)
def test_packages_are_imported_only_where_they_belong(importer):
    assert not [name for name in imports(MODULES[importer]) if not may_import(importer, name)]


def test_no_file_is_longer_than_a_room():
    longer = {
        str(path.relative_to(ROOT)): lines
        for folder in (*PACKAGES, "tests", "deploy")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".sh", ".js", ".css", ".html"} and not NOT_OURS.search(str(path))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert not longer


def test_the_base_install_has_only_what_the_daemon_needs():
    required = [Requirement(line) for line in metadata.requires("sensor-agent")]
    assert [need.name for need in required if need.marker is None] == ["azure-iot-device"]
    extras = metadata.metadata("sensor-agent").get_all("Provides-Extra")
    assert set(extras) == {"central", "pi", "service", "test"}


def test_the_command_is_installed():
    [script] = metadata.entry_points(group="console_scripts", name="sensor-agent")
    assert script.value == "agent.cli:main"


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
    for need in map(Requirement, metadata.requires("sensor-agent")):
        # These two have no part in an install on a PC: one is for the Pi, one must be compiled.
        if need.name in {"sensor-agent", "adafruit-lgpio", "systemd-python"}:
            continue
        assert need.specifier.contains(pins[canonicalize_name(need.name)]), need
