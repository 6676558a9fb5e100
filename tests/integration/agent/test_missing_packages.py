"""Commands whose packages are not installed print advice, and no traceback."""

import os
import shlex

import pytest
from daemons import agent
from places import ROOT


@pytest.fixture
def without(tmp_path):
    """Return an environment for processes that cannot import some modules."""

    def make(*modules):
        blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in modules)
        (tmp_path / "sitecustomize.py").write_text(f"import sys\n{blocked}")
        return os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "XDG_STATE_HOME": str(tmp_path)}

    return make


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["central"], "sensor-agent central"),
        (["demo"], "sensor-agent demo"),
        (["central", "--certificate", "pi-1"], "sensor-agent central"),
    ],
)
@pytest.mark.parametrize(
    ("modules", "named"),
    [
        (["aiohttp", "cryptography", "wsproto"], "aiohttp, cryptography and wsproto, which are"),
        (["wsproto"], "wsproto, which is"),
    ],
)
def test_central_without_its_packages_says_how_to_install_them(
    without, arguments, name, modules, named
):
    done = agent(*arguments, env=without(*modules))
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"{name} needs {named} not installed. To install ")
    # These tests run from a checkout.
    assert sentence.endswith("pip install -e '.[central]'")
    assert f"cd {shlex.quote(str(ROOT))} && " in sentence


def test_help_needs_no_packages(without):
    environ = without("aiohttp", "cryptography", "wsproto", "azure")
    for arguments in (["--help"], ["central", "--help"]):
        assert agent(*arguments, env=environ).returncode == 0


def test_the_daemon_without_the_sdk_says_how_to_install_it(without):
    done = agent("run", "--fake-hw", env=without("azure"))
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("sensor-agent run needs azure-iot-device, which is not installed.")
