"""Measures the memory that a Raspberry Pi's own libraries take, on any machine.

    python -m bench.board led | sensor

prints bytes: what gpiozero and lgpio add to the daemon, or all of the process in which
adafruit_dht reads the sensor. Blinka is made to take this machine for a Raspberry Pi 4.
"""

import importlib
import os
import subprocess
import sys

from bench.programs import private_memory
from hw.sensors import adafruit_child

AS_ON_A_PI = {"BLINKA_FORCEBOARD": "RASPBERRY_PI_4B", "BLINKA_FORCECHIP": "BCM2XXX"}
LED = ["gpiozero", "gpiozero.pins.lgpio"]
SENSOR = ["sysv_ipc", "board", "adafruit_dht", adafruit_child.PULSE_IN.rpartition(".")[0]]


def memory(part):
    """Return the bytes for `part`, "led" or "sensor"; None if its libraries are missing here."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bench.board", part],
        env=os.environ | AS_ON_A_PI,
        check=False,
        capture_output=True,
        text=True,
    )
    return int(done.stdout) if done.returncode == 0 else None


if __name__ == "__main__":
    before = 0
    if sys.argv[1] == "led":
        importlib.import_module("agent.cli.run")
        before = private_memory("self")
    for name in LED if sys.argv[1] == "led" else SENSOR:
        importlib.import_module(name)
    print(private_memory("self") - before)
