"""Keep SysV message queues, which are global, apart from those of other test runs."""

import ctypes
import fcntl
import os
import tempfile
from pathlib import Path

import pytest

CLONE_NEWIPC = 0x08000000  # <linux/sched.h>


@pytest.fixture(scope="module", autouse=True)
def queues_of_our_own():
    """Enter an IPC namespace. Without the permission to do so, wait for other test runs."""
    if ctypes.CDLL(None).unshare(CLONE_NEWIPC) == 0:
        yield
        return
    turn = Path(tempfile.gettempdir()) / f"sensor-agent-tests-queues-{os.getuid()}"
    with turn.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
