"""gpiozero and the daemon on a Raspberry Pi's GPIO driver."""

import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from machine import Central, Daemon, until

LINES = Path("/sys/kernel/debug/gpio")


def level():
    """Return the level of GPIO 17 in the kernel, or None if it is not an output."""
    text = LINES.read_text()
    found = re.search(r"^(gpiochip\d+): GPIOs (\d+)-.*pinctrl-bcm2835", text, re.MULTILINE)
    assert found, text
    chip, first = found.groups()
    assert chip == "gpiochip0"
    line = re.search(rf"^ gpio-{int(first) + 17}\s.*$", text, re.MULTILINE)
    state = line and re.search(r"\bout (hi|lo)\b", line.group())
    return state and int(state.group(1) == "hi")


def levels(seconds):
    end = time.monotonic() + seconds
    seen = []
    while time.monotonic() < end:
        seen.append(level())
        time.sleep(0.01)
    return seen


def turns(seen):
    return sum(before != after for before, after in pairwise(seen))


@pytest.fixture(scope="module")
def central(tmp_path_factory):
    central = Central(tmp_path_factory.mktemp("central"))
    yield central
    central.stop()


@pytest.fixture(scope="module")
def daemon(central, tmp_path_factory):
    home = tmp_path_factory.mktemp("daemon")
    with Daemon(home, central, device_id="pi-3", sensor="fake") as daemon:
        yield daemon.until_connected()


def test_the_board_is_a_pi_3b():
    assert Path("/proc/device-tree/model").read_text() == "Raspberry Pi 3 Model B\0"


STOCK = """
import gpiozero
led = gpiozero.LED(17)
board = led.pin.factory.board_info
print(board.model, board.revision, type(led.pin.factory).__name__, flush=True)
input()
led.on()
print("on", flush=True)
input()
led.off()
print("off", flush=True)
input()
"""


def test_gpiozero_recognizes_the_board_and_drives_a_line():
    # A process of its own: after close() gpiozero still holds the line, as an input.
    with subprocess.Popen(
        [sys.executable, "-c", STOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as stock:
        assert stock.stdout is not None
        assert stock.stdout.readline() == "3B a02082 LGPIOFactory\n"
        for said, wanted in (("on", 1), ("off", 0)):
            print(file=stock.stdin, flush=True)
            assert stock.stdout.readline() == f"{said}\n"
            assert level() == wanted
        print(file=stock.stdin, flush=True)
    assert level() is None


def test_the_daemon_turns_gpio_17_on_and_off(central, daemon):
    assert level() == 0
    assert central.command(daemon.id, "turnon") == (200, None)
    assert set(levels(1.0)) == {1}
    assert central.command(daemon.id, "turnoff") == (200, None)
    assert set(levels(1.0)) == {0}


def test_the_daemon_blinks_gpio_17(central, daemon):
    assert central.command(daemon.id, "blink", 1)[0] == 200
    central.until_told(daemon.id, ledState="blinking")
    until(lambda: turns(levels(5.0)) >= 6)
    assert central.command(daemon.id, "turnoff") == (200, None)
    assert set(levels(2.0)) == {0}


def test_the_daemon_dims_gpio_17(central, daemon):
    central.call("PATCH", f"/api/devices/{daemon.id}/properties", {"brightness": 2})
    until(lambda: daemon.status()["led"]["brightness"] == 2)
    assert central.command(daemon.id, "turnon") == (200, None)
    until(lambda: turns(levels(3.0)) > 20)


def test_central_shows_the_board(central, daemon):
    reported = central.properties(daemon.id)["deviceInformation"]
    assert reported["manufacturer"] == "Raspberry Pi"
    assert reported["model"] == "Raspberry Pi 3 Model B"


def test_gpio_17_is_off_and_released_at_the_end(central, daemon):
    assert central.command(daemon.id, "turnon") == (200, None)
    assert daemon.stop() == 0
    assert level() is None
    central.until_told(daemon.id, state=False, ledState="off")
