"""Unit tests start no process and never sleep; an audit hook holds them to it."""

import sys
import time
from pathlib import Path

import pytest

FORBIDDEN = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.system",
    "subprocess.Popen",
    "time.sleep",
}
UNIT = Path(__file__).parent

_running: list[pytest.Item] = []


def _refuse(event, arguments):
    if event in FORBIDDEN and _running:
        if event == "time.sleep" and not arguments[0]:
            return
        raise RuntimeError(f"A unit test may not use {event}: move it to tests/integration.")


sys.addaudithook(_refuse)

if sys.version_info < (3, 13):  # Only later versions report time.sleep to audit hooks.
    _sleep = time.sleep

    def _audited_sleep(seconds):
        _refuse("time.sleep", (seconds,))
        _sleep(seconds)

    time.sleep = _audited_sleep


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    if item.path.is_relative_to(UNIT):  # pytest-xdist calls the hooks of every conftest.py.
        _running.append(item)
    try:
        return (yield)
    finally:
        _running.clear()
