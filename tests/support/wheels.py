"""The wheels that the machines install from, made out here, where there is a network."""

import hashlib
import platform
import shutil
import subprocess
import sys

from containers import CACHE
from places import ROOT

SOURCES = (
    *("agent", "hw", "central", "deploy", "Makefile", "README.md", "LICENSE"),
    *("setup.cfg", "pyproject.toml", "constraints.txt"),
)
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
EXTRAS = "[central,pi]"
MANYLINUX = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")


def wheels(python):
    """Return a directory with the wheels of all that central and the daemon need, but not theirs.

    `python` is the version that they are for, as in "3.13".
    """
    recipe = [(ROOT / name).read_bytes() for name in ("setup.cfg", "constraints.txt")]
    mark = hashlib.sha256(b"".join([*recipe, EXTRAS.encode(), python.encode()])).hexdigest()[:12]
    made = CACHE / f"wheels-{python}-{mark}"
    if not made.exists():
        unfinished = made.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        _make(unfinished, python)
        unfinished.rename(made)
    return made


def _make(directory, python):
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    _pip("wheel", "--wheel-dir", directory, "--constraint", ROOT / "constraints.txt",
         f"{ROOT}{EXTRAS}")  # fmt: skip
    # Our own is made anew each time; lgpio is the system's, as on Raspberry Pi OS.
    for wheel in [*directory.glob("sensor_agent-*"), *directory.glob("lgpio-*")]:
        wheel.unlink()
    if python == ours:
        return
    # What was compiled is for the Python out here; the index has the same for the one inside.
    platforms = [f"--platform={name}_{platform.machine()}" for name in MANYLINUX]
    for wheel in directory.glob("*.whl"):
        if not wheel.name.endswith("none-any.whl"):
            name, version, *_ = wheel.name.split("-")
            wheel.unlink()
            _pip("download", "--dest", directory, "--no-deps", "--only-binary=:all:",
                 f"--python-version={python}", *platforms, f"{name}=={version}")  # fmt: skip


def own_wheel(source, directory):
    """Make this project's own wheel in `directory`, and return it."""
    _pip("wheel", "--wheel-dir", directory, "--no-deps", source)
    [wheel] = directory.glob("sensor_agent-*.whl")
    return wheel


def sources(directory):
    """Copy this project to `directory`: building a wheel writes beside the sources."""
    directory.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy2(ROOT / name, directory)


def _pip(*arguments):
    done = subprocess.run(
        [*PIP, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
