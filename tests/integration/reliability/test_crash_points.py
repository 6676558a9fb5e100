"""The daemon is killed at each step of a reading's way. Saved readings arrive unchanged."""

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from zlib import crc32

import pytest
from centrals import running_central
from crashing_daemon import POINTS, POINTS_OF_REGISTRATION
from daemons import Daemon, until
from message_ids import content, missing
from places import SUPPORT
from ways import PROVISIONING, with_provisioning

from agent.readings.disk import Directory
from agent.readings.segment_files import START, SegmentFiles
from central.errors import UnknownDevice
from central.storage import telemetry
from central.storage.completeness import completeness

AT_ONCE = 5
PROGRAM = SUPPORT / "crashing_daemon.py"
DAMAGED = "after damaged files are read"


class CrashingDaemon(Daemon):
    """A daemon that is killed at a point, and later started without it."""

    point: str | None = None

    def program(self):
        if self.point is None:
            return super().program()
        return [sys.executable, PROGRAM, self.point]


def saved(state):
    """Return the ids of the readings in the outbox of a state directory."""
    files = SegmentFiles(
        Directory(state / "outbox", before_create=lambda: None),
        run="0" * 12,
        boot="",
        board=None,
        max_bytes=0,
    )
    files.load()
    return {entry.message_id for entry in files.page(START, 100_000)}


def arrived(central, device_id):
    try:
        messages = central.read(telemetry.messages, device_id, limit=100_000)
    except UnknownDevice:
        return {}
    seen: dict[str, object] = {}
    for message in reversed(messages):
        # Copies are identical.
        assert seen.setdefault(message.system["message_id"], content(message)) == content(message)
    return seen


def damage(state):
    (state / "outbox").mkdir()
    (state / "outbox" / "00000001.log").write_bytes(b"\xff" * 20_000)
    (state / "settings.json").write_bytes(b"\xff" * 1000)


def crash(point, central, way, home):
    """Kill the daemon at a point, and start it again. Returns its exit status and log."""
    device_id = f"pi-{crc32(point.encode())}"
    daemon = CrashingDaemon(home, central, way, device_id=device_id)
    if point == DAMAGED:
        (home / "state").mkdir(mode=0o700)
        damage(home / "state")
    daemon.point = point
    with daemon:
        status = daemon.process.wait(60)
        left = saved(home / "state")
        before = arrived(central, device_id)
        daemon.point = None
        daemon.start().until_connected()

        def is_whole():
            now = arrived(central, device_id)
            # Live readings arrive before the backlog. Wait for both.
            if len(now) < len(before) + 5 or not left <= set(now) or missing(now):
                return False
            counted = central.read(completeness, device_id)  # Over both runs.
            return not counted.lost and not counted.start_unknown

        until(
            is_whole,
            what=lambda: f"{central.read(completeness, device_id)} {sorted(left)}\n{daemon.tail()}",
        )
        assert daemon.stop() == 0
    if point == DAMAGED:
        assert len(list((home / "state").glob("settings.json.damaged-*"))) == 1
    return status, daemon.log


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, way):
    points = [*POINTS, *(POINTS_OF_REGISTRATION if way == PROVISIONING else [])]
    with (
        running_central(tmp_path_factory.mktemp("central")) as central,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        yield {
            point: pool.submit(crash, point, central, way, tmp_path_factory.mktemp("pi"))
            for point in points
        }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", POINTS)
def test_nothing_that_was_saved_is_lost(outcomes, point):
    survived(outcomes, point)


@with_provisioning
@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", POINTS_OF_REGISTRATION)
def test_nothing_that_was_saved_is_lost_around_a_registration(outcomes, point):
    survived(outcomes, point)


def survived(outcomes, point):
    status, log = outcomes[point].result()
    # The daemon was killed at the point, and did not fail earlier.
    assert status == -signal.SIGKILL, log
    assert "Traceback" not in log, log
