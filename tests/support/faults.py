"""Faults between the daemon and its hub, and the attempts that recovery from each may need."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from central.protocol.mqtt import ConnAck, ConnectCode, PingResp, PubAck, SubAck


def at_once(**faults):
    """Set these faults, and close the connection so that they take effect."""

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
    """A fault, and the number of attempts to connect until recovery.

    `attempts` are counted from the end of the fault, or from its beginning if it `stays`.
    """

    begin: Callable[..., Any]
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
    "no CONNACK": Fault(
        at_once(withheld={ConnAck}), 2, ONE_UNDER_WAY, says="was not answered within 5 s"
    ),
    "no SUBACK": Fault(at_once(withheld={SubAck}), 2, ONE_UNDER_WAY, says="was not answered"),
    "no PUBACK": Fault(
        set_faults(withheld={PubAck}), 2, ONE_UNDER_WAY, says="was not answered within 8 s"
    ),
    "no PINGRESP": Fault(
        set_faults(withheld={PingResp, PubAck}), 2, ONE_UNDER_WAY, says="then stopped answering"
    ),
    "cut in the middle of messages": Fault(call("cut_at_publish", 2), 2, "two cuts", stays=True),
    "cut before acknowledgements": Fault(
        call("cut_at_publish", 2, recorded=True), 2, "two cuts", stays=True
    ),
    "twin 429": Fault(at_once(twin="throttled"), 1, "the cut; a 429 is waited out", says="429"),
    "twin silent": Fault(
        at_once(twin="silent"), 2, ONE_UNDER_WAY, says="was not answered within 8 s"
    ),
    "session forgotten": Fault(at_once(sessions_lost=True), 1, NEXT, stays=True),
    "certificate of tomorrow": Fault(
        at_once(certificate="not-yet-valid"), 2, ONE_UNDER_WAY, says="is not valid before"
    ),
    "throttled": Fault(set_faults(throttle=3), 2, ONE_UNDER_WAY),
}

FAULTS_OF_KEYS = {  # A certificate has no token, whose time the hub compares with its clock.
    "clock skew": Fault(
        at_once(clock_offset=2 * 3600), 2, ONE_UNDER_WAY, says="refused the credentials"
    ),
}

FAULTS_OF_REGISTRATION = {
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
    "DPS silent": Fault(
        set_faults(registration="silent"), 2, "the one that was not answered", from_start=True
    ),
    "DPS slow": Fault(set_faults(registration_delay=1.0), 1, NEXT, from_start=True, stays=True),
}
