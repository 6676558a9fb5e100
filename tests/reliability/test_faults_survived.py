"""Each fault between the daemon and its hub: nothing is lost, and recovery takes few attempts.

The daemon is a process of its own with the real SDK, its keep-alive 2 s. All faults are tried at
the same time, each with a central of its own; a test looks at how one went.
"""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from centrals import running_central, several_loopbacks
from daemons import Daemon, until

from central.errors import UnknownDevice
from central.listener import LOOPBACK
from central.mqtt import ConnAck, ConnectCode, PingResp, PubAck, SubAck

pytestmark = several_loopbacks

KEEP_ALIVE = 2
AT_ONCE = 6
BACKOFF = 120.0  # Seconds until the next attempt, after the handful that a fault may last.
ENOUGH = 15  # Readings that must come while a fault lasts, at one in 0.1 s.


def at_once(**faults):
    """Set these faults, and cut the connection so that they are met."""

    def begin(central):
        set_faults(**faults)(central)
        central.faults.drop_connections()

    return begin


def set_faults(**faults):
    def begin(central):
        for name, value in faults.items():
            assert hasattr(central.faults, name)
            setattr(central.faults, name, value)

    return begin


def call(name, *arguments, **keywords):
    return lambda central: getattr(central.faults, name)(*arguments, **keywords)


@dataclass(frozen=True)
class Fault:
    """A fault, and how many attempts to connect bring everything right again.

    `attempts` are counted from the end of the fault; from its beginning, where it `stays`.
    """

    begin: Callable
    attempts: int
    because: str
    from_start: bool = False
    stays: bool = False
    says: str | None = None  # In the daemon's log.


ONE_UNDER_WAY = "one may be under way when the fault ends; the next succeeds"
NEXT = "the next connection is a good one"

FAULTS = {
    "CONNACK 3": Fault(at_once(connack=ConnectCode.UNAVAILABLE), 2, ONE_UNDER_WAY),
    "CONNACK 5": Fault(
        at_once(connack=ConnectCode.NOT_AUTHORIZED),
        2,
        ONE_UNDER_WAY,
        says="refused the credentials",
    ),
    "connection refused": Fault(at_once(network="refuse"), 2, ONE_UNDER_WAY, says="refused"),
    "connection reset": Fault(at_once(network="reset"), 2, ONE_UNDER_WAY, says="cannot be reached"),
    "black hole": Fault(at_once(hang="tcp"), 2, ONE_UNDER_WAY),
    "black hole behind TLS": Fault(set_faults(hang="tls"), 2, ONE_UNDER_WAY),
    "half-open": Fault(call("half_open"), 1, NEXT, stays=True),
    "slow": Fault(set_faults(latency=0.5), 0, "late is not lost", stays=True),
    "no CONNACK": Fault(at_once(withheld={ConnAck}), 2, ONE_UNDER_WAY, says="then said nothing"),
    "no SUBACK": Fault(at_once(withheld={SubAck}), 2, ONE_UNDER_WAY, says="was not answered"),
    "no PUBACK": Fault(
        set_faults(withheld={PubAck}), 2, ONE_UNDER_WAY, says="was not answered within 4 s"
    ),
    "no PINGRESP": Fault(
        set_faults(withheld={PingResp, PubAck}), 2, ONE_UNDER_WAY, says="was not answered"
    ),
    "cut in the middle of messages": Fault(call("cut_at_publish", 2), 2, "two cuts", stays=True),
    "cut before acknowledgements": Fault(
        call("cut_at_publish", 2, recorded=True), 2, "two cuts", stays=True
    ),
    "twin 429": Fault(at_once(twin="throttled"), 1, "the cut; a 429 is waited out", says="429"),
    "twin silent": Fault(
        at_once(twin="silent"), 2, ONE_UNDER_WAY, says="was not answered within 4 s"
    ),
    "session forgotten": Fault(at_once(sessions_lost=True), 1, NEXT, stays=True),
    "DPS failed": Fault(
        set_faults(registration="failed"), 2, ONE_UNDER_WAY, from_start=True, says="is failed"
    ),
    "DPS disabled": Fault(
        set_faults(registration="disabled"), 2, ONE_UNDER_WAY, from_start=True, says="is disabled"
    ),
    "DPS 401": Fault(
        set_faults(registration="unauthorized"), 2, ONE_UNDER_WAY, from_start=True, says="401"
    ),
    "DPS 429": Fault(set_faults(registration="throttled"), 1, "the SDK waits", from_start=True),
    "DPS 500": Fault(set_faults(registration="error"), 1, "the SDK waits", from_start=True),
    "DPS slow": Fault(set_faults(registration_delay=1.0), 1, NEXT, from_start=True, stays=True),
    "clock skew": Fault(
        at_once(clock_offset=2 * 3600), 2, ONE_UNDER_WAY, says="refused the credentials"
    ),
    "certificate of tomorrow": Fault(
        at_once(certificate="not-yet-valid"), 2, ONE_UNDER_WAY, says="is this machine's clock right"
    ),
    "throttled": Fault(set_faults(throttle=3), 2, ONE_UNDER_WAY),
}


