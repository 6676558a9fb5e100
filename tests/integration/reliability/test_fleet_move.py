"""A fleet moves to another ID scope, through kill -9 and an outage; and back, where it is refused.

FLEET_SIZE and FLEET_ROUNDS make a longer test of it.
"""

import os
import random
import time
from contextlib import ExitStack

import pytest
from centrals import running_central
from daemons import Daemon, until
from optional import several_loopbacks

from agent.cloud.move import COMMAND
from agent.device.model import CELSIUS, COMPONENTS, interface
from central.storage import devices, telemetry
from central.storage.completeness import completeness

SIZE = int(os.environ.get("FLEET_SIZE", "20"))
ROUNDS = int(os.environ.get("FLEET_ROUNDS", "1"))
KILLED = 6  # Of each round, besides those that the move itself interrupts.
OUTAGE = 2.0  # Seconds.
PATIENCE = 240.0  # Seconds; a fleet starts slowly on a busy machine.
IDS = [f"pi-{number}" for number in range(SIZE)]


@pytest.fixture
def central(tmp_path):
    templates = tuple(interface(dtmi) for dtmi in (CELSIUS, *COMPONENTS))
    with running_central(tmp_path / "central", id_scopes=2, templates=templates) as central:
        yield central


@pytest.fixture
def fleet(central, tmp_path):
    with ExitStack() as stack:
        yield {
            device_id: stack.enter_context(
                Daemon(tmp_path / device_id, central, device_id=device_id, interval=0.5)
            )
            for device_id in IDS
        }


def reported(central, device_id):
    return central.read(devices.get_twin, device_id).reported


def homes(central):
    return {device_id: central.read(devices.get, device_id).id_scope for device_id in IDS}


def order(central, device_id, id_scope):
    async def call(running):
        request = {"idScope": id_scope, "dpsName": "", "centralAppName": "the new one"}
        return await running.hub.call(device_id, COMMAND, request, connect_timeout=20)

    assert central.call(call).status == 200


def kill_some(fleet, chance):
    """Kill some daemons at random moments, and start them again."""
    for device_id in chance.sample(IDS, min(KILLED, SIZE)):
        time.sleep(chance.random() * 0.3)
        fleet[device_id].kill()
        fleet[device_id].start()


def outage(central):
    def network(state):
        def change(running):
            running.faults.network = state
            running.faults.drop_connections()

        central.call(change)

    network("refuse")
    time.sleep(OUTAGE)
    network(None)


def has_moved(central, device_id, id_scope):
    belongs = central.read(devices.get, device_id).id_scope == id_scope
    return belongs and reported(central, device_id).get("moveStatus") == "moved"


def received(central, device_id):
    return central.read(completeness, device_id).received


@several_loopbacks
@pytest.mark.timeout(900)
def test_a_fleet_moves_and_comes_back_from_a_refusal_and_no_reading_is_missing(central, fleet):
    old, new = central.info["id_scopes"]
    chance = random.Random(1)  # noqa: S311 - reproducible, not secret.
    until(lambda: all(received_any(central, one) for one in IDS), patience=PATIENCE)
    assert set(homes(central).values()) == {old}

    for target in [new] + [old, new] * (ROUNDS - 1):
        move(central, fleet, chance, target)

    # The old ID scope refuses them now, so an order to move there is undone.
    def refuse(running):
        running.faults.refused_scopes = frozenset({old})

    central.call(refuse)
    returning = IDS[: max(1, SIZE // 4)]
    for device_id in returning:
        order(central, device_id, old)
    fleet[returning[0]].kill()
    fleet[returning[0]].start()
    for device_id in returning:
        until(
            lambda device_id=device_id: "was undone" in reported(central, device_id)["moveStatus"],
            what=fleet[device_id].tail,
            patience=PATIENCE,
        )
        assert "Unauthorized" in reported(central, device_id)["moveStatus"]
    assert set(homes(central).values()) == {new}
    for device_id, daemon in fleet.items():
        check(central, device_id, daemon, new)


def received_any(central, device_id):
    known = {device.id for device in central.read(devices.get_all)}
    return device_id in known and bool(central.read(telemetry.messages, device_id, limit=1))


def move(central, fleet, chance, target):
    for device_id in IDS:
        order(central, device_id, target)
    kill_some(fleet, chance)
    outage(central)
    for device_id in IDS:
        until(
            lambda device_id=device_id: has_moved(central, device_id, target),
            what=fleet[device_id].tail,
            patience=PATIENCE,
        )


def check(central, device_id, daemon, id_scope):
    """Check that readings still arrive, that none is missing, and where the device belongs."""
    before = received(central, device_id)
    until(lambda: received(central, device_id) > before, what=daemon.tail, patience=PATIENCE)
    until(lambda: is_whole(central, device_id), what=daemon.tail, patience=PATIENCE)
    place = daemon.status()["cloud"]["place"]
    assert (place["id_scope"], place["hub"]) == (id_scope, central.info["id_scopes"][id_scope])
    assert place["by"].startswith("DeviceMove from 127.")


def is_whole(central, device_id):
    found = central.read(completeness, device_id)
    return not found.lost and not found.start_unknown
