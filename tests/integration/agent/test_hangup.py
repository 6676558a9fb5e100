"""The effect of a closed terminal and of nohup on each command, with real processes."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from addresses import own_address
from centrals import running_central
from daemons import AGENT, PATIENCE, Daemon, until

from central.storage import devices

pytestmark = pytest.mark.usefixtures("default_signals")


def reported(central, device_id):
    return central.read(devices.get_twin, device_id).reported


@contextmanager
def started(arguments, tmp_path, *, ignoring=False):
    log = tmp_path / "process.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*AGENT, *arguments],
            env=os.environ
            | {"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=_ignore_hangup if ignoring else None,  # noqa: PLW1509 - no threads matter.
        )
    try:
        yield process, log.read_text
    finally:
        if process.poll() is None:
            process.terminate()  # A demo ends its own processes then, even when a test has failed.
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.wait(PATIENCE)


def _ignore_hangup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_a_hangup_stops_the_daemon_cleanly(central, tmp_path, way):
    with Daemon(tmp_path / "pi", central, way, device_id="pi-hangup") as daemon:
        daemon.until_connected()
        until(lambda: reported(central, "pi-hangup").get("state"), what=daemon.tail)
        daemon.ask(command="led", do="blink", seconds=1)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.process.send_signal(signal.SIGHUP)  # From the kernel, after the shell's.
        assert daemon.process.wait(PATIENCE) == 0, daemon.log
        assert "Stopped." in daemon.log
    assert reported(central, "pi-hangup")["state"] is False
    assert reported(central, "pi-hangup")["ledState"] == "off"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGHUP, signal.SIGTERM),
        (signal.SIGHUP, signal.SIGINT),
        (signal.SIGINT, signal.SIGINT),
    ],
)
def test_a_second_signal_ends_the_daemon_at_once(tmp_path, way, first, second):
    with (
        running_central(tmp_path / "central") as central,
        Daemon(tmp_path / "pi", central, way) as daemon,
    ):
        daemon.until_connected()
        central.call(lambda central: setattr(central.faults, "hang", "tls"))
        daemon.process.send_signal(first)
        until(lambda: "Stopping." in daemon.log)
        daemon.process.send_signal(second)
        assert daemon.process.wait(PATIENCE) == 1
        central.call(lambda central: setattr(central.faults, "hang", None))


def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[sensor]\ndriver = "fake"\ninterval = 0.05\n[led]\ndriver = "fake"\n')
    return ["--config", str(path)]


def test_under_nohup_the_daemon_keeps_running(tmp_path):
    with started(["run", *config(tmp_path)], tmp_path, ignoring=True) as (process, said):
        until(lambda: "°C" in said(), what=said)
        process.send_signal(signal.SIGHUP)
        count = said().count("°C")
        until(lambda: said().count("°C") > count + 3, what=said)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_a_terminal_that_closes_stops_the_daemon_cleanly(tmp_path):
    """The kernel sends SIGHUP, and writing to the terminal fails from then on."""
    log = tmp_path / "log"
    child, terminal = pty.fork()
    if child == 0:
        os.environ["XDG_STATE_HOME"] = str(tmp_path)
        with log.open("wb") as stderr:
            os.dup2(stderr.fileno(), 2)
        os.execv(AGENT[0], [*AGENT, "run", *config(tmp_path)])  # noqa: S606
    until(lambda: b"%" in os.read(terminal, 1000))
    os.close(terminal)
    end = time.monotonic() + PATIENCE
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)
    assert "Stopped." in log.read_text()
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_the_demo_stops_with_all_its_processes(tmp_path, number):
    with started(["demo"], tmp_path) as (process, said):
        until(lambda: "Connected to" in said(), what=said)
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0, said()
    assert said().count("Stopped.") == 1
    assert said().count("Central is stopping.") == 1
    assert "Traceback" not in said()


def test_a_second_signal_ends_the_demo_at_once_and_leaves_nothing(tmp_path):
    with started(["demo"], tmp_path) as (process, said):
        until(lambda: "Connected to" in said(), what=said)
        lock = tmp_path / "sensor-agent" / "demo" / "demo.lock"
        children = [int(line) for line in lock.read_text().split()[1:]]
        assert len(children) == 2
        os.kill(children[0], signal.SIGSTOP)  # So that it does not stop within the time.
        process.send_signal(signal.SIGTERM)
        until(lambda: "Stopping." in said(), what=said)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 1
    until(lambda: not any(is_alive(one) for one in children))


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_central_stops_cleanly_and_keeps_running_under_nohup(tmp_path):
    arguments = ["central", "--data", str(tmp_path / "data"), "--listen", own_address()]
    arguments += ["--http-port", "0"]
    with started(arguments, tmp_path) as (process, said):
        until(lambda: "Press Ctrl-C to stop." in said(), what=said)
        process.send_signal(signal.SIGHUP)
        assert process.wait(PATIENCE) == 0, said()
        assert "Central is stopping." in said()
    with started(arguments, tmp_path, ignoring=True) as (process, said):
        until(lambda: "Press Ctrl-C to stop." in said(), what=said)
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, said()


# A program that stands in for the board: it writes down what happens to line and LED.
BOARD = """
import sys
from pathlib import Path
from agent.cli import hardware, parser
from hw import Reading
from hw.leds.fake_led import SimulatedLed
from hw.sensors.fake import SimulatedSensor, Room

def note(text):
    with open({notes!r}, "a") as file:
        print(text, file=file)

class Led(SimulatedLed):
    def _drive(self, level):
        note(f"LED {{level}}")
        super()._drive(level)

class Sensor(SimulatedSensor):
    spacing = 0.1
    def read(self):
        note("read")
        return super().read()
    def close(self):
        note("closed")
        super().close()

hardware.open_led = lambda *_, **__: Led()
hardware.open_sensor = lambda *_, **__: Sensor(Room(seed=1))
sys.exit(parser.main({arguments!r}))
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("arguments", "first", "last", "status"),
    [
        (["led", "on"], "LED 1.0", "LED 0.0", 0),
        (["led", "blink", "1", "--json"], "LED 1.0", "LED 0.0", 0),
        (["read", "--count", "1000"], "read", "closed", 1),
    ],
)
def test_a_hangup_during_a_command_releases_lines_and_led(
    tmp_path, arguments, first, last, status, number
):
    notes = tmp_path / "notes"
    notes.touch()
    program = BOARD.format(notes=str(notes), arguments=[*arguments, *config(tmp_path)])
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until(lambda: first in notes.read_text())
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, said
    assert notes.read_text().splitlines()[-1] == last
    assert "Traceback" not in said
    if "--json" in arguments:
        assert json.loads(line)["state"] == "blinking"
