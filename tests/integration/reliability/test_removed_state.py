"""The daemon recreates a state directory that is removed while it runs."""

import shutil
import time

import pytest
from centrals import running_central
from daemons import Daemon, until

from central.storage import telemetry


@pytest.mark.timeout(120)
def test_readings_after_the_removal_of_the_state_directory_are_safe(tmp_path, way):
    home = tmp_path / "pi"
    with running_central(tmp_path / "central") as central:
        central.call(lambda central: setattr(central.faults, "network", "refuse"))
        with Daemon(home, central, way, interval=0.05) as daemon:
            until(daemon.status_if_any, what=daemon.tail)
            until(lambda: daemon.status()["outbox"]["waiting"] > 20, what=daemon.tail)
            shutil.rmtree(home / "state", ignore_errors=True)
            until((home / "state" / "outbox").exists, what=daemon.tail)
            until(lambda: not daemon.status()["outbox"]["in_memory"], what=daemon.tail)
            first = daemon.status()["sensor"]["counters"]["accepted"] + 1
            time.sleep(1.0)
            last = daemon.status()["sensor"]["counters"]["accepted"] - 1
            daemon.kill()
            assert (home / "state").stat().st_mode & 0o777 == 0o700
            loud = [line for line in daemon.log.splitlines() if " WARNING " in line]
            # The hub cannot be reached; a file was deleted; readings in it are lost, and dropped.
            assert len({line.partition(" ")[2] for line in loud}) == len(loud) <= 4, loud
            central.call(lambda central: setattr(central.faults, "network", None))
            daemon.start().until_connected()
            until(lambda: daemon.status()["outbox"]["waiting"] == 0, what=daemon.tail)
            assert daemon.stop() == 0
        messages = central.read(telemetry.messages, "pi-1", limit=100_000)
    oldest = min(messages, key=lambda message: message.created or 0.0)
    run = oldest.system["message_id"].rpartition(":")[0]
    ids = {message.system["message_id"] for message in messages}
    assert last - first >= 10
    assert {f"{run}:{number}" for number in range(first, last + 1)} <= ids
    assert "Traceback" not in daemon.log
