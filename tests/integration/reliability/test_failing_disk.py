"""A whole daemon on a disk that fails and recovers, and then loses power."""

import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from centrals import running_central
from daemons import Daemon, until
from optional import need_program
from places import SUPPORT

from central.storage import telemetry

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the disk is simulated with LD_PRELOAD, which only Linux has"
)

EIO, ENOSPC = 5, 28
FAILURES = {
    "a sync": f"{EIO} fdatasync fsync",
    "a write": f"{EIO} write pwrite",
    "a full disk": f"{ENOSPC} write pwrite create",
    "all": f"{EIO} write pwrite fdatasync fsync create rename unlink",
}
HEALTHY, FAILING = 0.6, 0.8  # Seconds of each phase, at 20 readings a second.


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Compile the simulated disk. Return its path."""
    compiler = need_program("cc", package="gcc libc6-dev")
    library = tmp_path_factory.mktemp("library") / "failing_disk.so"
    source = SUPPORT / "failing_disk.c"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"],
        check=True, timeout=60,
    )  # fmt: skip
    return library


class Disk:
    """The disk of a daemon's state directory."""

    def __init__(self, home, library, monkeypatch):
        self.state = (home / "state").resolve()
        self.card = home / "card"
        self._control = home / "control"
        self.card.mkdir(parents=True)
        environment = {
            "LD_PRELOAD": library,
            "FAILING_DISK": self.state,
            "FAILING_DISK_CARD": self.card,
            "FAILING_DISK_CONTROL": self._control,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))

    def fail(self, how):
        new = self._control.with_name("control.new")
        new.write_text(how)
        new.rename(self._control)

    def recover(self):
        self._control.unlink()

    def cut_power(self):
        """Leave what is on the card. Call it when the daemon was killed."""
        shutil.rmtree(self.state)
        shutil.copytree(self.card, self.state)


@contextmanager
def ended(daemon):
    """Kill the daemon at the end of the block if it still runs."""
    try:
        yield
    finally:
        daemon.kill()


def of_first_run(central, device_id):
    """Return the numbers of the readings of the daemon's first run that arrived."""
    messages = central.read(telemetry.messages, device_id, limit=100_000)
    oldest = min(messages, key=lambda message: message.created or 0.0)
    run = oldest.system["message_id"].rpartition(":")[0]
    ids = [message.system["message_id"].split(":") for message in messages]
    assert len({one[0] for one in ids}) == 2  # And those of the run after the cut.
    return {int(number) for other, number in ids if other == run}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("cut_while_failing", [False, True], ids=["recovered", "failing"])
def test_no_reading_that_was_safe_is_lost(
    tmp_path, way, library, monkeypatch, how, cut_while_failing
):
    home = tmp_path / "pi"
    with running_central(tmp_path / "central") as central:
        central.call(lambda central: setattr(central.faults, "network", "refuse"))
        daemon = Daemon(home, central, way, interval=0.05)
        with monkeypatch.context() as patch:
            disk = Disk(home, library, patch)
            daemon.start()
        with ended(daemon):
            until(daemon.status_if_any, what=daemon.tail)
            for _ in range(2):
                time.sleep(HEALTHY)
                disk.fail(FAILURES[how])
                until(lambda: daemon.status()["outbox"]["in_memory"], what=daemon.tail)
                time.sleep(FAILING)
                disk.recover()
                until(lambda: not daemon.status()["outbox"]["in_memory"], what=daemon.tail)
            time.sleep(HEALTHY)
            outbox = daemon.status()["outbox"]
            assert outbox["error"] is None
            safe = outbox["waiting"]
            if cut_while_failing:
                disk.fail(FAILURES[how])
                until(lambda: daemon.status()["outbox"]["in_memory"], what=daemon.tail)
            daemon.kill()
            warnings = daemon.log.count(" WARNING ")
            disk.cut_power()
            central.call(lambda central: setattr(central.faults, "network", None))
            daemon.start().until_connected()

            def all_sent():
                return daemon.status()["outbox"]["waiting"] == 0

            until(all_sent, what=daemon.tail)
            assert daemon.stop() == 0
        missing = set(range(1, safe + 1)) - of_first_run(central, "pi-1")
        assert safe > 30
        assert not missing, f"{len(missing)} of {safe} are missing: {sorted(missing)[:20]}"
        # One for the disk, one for the hub; settings are not written without it.
        assert 1 <= warnings <= 2
        assert "Traceback" not in daemon.log
