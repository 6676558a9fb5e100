"""How this copy of the program was installed, and how to install packages that it needs."""

import os
import platform
import re
import shlex
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from agent import __version__
from agent.errors import MissingPackagesError
from hw import DriverError
from hw.gpio import is_raspberry_pi

CENTRAL = {"aiohttp": "aiohttp", "cryptography": "cryptography", "wsproto": "wsproto"}
SDK = {"azure.iot.device": "azure-iot-device"}
"""Modules that a command needs, and the package of each."""

ROOT = Path(__file__).parents[2]
LAUNCHER = ROOT / "launch"  # The Debian package has it: see hw.sensors.child_process.
USE_FAKE = 'use --fake-hw, or set driver = "fake" in [sensor] and [led]'
DEBIAN = Path("/usr/lib/sensor-agent")  # Where the Debian package is.
REPOSITORY = Path("/etc/apt/sources.list.d/sensor-agent.sources")  # See docs/repository.md.
KEPT = Path("/usr/lib/sensor-agent.previous")  # Where it keeps the version before an upgrade.
ORIGINS = {DEBIAN: "package", KEPT: "previous package, because the upgrade is not complete"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """This copy of the program, and the Python that runs it."""

    root: Path  # The directory of the package `agent`.
    prefix: Path
    base_prefix: Path  # Of the Python that the virtual environment was made with.
    python: str
    in_venv: bool
    belongs_to_system: bool  # pip must not install there (PEP 668).
    has_pip: bool
    may_write: bool
    is_raspberry_pi: bool
    has_repository: bool  # Whether apt can fetch the Debian packages.

    @property
    def is_checkout(self) -> bool:
        return (self.root / "deploy" / "venv.sh").is_file()

    @property
    def is_debian_package(self) -> bool:
        return self.root in ORIGINS

    @property
    def is_pipx(self) -> bool:
        return (self.prefix / "pipx_metadata.json").exists()


def this_copy() -> Copy:
    """Return the running copy."""
    marker = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    in_venv = sys.prefix != sys.base_prefix
    return Copy(
        root=ROOT,
        prefix=Path(sys.prefix),
        base_prefix=Path(sys.base_prefix),
        python=sys.executable,
        in_venv=in_venv,
        belongs_to_system=not in_venv and (marker.exists() or sys.prefix == "/usr"),
        has_pip=find_spec("pip") is not None,
        may_write=os.access(sysconfig.get_path("purelib"), os.W_OK),
        is_raspberry_pi=is_raspberry_pi(),
        has_repository=REPOSITORY.exists(),
    )


def origin(root: Path = ROOT) -> str:
    """Return where the program comes from: a Debian package, or the copy that it keeps. Else ""."""
    return ORIGINS.get(root, "")


def described(version: str, origin: str) -> str:
    """Return how a version of the program is named to people."""
    return f"sensor-agent {version}" + (f" ({origin})" if origin else "")


def own_command() -> list[str]:
    """Return the command that starts this program again."""
    return [str(LAUNCHER)] if LAUNCHER.exists() else [sys.executable, "-m", "agent"]


def need(packages: Mapping[str, str], *, what: str, extra: str = "") -> None:
    """Raise MissingPackagesError if one of these packages is missing.

    `packages` maps each module to its package. `what` needs them, and `extra` in setup.cfg has
    them.
    """
    missing = [package for module, package in packages.items() if not is_installed(module)]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise MissingPackagesError(
            f"{what} needs {listed(missing)}, which {are} not installed. "
            f"{sentence(missing, extra=extra)}"
        )


def is_installed(module: str) -> bool:
    """Return whether `module` can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # The package of a module in a package.
        return False


def with_advice(error: DriverError) -> str:
    """Return the sentences of `error`, and what to do about it.

    That is how to install packages that are missing, or to use the fake drivers.
    """
    if error.packages or not this_copy().is_raspberry_pi:
        return f"{error} {driver_advice(error)}"
    return str(error)


def driver_advice(error: DriverError) -> str:
    """Return what to do about a driver that cannot work here."""
    if error.packages:
        return sentence(error.packages, extra="pi")
    if this_copy().is_raspberry_pi:
        return "Set another driver in [sensor] or [led]."
    return f"{_capitalized(USE_FAKE)}."


def sentence(packages: Sequence[str], *, extra: str) -> str:
    """Return `advice` as a sentence."""
    return _capitalized(advice(packages, extra=extra))


def _capitalized(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def advice(packages: Sequence[str], *, extra: str, copy: Copy | None = None) -> str:
    """Return how to install `packages` for this copy: "to install them: COMMAND".

    In a checkout the command names the extra, elsewhere the packages, because the project
    sensor-agent on the package index is not this program.
    """
    copy = copy or this_copy()
    if extra == "pi" and not copy.is_raspberry_pi:
        return f"this machine is not a Raspberry Pi: {USE_FAKE}"
    if copy.is_debian_package:
        return _of_debian(packages, extra, has_repository=copy.has_repository)
    if "lgpio" in packages and lgpio_wheel() is None:
        others = [package for package in packages if package != "lgpio"]
        more = f"; then {advice(others, extra=extra, copy=copy)}" if others else ""
        return f"{_lgpio_of_system(copy)}{more}"
    return _advice(packages, copy, extra=extra)


def _of_debian(packages: Sequence[str], extra: str, *, has_repository: bool) -> str:
    """Return how to install what the Debian package sensor-agent does not bring, or has lost."""
    ours = {"pi": "sensor-agent-adafruit", "": "sensor-agent"}.get(extra, "sensor-agent-central")
    names = [ours] if has_repository else [f"./{_deb(ours)}"]
    notes = [] if has_repository else [f"make deb builds {_deb(ours)} in dist/: docs/install.md"]
    if set(packages) == {"lgpio"}:
        names, notes = [], []
    if "lgpio" in packages:
        names.insert(0, "python3-lgpio")
        notes.insert(0, "Raspberry Pi OS has python3-lgpio, Debian does not")
    options = "" if extra else "--reinstall "
    note = f" ({'; '.join(notes)})" if notes else ""
    return f"to install {_them(packages)}: sudo apt install {options}{' '.join(names)}{note}"


def _deb(name: str) -> str:
    """Return the name of the package file of this version that `make deb` builds."""
    architecture = "all"
    if name == "sensor-agent-adafruit":
        # The 64-bit kernel of a 32-bit Raspberry Pi OS would name another one.
        architecture = "arm64" if sys.maxsize > 2**32 else "armhf"
    return f"{name}_{debian_version(__version__)}_{architecture}.deb"


def debian_version(version: str) -> str:
    """Return a version of Python's as one of Debian's, which sorts 1.0~rc1 before 1.0."""
    return re.sub(r"\.?(a|b|rc|dev)(?=\d)", r"~\1", version)


def _them(packages: Sequence[str]) -> str:
    return "it" if len(packages) == 1 else "them"


def _advice(packages: Sequence[str], copy: Copy, *, extra: str) -> str:
    them = _them(packages)
    if copy.is_checkout:
        return f"to install {them}: {_in_checkout(copy, extra)}"
    names = [(lgpio_wheel() or one) if one == "lgpio" else one for one in packages]
    command = _pip(names, copy, upgrade=extra == "pi")
    if copy.belongs_to_system:
        return (
            "this Python belongs to the system. Make a virtual environment "
            f"({shlex.quote(copy.python)} -m venv DIRECTORY), and install this program there, "
            f"together with {listed(names)}"
        )
    return f"to install {them}: {command}"


def _in_checkout(copy: Copy, extra: str) -> str:
    root = shlex.quote(str(copy.root))
    if not copy.in_venv:
        # The script makes a virtual environment, whichever Python this is.
        return (
            f"cd {root} && sh deploy/venv.sh {extra or 'central'}, and then use "
            ".venv/bin/sensor-agent there" + (" (or make demo)" if extra == "central" else "")
        )
    python = Path(copy.python)
    if copy.root in python.parents:
        python = python.relative_to(copy.root)
    source = shlex.quote(f".[{extra}]") if extra else "."
    if copy.has_pip:
        pip = f"{shlex.quote(str(python))} -m pip install"
    else:
        pip = f"uv pip install --python {shlex.quote(str(python))}"
    return f"cd {root} && {pip} -e {source}"


def _pip(names: Sequence[str], copy: Copy, *, upgrade: bool) -> str:
    quoted = " ".join(shlex.quote(name) for name in names)
    if copy.is_pipx:
        return f"pipx inject sensor-agent {quoted}"
    python = shlex.quote(copy.python)
    if not copy.has_pip:
        return f"uv pip install --python {python} {quoted}"
    sudo = "" if copy.may_write else "sudo "
    return f"{sudo}{python} -m pip install {'--upgrade ' if upgrade else ''}{quoted}"


def lgpio_wheel() -> str | None:
    """Return the package that brings the module lgpio to this Python; None if there is none.

    setup.cfg has the same rules: lgpio has wheels up to Python 3.12, and adafruit-lgpio has some
    for Python 3.13 on 64-bit ARM.
    """
    if sys.version_info < (3, 13):
        return "lgpio"
    # A 32-bit Raspberry Pi OS has a 64-bit kernel, which names the machine.
    is_64_bit_arm = platform.machine() == "aarch64" and sys.maxsize > 2**32
    return "adafruit-lgpio" if sys.version_info < (3, 14) and is_64_bit_arm else None


def _lgpio_of_system(copy: Copy) -> str:
    version = ".".join(str(number) for number in sys.version_info[:2])
    environment = "DIRECTORY"
    if copy.in_venv and copy.base_prefix == Path("/usr"):
        environment = shlex.quote(str(copy.prefix))
    more = "" if environment != "DIRECTORY" else " and install this program there"
    return (
        f"no package index has lgpio for Python {version} on this machine, so use the system's: "
        "sudo apt install python3-lgpio && "
        f"/usr/bin/python3 -m venv --system-site-packages {environment}{more}"
    )


def listed(names: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
