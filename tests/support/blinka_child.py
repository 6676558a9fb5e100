"""The child process with Blinka's real PulseIn, on a machine without pins.

    python blinka_child.py MODEL PIN

The board and the helper program are simulated. The helper is forked, and the environment variable
HELPER selects its behaviour.
"""

import importlib
import os
import signal
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import pulsein_helper

from hw.sensors import adafruit_child

HELPER = os.environ.get("HELPER", "good")
FAILING_STARTS = {"busy", "no chip", "no start"}


class Pin:
    id, chip_index = 4, 0

    def __str__(self):
        return "4"


class Popen:
    """A forked helper with the part of subprocess.Popen that PulseIn uses."""

    def __init__(self, arguments):
        self.pid = os.fork()
        if self.pid == 0:
            signal.signal(
                signal.SIGTERM, signal.SIG_DFL
            )  # As after an exec, like the closed files.
            os.closerange(3, 256)
            try:
                pulsein_helper.run(arguments, HELPER)
            finally:
                os._exit(1)

    def poll(self):
        return None if os.waitpid(self.pid, os.WNOHANG) == (0, 0) else 1

    def terminate(self):
        os.kill(self.pid, signal.SIGTERM)


def replace(name, **contents):
    module = ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module


def open_device(model, pin, original=adafruit_child.open_device):
    """Do what importing Blinka does on a Pi, then open the device."""
    pulse_in: Any = importlib.import_module(adafruit_child.PULSE_IN)
    pulse_in.subprocess = SimpleNamespace(Popen=Popen)
    if HELPER not in FAILING_STARTS:
        # Blinka waits 0.25 s for its helper. A busy machine may need longer.
        pulse_in.time = SimpleNamespace(monotonic=lambda: time.monotonic() / 40, sleep=time.sleep)
    replace("board", D4=Pin())
    replace("digitalio", DigitalInOut=object, Direction=object, Pull=object)
    replace("microcontroller", Pin=Pin)
    replace("pulseio", PulseIn=pulse_in.PulseIn)
    print("Blinka says this and that on standard output.")
    return original(model, pin)


if HELPER == "exits":
    sys.exit("no thanks")
adafruit_child.open_device = open_device
adafruit_child.main()
