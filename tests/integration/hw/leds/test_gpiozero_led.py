import os
import subprocess
import sys

import pytest
from optional import needs_module
from places import ROOT

IMPORT = """
import os, threading
from pathlib import Path
from hw.gpio import _lgpio
here = Path.cwd()
lgpio = _lgpio()
assert Path.cwd() == here, Path.cwd()
assert "LG_WD" not in os.environ
assert hasattr(lgpio, "gpiochip_open")
assert _lgpio() is lgpio
"""


@needs_module("lgpio")
@pytest.mark.parametrize("is_made", [True, False])
def test_importing_lgpio_leaves_no_file_and_keeps_the_working_directory(tmp_path, is_made):
    runtime, here = tmp_path / "runtime", tmp_path / "here"
    if is_made:
        runtime.mkdir()
    here.mkdir()
    here.chmod(0o555)  # As under systemd, where the working directory is often read-only.
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(runtime), "PYTHONPATH": str(ROOT)}
    environment.pop("LG_WD", None)
    subprocess.run(
        [sys.executable, "-c", IMPORT], check=True, cwd=here, env=environment, timeout=60.0
    )
    assert list(runtime.glob("*")) == []
    assert list(here.iterdir()) == []
