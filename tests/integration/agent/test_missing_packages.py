"""Commands whose packages are not installed print advice, and no traceback."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from daemons import PATIENCE

ROOT = Path(__file__).parents[3]


@pytest.fixture
def without(tmp_path):
    """Return an environment for processes that cannot import some modules."""

    def make(*modules):
        blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in modules)
        (tmp_path / "sitecustomize.py").write_text(f"import sys\n{blocked}")
        return os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "XDG_STATE_HOME": str(tmp_path)}

    return make


def run(environ, *arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env=environ, capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["agent", "central"], "sensor-agent central"),
        (["agent", "demo"], "sensor-agent demo"),
        (["agent", "central", "--certificate", "pi-1"], "sensor-agent central"),
    ],
)
@pytest.mark.parametrize(
    ("modules", "named"),
    [
        (["aiohttp", "trustme", "wsproto"], "aiohttp, trustme and wsproto, which are"),
        (["wsproto"], "wsproto, which is"),
    ],
)
def test_central_without_its_packages_says_how_to_install_them(
    without, arguments, name, modules, named
):
    done = run(without(*modules), *arguments)
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"{name} needs {named} not installed. To install ")
    # These tests run from a checkout.
    assert sentence.endswith("pip install -e '.[central]'")
    assert f"cd {shlex.quote(str(ROOT))} && " in sentence


def test_help_needs_no_packages(without):
    environ = without("aiohttp", "trustme", "wsproto", "azure")
    for arguments in (["agent", "--help"], ["agent", "central", "--help"]):
        assert run(environ, *arguments).returncode == 0


def test_the_daemon_without_the_sdk_says_how_to_install_it(without):
    done = run(without("azure"), "agent", "run", "--fake-hw")
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("sensor-agent run needs azure-iot-device, which is not installed.")
