"""A Python that has systemd's own bindings: Debian's, with the packages of this one added."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PATHS = (ROOT, *(path for path in sys.path if path.endswith("site-packages")))


@functools.cache
def python_with_systemd():
    """Return its path; where there is none, fail in CI and skip elsewhere."""
    for python in (sys.executable, "/usr/bin/python3"):
        script = "import sys, systemd.journal, systemd.daemon; sys.exit(sys.version_info < (3, 11))"
        try:
            done = subprocess.run([python, "-c", script], check=False, timeout=30)
        except OSError:
            continue
        if done.returncode == 0:
            return python
    sentence = (
        "The journal needs systemd-python: install it with `apt-get install python3-systemd`."
    )
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


def environment(**more):
    """Return what that Python needs to find the agent and its packages."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, PATHS))} | more
