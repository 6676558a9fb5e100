"""How tests start the child process with Blinka's real PulseIn."""

import sys

from optional import needs_module
from places import ROOT, SUPPORT

CHILD = [sys.executable, str(SUPPORT / "blinka_child.py"), "dht22", "4"]
PYTHONPATH = f"{ROOT}:{SUPPORT}"

needs_blinka = needs_module("adafruit_dht", "adafruit_blinka", "sysv_ipc")
