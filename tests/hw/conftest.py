"""Message queues of our own, where we may."""

import ctypes

import pytest

CLONE_NEWIPC = 0x08000000  # <linux/sched.h>


@pytest.fixture(scope="session", autouse=True)
def no_queues_of_others():
    """Keep another run of these tests from sweeping a queue whose user one of ours has killed.

    Only root may. Anybody else must not run these tests twice at once.
    """
    ctypes.CDLL(None).unshare(CLONE_NEWIPC)
