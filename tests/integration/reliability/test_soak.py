"""Random faults, and kill -9 at random moments: each saved reading arrives.

Short here; `make soak` takes 10,000 readings and 50 kills. The faults follow from a seed, which
is printed: `make soak SEED=...` chooses the same ones, as far as a clock allows.
"""

import json
import os
import random
import sys
import time
from collections import defaultdict
from itertools import pairwise

import pytest
from centrals import running_central
from daemons import Daemon, until
from faults import FAULTS, FAULTS_OF_KEYS, FAULTS_OF_REGISTRATION
from message_ids import missing, number, numbers_by_run
from optional import several_loopbacks
from places import SUPPORT

from agent.readings.clock import utc
from central.hub.session import DeviceSession
from central.protocol.topics import decode_bag, split_properties
from central.storage import telemetry
from central.storage.completeness import completeness

READINGS = int(os.environ.get("SOAK_READINGS", "500"))
KILLS = int(os.environ.get("SOAK_KILLS", "5"))
SEED = int(os.environ.get("SOAK_SEED") or time.time_ns() % 1_000_000)
LONGEST_ROUND = 3.0  # Seconds.
PATIENCE = 300.0  # Seconds for the backlog at the end.
INTERVAL = 0.05  # Seconds between two readings.
PROGRAM = SUPPORT / "witnessed_daemon.py"
ANY_FAULT = {**FAULTS, **FAULTS_OF_KEYS, **FAULTS_OF_REGISTRATION}


class WitnessedDaemon(Daemon):
    def program(self):
        return [sys.executable, PROGRAM, self.home / "witness"]

    def witnessed(self):
        """Return temperature, humidity and time of each reading by message id."""
        lines = (self.home / "witness").read_text().splitlines()
        return {line[0]: line[1:] for line in map(json.loads, lines)}


@pytest.fixture
def heard(monkeypatch):
    """Records the readings of each connection in the order of arrival, as (run, number)."""
    by_connection = defaultdict(list)
    telemetry = DeviceSession._telemetry

    async def noted(session, packet, added):
        bag = decode_bag(packet.topic.removeprefix(session._events))
        message_id = split_properties(bag)[1]["message_id"]
        # The session is kept, so that no other one gets the same id().
        by_connection[session].append(message_id)
        await telemetry(session, packet, added)

    monkeypatch.setattr(DeviceSession, "_telemetry", noted)
    return by_connection


def suffer(central, daemon, choice):
    """Cause faults and kills until there were enough of each. Returns their names in order."""
    happened: list[str] = []
    while len(daemon.witnessed()) < READINGS or happened.count("kill -9") < KILLS:
        name = choice.choice([*ANY_FAULT, "nothing"])
        happened.append(name)
        if name != "nothing":
            central.call(ANY_FAULT[name].begin)
        time.sleep(choice.uniform(0, LONGEST_ROUND))
        if choice.random() < max(0.3, KILLS / (READINGS * INTERVAL / LONGEST_ROUND)):
            happened.append("kill -9")
            daemon.kill()
            daemon.start()
        central.call(lambda c: c.faults.clear())
        time.sleep(choice.uniform(0, LONGEST_ROUND))
        assert daemon.process.poll() is None, daemon.tail()
    return happened


def is_all_there(daemon, central):
    status = daemon.status_if_any()
    return status and status["cloud"]["hub"] and status["outbox"]["waiting"] <= 1


def two_lanes_in_order(sequences):
    """Return whether these are two ordered lanes, all of one older than all of the other."""
    return any(
        in_order([number for number in sequences if number <= boundary])
        and in_order([number for number in sequences if number > boundary])
        for boundary in [min(sequences, default=0), *sequences]
    )


def in_order(numbers):
    return all(a < b for a, b in pairwise(numbers))


def test_two_lanes_are_distinguished_from_disorder():
    assert two_lanes_in_order([])
    assert two_lanes_in_order([1, 2, 7, 3, 8, 4, 9])
    assert not two_lanes_in_order([1, 3, 2, 7, 6])
    assert not two_lanes_in_order([1, 2, 2, 3, 3])


@several_loopbacks
@pytest.mark.timeout(PATIENCE + READINGS + 30 * KILLS)
def test_every_reading_arrives_whatever_happens(tmp_path, way, heard):
    print(f"SEED={SEED}")
    choice = random.Random(SEED)  # noqa: S311 - faults, not secrets.
    with (
        running_central(tmp_path / "central") as central,
        WitnessedDaemon(
            tmp_path / "pi", central, way, interval=INTERVAL, keep_alive=2, max_rate=1000
        ) as daemon,
    ):
        daemon.until_connected()
        happened = suffer(central, daemon, choice)
        until(lambda: is_all_there(daemon, central), what=daemon.tail, patience=PATIENCE)
        assert daemon.stop() == 0
        messages = central.read(telemetry.messages, "pi-1", limit=1_000_000)
        counted = central.read(completeness, "pi-1")
    witnessed = daemon.witnessed()
    runs = list(numbers_by_run(witnessed))
    arrived = defaultdict(list)
    for message in messages:
        content = json.loads(message.body), message.properties
        arrived[message.system["message_id"]].append(content)

    # The last reading of a run may not have been written before the kill, or may still be in the
    # outbox, taken while the daemon stopped.
    last = {f"{run}:{max(numbers)}" for run, numbers in numbers_by_run(witnessed).items()}
    assert set(witnessed) - set(arrived) <= last
    assert not missing(witnessed)
    assert (counted.received, counted.lost, counted.start_unknown) == (len(arrived), {}, False)
    for name, copies in arrived.items():
        temperature, humidity, wall = witnessed[name]
        body = {"temp": temperature, "humid": humidity}
        for content, properties in copies:
            assert content == body, name
            assert properties["iothub-creation-time-utc"] == utc(wall), name
    for connection in heard.values():
        order = [(runs.index(as_run(name)), number(name)) for name in connection]
        assert two_lanes_in_order(order), connection
    assert "Traceback" not in daemon.log
    duplicates = len(messages) - len(arrived)
    print(
        f"{len(arrived)} readings arrived, {duplicates} further copies of them, over {len(heard)} "
        f"connections, through {len(happened)} faults, {happened.count('kill -9')} of them kill -9."
    )


def as_run(message_id):
    return message_id.partition(":")[0]
