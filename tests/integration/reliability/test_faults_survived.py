"""Each fault between the daemon and its hub: nothing is lost, and recovery takes few attempts.

The daemon is a process of its own with the real SDK, its keep-alive 2 s.
"""

import json
import shutil
from dataclasses import dataclass, field

import pytest
from centrals import running_central
from daemons import ImpatientDaemon, until
from faults import FAULTS, FAULTS_OF_KEYS, FAULTS_OF_REGISTRATION, at_once
from message_ids import are_whole
from optional import several_loopbacks
from ways import CONNECTION_STRING, PROVISIONING, in_ways, with_provisioning

from central.errors import UnknownDevice
from central.records import Message
from central.storage import telemetry

pytestmark = several_loopbacks

KEEP_ALIVE = 2
BACKOFF = 120.0  # Seconds until the next attempt, at most, after the attempts of a fault.
ENOUGH = 15  # Readings that must arrive, at one in 0.1 s.


@dataclass
class Outcome:
    """The outcome of one fault."""

    attempts: int = 0
    log: str = ""
    arrived: list[Message] = field(default_factory=list)


def suffer(fault, place, way):
    with running_central(place / "central") as central:
        daemon = ImpatientDaemon(place / "pi", central, way, keep_alive=KEEP_ALIVE)
        if fault.from_start:
            central.call(fault.begin)
        with daemon:
            if not fault.from_start:
                daemon.until_connected()
                until(lambda: len(arrived(central)) >= 3, what=daemon.tail)
                attempts = daemon.status()["cloud"]["attempts"]
                central.call(fault.begin)
            else:
                until(daemon.status_if_any)
                attempts = 0
            before = readings(daemon)
            until(lambda: readings(daemon) >= before + ENOUGH, what=daemon.tail)
            if not fault.stays:
                if fault.says:
                    until(lambda: fault.says in daemon.log, what=daemon.tail)
                attempts = daemon.status()["cloud"]["attempts"]
                central.call(lambda c: c.faults.clear())
            at_least = readings(daemon)
            until(lambda: is_whole(daemon, central, at_least), what=daemon.tail, patience=BACKOFF)
            used = daemon.status()["cloud"]["attempts"] - attempts
            central.call(lambda c: c.faults.clear())
            assert daemon.stop() == 0
        return Outcome(used, daemon.log, arrived(central))


def readings(daemon):
    return daemon.status()["sensor"]["counters"]["accepted"]


def arrived(central):
    try:
        return central.read(telemetry.messages, "pi-1", limit=100_000)[::-1]
    except UnknownDevice:
        return []  # It has not registered yet.


def is_whole(daemon, central, at_least):
    status = daemon.status()
    return status["cloud"]["hub"] is not None and are_whole(ids(arrived(central)), least=at_least)


def ids(messages):
    return [message.system["message_id"] for message in messages]


def test_a_device_that_is_moved_to_a_second_hub_finds_it(tmp_path):
    with running_central(tmp_path / "first") as first:
        (tmp_path / "second").mkdir()
        # A central with a group key but no database would not start.
        (tmp_path / "second" / "central.db").touch()
        for name in ("ca.pem", "ca-key.pem", "group-key"):
            shutil.copy(tmp_path / "first" / name, tmp_path / "second" / name)
        with (
            running_central(tmp_path / "second") as second,
            ImpatientDaemon(tmp_path / "pi", first, keep_alive=KEEP_ALIVE) as daemon,
        ):
            daemon.until_connected()
            until(lambda: len(arrived(first)) >= 3, what=daemon.tail)
            attempts = daemon.status()["cloud"]["attempts"]
            second.call(lambda c: c.registry.add_device("pi-1"))
            first.call(at_once(moved_to=second.info["mqtt_host"]))
            until(lambda: len(arrived(second)) >= ENOUGH, what=daemon.tail)
            # Two refusals, then a registration.
            assert daemon.status()["cloud"]["attempts"] - attempts <= 3
            assert daemon.status()["cloud"]["hub"] == second.info["mqtt_host"]
            until(lambda: are_whole(ids(arrived(first) + arrived(second))), what=daemon.tail)
            assert daemon.stop() == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_and_recovery_takes_few_attempts(tmp_path, way, name):
    recovers(FAULTS[name], tmp_path, way)


@in_ways(PROVISIONING, CONNECTION_STRING)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", FAULTS_OF_KEYS)
def test_nothing_is_lost_when_a_key_is_refused_for_a_time(tmp_path, way, name):
    recovers(FAULTS_OF_KEYS[name], tmp_path, way)


@with_provisioning
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", FAULTS_OF_REGISTRATION)
def test_nothing_is_lost_while_registering_fails(tmp_path, way, name):
    recovers(FAULTS_OF_REGISTRATION[name], tmp_path, way)


def recovers(fault, place, way):
    """Cause a fault, and check what arrives, the number of attempts, and the log."""
    outcome = suffer(fault, place, way)
    assert outcome.attempts <= fault.attempts, outcome.log
    if fault.says:
        assert fault.says in outcome.log, outcome.log
    assert "Traceback" not in outcome.log, outcome.log
    # Duplicates are identical, with the same time.
    seen: dict[str, object] = {}
    for message in outcome.arrived:
        content = json.loads(message.body), message.created, message.properties
        assert seen.setdefault(message.system["message_id"], content) == content
    # Each fault is logged as one or two warnings.
    assert outcome.log.count(" WARNING ") <= 6, outcome.log
