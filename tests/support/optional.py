"""What some tests need and not every machine has: each with the command that provides it.

A test that lacks something is skipped. The reason is the command, so that the run's summary can
say what to type. With NO_SKIPS=1 in the environment, as in `.ci/run`, a skipped test fails
(tests/conftest.py).
"""

import functools
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
from places import ROOT, SUPPORT
from playwright._impl._driver import compute_driver_executable

NODE = SUPPORT / "node"
INSTALL_FROM_NPM = "npm install --prefix tests/support/node --no-package-lock --ignore-scripts"


CHROMIUM = "chromium libatomic1"


def from_debian(package):
    return f"sudo apt-get install {package}"


def need_program(name, *, package):
    """Return the path of a program, or skip the test."""
    return shutil.which(name) or pytest.skip(f"{name} is missing: {from_debian(package)}")


def find_chromium():
    """Return the path of the installed Chromium, or skip the test."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path and playwright_starts():
            return path
    return pytest.skip(f"Chromium or its libraries are missing: {from_debian(CHROMIUM)}")


@functools.cache
def playwright_starts():
    """Return whether the Node.js that Playwright brings finds its libraries."""
    node, _ = compute_driver_executable()
    done = subprocess.run([node, "--version"], capture_output=True, check=False, timeout=30)
    return done.returncode == 0


def need_from_npm(*packages):
    """Skip the test unless these packages and Node.js are installed."""
    if shutil.which("node") is None:
        pytest.skip(f"Node.js is missing: {from_debian('npm')} && {INSTALL_FROM_NPM}")
    if not all((NODE / "node_modules" / name).exists() for name in packages):
        pytest.skip(f"Packages of Node.js are missing: {INSTALL_FROM_NPM}")


@functools.cache
def find_python_with_systemd():
    """Return the path of a Python 3.11 or later that has systemd's bindings; None without."""
    script = "import sys, systemd.journal, systemd.daemon; sys.exit(sys.version_info < (3, 11))"
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            done = subprocess.run(
                [python, "-c", script], capture_output=True, check=False, timeout=30
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    return None


def python_with_systemd():
    """Return the path of a Python that has systemd's bindings, or skip the test."""
    return find_python_with_systemd() or pytest.skip(
        f"systemd's bindings for Python are missing: {from_debian('python3-systemd')}"
    )


def environment_with_packages(**more):
    """Return an environment in which another Python finds the agent and its packages."""
    paths = (ROOT, *(path for path in sys.path if path.endswith("site-packages")))
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))} | more


def needs_module(*names):
    """Return a mark that skips a test unless these modules are there; pip cannot add them."""
    missing = [name for name in names if find_spec(name) is None]
    return pytest.mark.skipif(
        bool(missing),
        reason=f"{', '.join(missing)}: no wheel for this Python and machine",
    )


several_loopbacks = pytest.mark.skipif(
    sys.platform == "darwin", reason="macOS has one loopback address, and the SDK one port"
)
