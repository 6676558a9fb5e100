"""`sensor-agent demo`: two processes, a web page, Ctrl-C."""

import json
import os
import re
import signal
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
from daemons import AGENT, PATIENCE, agent, until


@pytest.fixture
def home(tmp_path):
    return tmp_path / "state"


@contextmanager
def demo(home, *arguments):
    log = home.parent / "demo.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*AGENT, "demo", *arguments],
            env=os.environ | {"XDG_STATE_HOME": str(home), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process, log.read_text
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def page(said):
    return until(lambda: re.search(r"The page: +(http://\S+)", said()), what=said)[1].rstrip("/")


def readings(url):
    with urlopen(f"{url}/api/devices/demo/telemetry/temp", timeout=PATIENCE) as answer:
        return json.load(answer)


def left_behind(home):
    """The processes that use this home, by id and command line. The demo must leave none."""
    return {pid: line for pid, line in command_lines() if str(home) in line}


def command_lines():
    if not Path("/proc/self/cmdline").exists():  # macOS
        ps = ["ps", "-axww", "-o", "pid=,command="]
        listed = subprocess.run(ps, capture_output=True, text=True, check=True, timeout=PATIENCE)
        for line in listed.stdout.splitlines():
            pid, _, command = line.strip().partition(" ")
            yield int(pid), command
        return
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # The process has ended.
            yield int(path.parent.name), os.fsdecode(path.read_bytes()).replace("\0", " ")


def test_it_shows_readings_takes_commands_and_ends_with_ctrl_c(home):
    with demo(home) as (process, said):
        url = page(said)
        until(lambda: "Connected to" in said(), what=said)
        value = until(lambda: has_reading(url), what=said)
        assert -40 <= value["value"] <= 80
        with urlopen(url, timeout=PATIENCE) as answer:
            assert b"<title>" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, said()
    assert "Traceback" not in said()
    assert not left_behind(home)


def has_reading(url):
    try:
        return readings(url)
    except OSError:  # 404 until the first reading arrives.
        return None


def test_it_ends_after_minutes_and_prints_the_last_reading(home):
    with demo(home, "--minutes", "0.15") as (process, said):
        assert process.wait(PATIENCE) == 0, said()
    assert "The last reading that central received" in said()
    assert not left_behind(home)


def test_a_second_start_keeps_the_readings(home):
    with demo(home, "--minutes", "0.12") as (process, said):
        assert process.wait(PATIENCE) == 0, said()
    with demo(home) as (_, said):
        # Visible before the daemon has connected again.
        assert readings(page(said))["timestamp"]


def test_a_daemon_that_dies_ends_the_demo_with_status_1(home):
    with demo(home) as (process, said):
        page(said)
        until(lambda: "Connected to" in said(), what=said)
        daemon = next(pid for pid, line in left_behind(home).items() if " run " in line)
        os.kill(daemon, signal.SIGKILL)
        assert process.wait(PATIENCE) == 1
    assert "A process of the demo ended" in said()
    assert not left_behind(home)


def test_a_demo_after_a_killed_one_names_the_processes_to_end(home):
    with demo(home) as (process, said):
        until(lambda: "Connected to" in said(), what=said)  # Both are running.
        process.kill()
        process.wait(PATIENCE)
    left = left_behind(home)
    second = agent("demo", env=os.environ | {"XDG_STATE_HOME": str(home)})
    try:
        assert second.returncode == 1
        (sentence,) = second.stderr.splitlines()
        assert {int(word) for word in sentence.split() if word.isdecimal()} == set(left)
    finally:
        for one in left:
            os.kill(one, signal.SIGTERM)
    until(lambda: not left_behind(home))


def test_a_second_demo_reports_the_first(home):
    with demo(home) as (process, said):
        page(said)
        second = agent("demo", env=os.environ | {"XDG_STATE_HOME": str(home)})
        assert second.returncode == 1
        url = page(said)
        (sentence,) = second.stderr.splitlines()
        assert sentence.startswith(f"The demo is already running at {url}")
        assert f"kill {process.pid}" in sentence
        assert "--data" not in sentence
        # The first demo keeps running.
        until(lambda: has_reading(page(said)), what=said)