@dataclass
class Outcome:
    """What was seen of one fault."""

    attempts: int = 0
    log: str = ""
    arrived: list = field(default_factory=list)


def suffer(fault, place):
    # While it refuses connections, its address is free for others: it has one of its own.
    listen = "127.0.0.200" if fault is FAULTS["connection refused"] else LOOPBACK
    with running_central(place / "central", listen=listen) as central:
        daemon = Daemon(place / "pi", central.info, keep_alive=KEEP_ALIVE)
        if fault.from_start:
            central.call(fault.begin)
        with daemon:
            if not fault.from_start:
                daemon.until_connected()
                until(lambda: len(arrived(central)) >= 3, what=daemon.tail)
                attempts = daemon.status()["cloud"]["attempts"]
                central.call(fault.begin)
            else:
                until(daemon.socket.exists)
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
        return central.call(lambda c: c.registry.messages("pi-1", limit=100_000))[::-1]
    except UnknownDevice:
        return []  # It has not registered yet.


def sequence(message):
    return int(message.system["message_id"].rpartition(":")[2])


def is_whole(daemon, central, at_least):
    status = daemon.status()
    return status["cloud"]["hub"] is not None and are_whole(arrived(central), at_least)


def are_whole(messages, at_least=1):
    """Tell whether at least so many readings arrived, and none is missing among them."""
    sequences = {sequence(message) for message in messages}
    return len(sequences) >= at_least and sequences == set(range(1, max(sequences) + 1))


def test_a_device_that_is_moved_to_a_second_hub_finds_it(tmp_path):
    with running_central(tmp_path / "first") as first:
        (tmp_path / "second").mkdir()
        for name in ("ca.pem", "ca-key.pem", "group-key"):
            shutil.copy(tmp_path / "first" / name, tmp_path / "second" / name)
        with (
            running_central(tmp_path / "second") as second,
            Daemon(tmp_path / "pi", first.info, keep_alive=KEEP_ALIVE) as daemon,
        ):
            daemon.until_connected()
            until(lambda: len(arrived(first)) >= 3, what=daemon.tail)
            attempts = daemon.status()["cloud"]["attempts"]
            second.call(lambda c: c.registry.add_device("pi-1"))
            first.call(at_once(moved_to=second.info["mqtt_host"]))
            until(lambda: len(arrived(second)) >= ENOUGH, what=daemon.tail)
            # Two refusals, then it asks the provisioning service.
            assert daemon.status()["cloud"]["attempts"] - attempts <= 3
            assert daemon.status()["cloud"]["hub"] == second.info["mqtt_host"]
            until(lambda: are_whole(arrived(first) + arrived(second)), what=daemon.tail)
            assert daemon.stop() == 0


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            name: pool.submit(suffer, fault, tmp_path_factory.mktemp("fault"))
            for name, fault in FAULTS.items()
        }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_and_recovery_takes_few_attempts(outcomes, name):
    fault, outcome = FAULTS[name], outcomes[name].result()
    assert outcome.attempts <= fault.attempts, outcome.log
    if fault.says:
        assert fault.says in outcome.log, outcome.log
    assert "Traceback" not in outcome.log, outcome.log
    # What came twice is the same reading, with its time.
    seen = {}
    for message in outcome.arrived:
        content = json.loads(message.body), message.created, message.properties
        assert seen.setdefault(message.system["message_id"], content) == content
    # Each fault is told as a warning or two, not as a flood.
    assert outcome.log.count(" WARNING ") <= 6, outcome.log
