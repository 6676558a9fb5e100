"""The Debian packages of this checkout, and other versions of them to upgrade to."""

import shutil
import subprocess
from pathlib import Path

import build_debs

PROGRAM = Path("usr/lib/sensor-agent")
CANNOT_START = "raise RuntimeError('this version is broken')\n"


def built(directory):
    """Build the packages for every architecture in `directory`; return their files by name."""
    directory.mkdir(exist_ok=True)
    packages = [package for package in build_debs.PACKAGES if package.architecture == "all"]
    return {package.name: build_debs.build(package, directory) for package in packages}


def other_version(deb, version, change=lambda tree: None):
    """Return a package like `deb`, of another version. `change` changes its unpacked files."""
    stage = deb.with_name(f"{deb.stem}-{version}")
    subprocess.run(["dpkg-deb", "--raw-extract", deb, stage], check=True)
    old = build_debs.version()
    for file in [*(stage / "DEBIAN").iterdir(), stage / PROGRAM / "agent/__init__.py"]:
        if file.exists():
            file.write_text(file.read_text().replace(old, version))
    change(stage / PROGRAM)
    made = deb.with_name(deb.name.replace(old, version))
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", stage, made],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    shutil.rmtree(stage)
    return made


def with_program(text):
    """Return a change that puts `text` in front of the module that runs the daemon."""

    def change(tree):
        run = tree / "agent/cli/run.py"
        run.write_text(text + run.read_text().replace('"""', "#", 1).replace('"""', "", 1))

    return change
