"""The daemon with a sensor on I2C that the kernel's own driver reads: from the bus to central."""

import itertools
import time
from datetime import datetime

import chips
import machine
import message_ids
import pytest
from machine import until
from sysfs import chip_of

ROOM, LATER = (21.5, 45.6), (22.5, 46.6)  # Air can make this step.
FAILED = "did not answer (Remote I/O error)"
numbers = itertools.count(1)


@pytest.fixture(params=["bme280", "sht3x"])
def model(request):
    return request.param


@pytest.fixture
def address(model):
    """The address of a chip of this model, plugged in and declared."""
    chip = chip_of(model)
    address = chip.addresses[0]
    chips.tell(address, chips.CHIPS[model](*ROOM))
    with chips.declared(chip.names[0], address):
        yield address
    chips.unplug(address)


@pytest.fixture
def daemon(central, model, address, tmp_path):
    """A daemon of its own, with this sensor, connected over TLS."""
    daemon = machine.Daemon(tmp_path / "daemon", central, device_id=f"i2c-{next(numbers)}")
    text = daemon.config.read_text()
    sensor = 'driver = "kernel"\n'
    assert sensor in text
    daemon.config.write_text(text.replace(sensor, f'{sensor}model = "{model}"\n'))
    with daemon:
        yield daemon.until_connected()


def messages_of(central, daemon):
    """What arrived at central."""
    return central.call("GET", f"/console/api/devices/{daemon.id}/messages?limit=500")["value"]


def ids_of(central, daemon):
    return [message["system"]["message_id"] for message in messages_of(central, daemon)]


def created_of(message):
    """When a message's reading was taken, in unix seconds."""
    return datetime.fromisoformat(message["created"]).timestamp()


def values_of(central, daemon):
    """The temperatures and humidities that arrived, as they can be compared with what was set."""
    return {tuple(round(value, 1) for value in both) for both in central.readings(daemon.id)}


def test_an_unplugged_sensor_is_a_fault_until_it_is_back_and_nothing_is_lost(
    central, daemon, address, model
):
    until(lambda: values_of(central, daemon) == {ROOM}, what=daemon.tail)
    central.until_told(daemon.id, sensorStatus="ok")

    chips.unplug(address)
    unplugged = time.time()
    central.until_told(daemon.id, sensorStatus="no_answer")
    faults = daemon.status()["sensor"]["counters"]["no_answer"]
    until(lambda: daemon.status()["sensor"]["counters"]["no_answer"] >= faults + 3)
    assert FAILED in daemon.status()["sensor"]["error"]
    plugged = time.time()
    chips.tell(address, chips.CHIPS[model](*LATER))
    central.until_told(daemon.id, sensorStatus="ok")
    until(lambda: LATER in values_of(central, daemon), what=daemon.tail)

    accepted = daemon.status()["sensor"]["counters"]["accepted"]
    until(lambda: message_ids.are_whole(ids_of(central, daemon), least=accepted))
    assert values_of(central, daemon) == {ROOM, LATER}
    taken = [created_of(message) for message in messages_of(central, daemon)]
    # A reading that was under way is stamped a moment later.
    assert [at for at in taken if unplugged + 1.0 < at < plugged] == []
    assert daemon.log.count("The sensor gives no readings (no_answer)") == 1
    assert daemon.log.count("The sensor gives readings again (before: no_answer)") == 1
    assert daemon.stop() == 0
