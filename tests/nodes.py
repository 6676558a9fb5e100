"""What tests take from npm: where it is, and how to get it where it is missing."""

import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "node"
MODULES = HERE / "node_modules"
INSTALL = "npm install --prefix tests/node --no-package-lock --ignore-scripts"


def need_from_npm(*packages):
    """Skip, or fail in CI, unless these packages are installed and there is Node.js."""
    missing = [name for name in packages if not (MODULES / name).exists()]
    if shutil.which("node") and not missing:
        return
    what = ", ".join(missing) or "Node.js"
    sentence = f"{what} is missing: `apt-get install npm`, then `{INSTALL}`."
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)
