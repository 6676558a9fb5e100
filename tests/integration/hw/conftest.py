"""SysV message queues belong to the whole machine: ours must not be swept by another run."""

import ctypes
import fcntl
import os
import tempfile
from pathlib import Path

import pytest

CLONE_NEWIPC = 0x08000000  # <linux/sched.h>


@pytest.fixture(scope="module", autouse=True)
def queues_of_our_own():
    """Move to a namespace of our own; without root's right to do so, wait for our turn."""
    if ctypes.CDLL(None).unshare(CLONE_NEWIPC) == 0:
        yield
        return
    turn = Path(tempfile.gettempdir()) / f"sensor-agent-tests-queues-{os.getuid()}"
    with turn.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
