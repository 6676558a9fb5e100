"""The wheels that containers install from, fetched out here, where there is a network."""

import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from containers import CACHE
from packaging.requirements import Requirement
from places import ROOT

SOURCES = (
    *("agent", "hw", "central", "deploy", "Makefile", "README.md", "LICENSE"),
    *("setup.cfg", "pyproject.toml", "constraints.txt"),
)
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
MANYLINUX = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")
ONLY_AS_SOURCE = ("paho-mqtt",)  # Pure Python, so a wheel made here fits every Python.
TO_BUILD_OURS = ("setuptools", "wheel")


def wheels(python, *extras):
    """Return a directory with the wheels that this project and these extras need, but not its own.

    `python` is the version that they are for, as in "3.13".
    """
    needed = [*TO_BUILD_OURS, *requirements(python, extras)]
    recipe = "\0".join([(ROOT / "constraints.txt").read_text(), python, *needed])
    made = CACHE / f"wheels-{python}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not made.exists():
        unfinished = Path(tempfile.mkdtemp(dir=CACHE, prefix="unfinished-"))
        unfinished.chmod(0o755)  # For the ordinary users of containers.
        constrained = ("--constraint", ROOT / "constraints.txt")
        _pip("wheel", "--wheel-dir", unfinished, "--no-deps", *constrained, *ONLY_AS_SOURCE)
        platforms = [f"--platform={name}_{platform.machine()}" for name in MANYLINUX]
        _pip("download", "--dest", unfinished, "--find-links", unfinished, *constrained,
             "--only-binary=:all:", f"--python-version={python}", *platforms, *needed)  # fmt: skip
        try:
            unfinished.rename(made)
        except OSError:  # Another process was quicker.
            shutil.rmtree(unfinished)
            assert made.is_dir()
    return made


def requirements(python, extras):
    """Return what these extras require of that Python. pip judges markers by the one it runs in."""
    found: dict[str, None] = {}
    for extra in ("", *extras):
        environment = {"python_version": python, "python_full_version": f"{python}.0"}
        for line in metadata.requires("sensor-agent") or ():
            need = Requirement(line)
            if need.marker and not need.marker.evaluate(environment | {"extra": extra}):
                continue
            if need.name == "sensor-agent":
                found |= dict.fromkeys(requirements(python, need.extras))
            else:
                found[f"{need.name}{need.specifier}"] = None
    return list(found)


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
