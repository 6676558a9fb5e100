"""Builds the source distribution, and from it the wheel.

    python deploy/distributions.py DIR

Both go to DIR. The wheel is built from the unpacked source distribution. Needs setuptools, and no
network.
"""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOOK = """
import sys
from setuptools import build_meta
name = getattr(build_meta, sys.argv[1])(sys.argv[2])
print(name)
"""


def build(directory: Path) -> list[Path]:
    """Build both in `directory`, and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    source = _call("build_sdist", directory, cwd=ROOT)
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(source) as archive:
            archive.extractall(place)  # noqa: S202 - the archive is our own.
        [unpacked] = Path(place).iterdir()
        return [source, _call("build_wheel", directory, cwd=unpacked)]


def _call(hook: str, directory: Path, *, cwd: Path) -> Path:
    """Call a hook of the build backend (PEP 517), and return the file that it made."""
    done = subprocess.run(
        [sys.executable, "-c", HOOK, hook, directory.resolve()],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}{hook} failed with {sys.executable}.")
    return directory / done.stdout.splitlines()[-1]


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and one argument.
        sys.exit(__doc__)
    for path in build(Path(sys.argv[1])):
        print(path)
