"""Central proves that no reading of a daemon is missing, over restarts and crashes."""

from centrals import running_central
from daemons import Daemon, until
from faults import at_once

from central.errors import UnknownDevice
from central.storage.completeness import completeness

MORE = 5  # Readings between two events, at one in 0.1 s.


def count(central):
    try:
        return central.read(completeness, "pi-1")
    except UnknownDevice:
        return None  # It has not registered yet.


def until_proven(central, daemon, *, least):
    """Wait until so many readings have arrived, and none is missing."""

    def proven():
        found = count(central)
        return found and found.received >= least and not found.lost and not found.start_unknown

    until(proven, what=lambda: f"{count(central)}\n{daemon.tail()}")
    return count(central)


def take_more(daemon):
    """Wait until this run of the daemon has taken some readings."""
    taken = lambda: (daemon.status_if_any() or {}).get("sensor", {}).get("counters", {})  # noqa: E731
    until(lambda: taken().get("accepted", 0) >= MORE, what=daemon.tail)


def restart(central, daemon, end):
    """End a connected daemon and start it again; return what has then arrived."""
    before = count(central)
    end()
    daemon.start().until_connected()
    return until_proven(central, daemon, least=before.received + MORE)


def test_none_is_missing_over_restarts_and_crashes(tmp_path, way):
    with (
        running_central(tmp_path / "central") as central,
        Daemon(tmp_path / "pi", central, way) as daemon,
    ):
        daemon.until_connected()
        until_proven(central, daemon, least=MORE)
        restart(central, daemon, daemon.stop)
        restart(central, daemon, daemon.kill)
        central.call(at_once(network="refuse"))
        for end in (daemon.kill, daemon.stop, daemon.kill):  # Three runs without a network.
            take_more(daemon)
            end()
            daemon.start()
        central.call(lambda c: c.faults.clear())
        received = until_proven(central, daemon, least=6 * MORE).received
        take_more(daemon)
        daemon.stop()
        received = count(central).received
    address = central.info["mqtt_host"]
    with running_central(tmp_path / "central", listen=address) as central:
        assert count(central).received == received
        with Daemon(tmp_path / "pi", central, way) as daemon:
            until_proven(central, daemon, least=received + MORE)


def test_a_removed_state_directory_leaves_the_start_unknown(tmp_path, way):
    with (
        running_central(tmp_path / "central") as central,
        Daemon(tmp_path / "pi", central, way) as daemon,
    ):
        until_proven(central, daemon, least=MORE)
        daemon.kill()
        for file in (tmp_path / "pi" / "state" / "outbox").iterdir():
            file.unlink()
        daemon.start().until_connected()
        until(lambda: count(central).start_unknown, what=daemon.tail)
