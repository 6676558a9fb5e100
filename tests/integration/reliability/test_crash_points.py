"""The daemon is killed at each step of a reading's way. Committed readings arrive unchanged."""

import json
import signal
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from zlib import crc32

import pytest
from centrals import running_central
from crashing_daemon import POINTS
from daemons import Daemon, until
from places import SUPPORT

from central.errors import UnknownDevice
from central.storage import telemetry

AT_ONCE = 5
PROGRAM = SUPPORT / "crashing_daemon.py"
DAMAGED = "after a damaged file is set aside"


class CrashingDaemon(Daemon):
    """A daemon that is killed at a point, and later started without it."""

    point: str | None = None

    def program(self):
        if self.point is None:
            return super().program()
        return [sys.executable, PROGRAM, self.point]


def committed(state):
    """Return the ids of the readings in a file."""
    with closing(sqlite3.connect(state / "state.db")) as database:
        own = database.execute("SELECT value FROM settings WHERE name = 'outbox_id'").fetchone()
        if own is None:
            return set()
        readings = database.execute("SELECT sequence FROM readings").fetchall()
        rescued = database.execute("SELECT outbox_id, own FROM rescued").fetchall()
    return {f"{json.loads(own[0])}:{n}" for (n,) in readings} | {f"{i}:{n}" for i, n in rescued}


def arrived(central, device_id):
    try:
        messages = central.read(telemetry.messages, device_id, limit=100_000)
    except UnknownDevice:
        return {}
    seen: dict[str, object] = {}
    for message in reversed(messages):
        content = json.loads(message.body), message.created, message.properties
        # Duplicates are identical.
        assert seen.setdefault(message.system["message_id"], content) == content
    return seen


def missing(message_ids):
    """Return the missing ids below the highest of each outbox."""
    by_outbox: dict[str, set[int]] = {}
    for message_id in message_ids:
        outbox_id, _, sequence = message_id.rpartition(":")
        by_outbox.setdefault(outbox_id, set()).add(int(sequence))
    return {
        f"{outbox_id}:{number}"
        for outbox_id, sequences in by_outbox.items()
        for number in set(range(1, max(sequences) + 1)) - sequences
    }


def damage(state):
    (state / "state.db").write_bytes(b"\xff" * 20_000)
    (state / "state.db-wal").write_bytes(b"\xff" * 5_000)


def crash(point, central, home):
    """Kill the daemon at a point, and start it again. Returns its exit status and log."""
    device_id = f"pi-{crc32(point.encode())}"
    daemon = CrashingDaemon(home, central.info, device_id=device_id)
    if point == DAMAGED:
        (home / "state").mkdir(mode=0o700)
        damage(home / "state")
    daemon.point = point
    with daemon:
        status = daemon.process.wait(60)
        left = committed(home / "state") if (home / "state" / "state.db").exists() else set()
        before = arrived(central, device_id)
        daemon.point = None
        daemon.start().until_connected()

        def is_whole():
            now = arrived(central, device_id)
            # Live readings arrive before the backlog. Wait for both.
            return len(now) >= len(before) + 5 and left <= set(now) and not missing(now)

        until(
            is_whole,
            what=lambda: f"{missing(arrived(central, device_id))} {sorted(left)}\n{daemon.tail()}",
        )
        assert daemon.stop() == 0
    if point == DAMAGED:
        assert len(list((home / "state").glob("state.db.damaged-*"))) == 1
    return status, daemon.log


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    with (
        running_central(tmp_path_factory.mktemp("central")) as central,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        yield {
            point: pool.submit(crash, point, central, tmp_path_factory.mktemp("pi"))
            for point in POINTS
        }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", POINTS)
def test_nothing_that_was_committed_is_lost(outcomes, point):
    status, log = outcomes[point].result()
    # The daemon was killed at the point, and did not fail earlier.
    assert status == -signal.SIGKILL, log
    assert "Traceback" not in log, log
