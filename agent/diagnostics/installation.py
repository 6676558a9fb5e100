"""How this copy of the program was installed, and so how to add packages that it lacks."""

import os
import platform
import shlex
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from agent.errors import MissingPackagesError
from hw.errors import DriverError

CENTRAL = {"aiohttp": "aiohttp", "trustme": "trustme", "wsproto": "wsproto"}
SDK = {"azure.iot.device": "azure-iot-device"}
"""Modules, and the package of each."""

ROOT = Path(__file__).parents[2]
SERVICES = Path("/opt/sensor-agent")  # Where deploy/install.sh makes its virtual environments.


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Where this copy of the program is, and the Python that runs it."""

    root: Path  # The directory of the package `agent`.
    prefix: Path
    python: str
    in_venv: bool
    belongs_to_system: bool  # pip must not install there (PEP 668).
    has_pip: bool
    may_write: bool

    @property
    def is_checkout(self) -> bool:
        return (self.root / "deploy" / "venv.sh").is_file()

    @property
    def is_service(self) -> bool:
        return SERVICES in self.prefix.parents

    @property
    def is_pipx(self) -> bool:
        return (self.prefix / "pipx_metadata.json").exists()


def this_copy() -> Copy:
    """Return the running one."""
    marker = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    in_venv = sys.prefix != sys.base_prefix
    return Copy(
        root=ROOT,
        prefix=Path(sys.prefix),
        python=sys.executable,
        in_venv=in_venv,
        belongs_to_system=not in_venv and (marker.exists() or sys.prefix == "/usr"),
        has_pip=find_spec("pip") is not None,
        may_write=os.access(sysconfig.get_path("purelib"), os.W_OK),
    )


def need(packages: Mapping[str, str], *, what: str, extra: str = "") -> None:
    """Raise MissingPackagesError if one of these is missing.

    `packages` are modules with the package of each, `what` needs them, `extra` is that of setup.cfg
    which has them.
    """
    missing = [package for module, package in packages.items() if not is_installed(module)]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise MissingPackagesError(
            f"{what} needs {listed(missing)}, which {are} not installed; "
            f"{advice(missing, extra=extra)}"
        )


def is_installed(module: str) -> bool:
    """Return whether `module` could be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # Of a module in a package, the package.
        return False


def with_advice(error: DriverError) -> str:
    """Return the sentences of `error`, and how to install the packages it lacks, if any."""
    if not error.packages:
        return str(error)
    return f"{error} {sentence(error.packages, extra='pi')}"


def sentence(packages: Sequence[str], *, extra: str) -> str:
    """Return `advice` as a sentence."""
    text = advice(packages, extra=extra)
    return f"{text[0].upper()}{text[1:]}"


def advice(packages: Sequence[str], *, extra: str, copy: Copy | None = None) -> str:
    """Say how to install `packages` for this copy: "to install them: COMMAND".

    In a checkout the command names the extra, elsewhere the packages: the project sensor-agent on
    the package index is not this program.
    """
    copy = copy or this_copy()
    them = "it" if len(packages) == 1 else "them"
    if copy.is_checkout:
        return f"to install {them}: {_in_checkout(copy, extra)}"
    if copy.is_service and extra == "central":
        return (
            "the installed service does not include the local IoT Central. Run it from the "
            "directory with the source instead: sh deploy/venv.sh central, then "
            ".venv/bin/sensor-agent central (or make demo)"
        )
    names = [_for_this_python(package) for package in packages]
    command = _pip(names, copy, upgrade=extra == "pi")
    if copy.is_service:
        return (
            "run sudo make install again in the directory with the source; if the driver was not "
            f"changed, install {them} with: {command}"
        )
    if copy.belongs_to_system:
        return (
            "this Python belongs to the system, so make a virtual environment "
            f"({shlex.quote(copy.python)} -m venv DIRECTORY) and install this program there, "
            f"together with {listed(names)}"
        )
    return f"to install {them}: {command}"


def _in_checkout(copy: Copy, extra: str) -> str:
    root = shlex.quote(str(copy.root))
    if not copy.in_venv:
        # It makes a virtual environment, whatever this Python is.
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


def _for_this_python(package: str) -> str:
    """Return the package that has a wheel here: lgpio's stop at Python 3.12."""
    if package == "lgpio" and sys.version_info >= (3, 13) and platform.machine() == "aarch64":
        return "adafruit-lgpio"
    return package


def listed(names: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
