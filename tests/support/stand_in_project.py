"""A project with the real scripts of deploy/ that installs in a second and without a network."""

import os
import shutil
import subprocess
import sys
from zipfile import ZipFile

from places import ROOT

COPIED = (
    *("agent", "central", "hw", "deploy"),
    *("Makefile", "README.md", "LICENSE", "setup.cfg", "constraints.txt"),
)

PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["hw"]
"""

# Builds a wheel with a command `sensor-agent` that needs the package `needed`.
BACKEND = """\
from zipfile import ZipFile

def build_wheel(directory, settings=None, metadata=None):
    name = "sensor_agent-0.1.0-py3-none-any.whl"
    info = "sensor_agent-0.1.0.dist-info"
    program = "import needed\\n\\ndef main():\\n    print('sensor-agent 0.1.0')\\n"
    extras = "".join(f"Provides-Extra: {extra}\\n" for extra in ("central", "pi", "test"))
    files = {
        "stand_in_program.py": program,
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: sensor-agent\\nVersion: 0.1.0\\n"
        f"Requires-Dist: needed\\n{extras}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/entry_points.txt": "[console_scripts]\\nsensor-agent = stand_in_program:main\\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\\n" for file in [*files, f"{info}/RECORD"])
    with ZipFile(f"{directory}/{name}", "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
    return name

build_editable = build_wheel
"""


def project(directory):
    """Copy this project to `directory`, with a build that needs no packages from an index."""
    directory.mkdir(parents=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, directory / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, directory)
    (directory / "pyproject.toml").write_text(PYPROJECT)
    (directory / "hw" / "backend.py").write_text(BACKEND)
    return directory


def wheels(directory):
    """Make a directory with the wheel that the stand-in needs."""
    directory.mkdir()
    info = "needed-1.0.dist-info"
    files = {
        "needed.py": "",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: needed\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with ZipFile(directory / "needed-1.0-py3-none-any.whl", "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
    return directory


def surroundings(home, **more):
    """Return the variables of a user who has no pip settings but those in `home`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "PYTHON", "XDG_", "VENV"))
    }
    return kept | {"HOME": str(home), "XDG_CONFIG_DIRS": str(home), "PYTHON": sys.executable} | more


def sh(directory, script, env, *arguments):
    return subprocess.run(
        ["sh", script, *map(str, arguments)],
        cwd=directory, env=env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
