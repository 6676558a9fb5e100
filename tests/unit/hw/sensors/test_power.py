import pytest

from hw import Reading
from hw.errors import Fault, LineError, SensorError
from hw.sensors.fake import Room, SimulatedSensor
from hw.sensors.power import OFF, SETTLE, SILENCE, PoweredSensor


class Supply:
    """A GPIO line that records its levels."""

    def __init__(self):
        self.log = []
        self.broken = None

    def open(self):
        self.log.append("open")
        return self

    def drive(self, level):
        if self.broken:
            raise self.broken
        self.log.append(level)

    def close(self):
        self.log.append("close")

    def wait(self, event, seconds):
        self.log.append(f"{seconds:g} s")
        return event.is_set()


@pytest.fixture
def supply():
    return Supply()


@pytest.fixture
def room():
    return Room(seed=1)


@pytest.fixture
def sensor(supply, room):
    with PoweredSensor(SimulatedSensor(room), supply.open, wait=supply.wait) as sensor:
        yield sensor


def fault_of(sensor):
    with pytest.raises(SensorError) as caught:
        sensor.read()
    return caught.value.fault


def test_the_supply_is_on_and_settled_before_the_first_attempt(sensor, supply):
    assert supply.log == []
    assert isinstance(sensor.read(), Reading)
    sensor.read()
    assert supply.log == ["open", 1.0, "2 s"]


def test_five_attempts_without_an_answer_cycle_the_supply(sensor, supply, room):
    sensor.read()
    supply.log.clear()
    room.play({"fault": "no_answer"})
    for _ in range(SILENCE):
        assert supply.log == []
        assert fault_of(sensor) is Fault.NO_ANSWER
    assert supply.log == [0.0, "3 s"]
    room.play({"fault": None})
    sensor.read()
    assert supply.log == [0.0, "3 s", 1.0, "2 s"]


def test_only_attempts_in_a_row_without_an_answer_count(sensor, supply, room):
    sensor.read()
    supply.log.clear()
    for fault in ["no_answer", "no_answer", "checksum", None] * SILENCE:
        room.play({"fault": fault})
        if fault:
            fault_of(sensor)
        else:
            sensor.read()
    assert supply.log == []


def test_the_deadline_includes_a_power_cycle(sensor):
    assert sensor.deadline == SimulatedSensor.deadline + OFF + SETTLE


def test_a_supply_that_fails_is_reported_and_tried_again(sensor, supply):
    supply.broken = LineError("Another program holds GPIO 5.", fault=Fault.BUSY)
    assert fault_of(sensor) is Fault.BUSY
    supply.broken = None
    sensor.read()
    assert supply.log == ["open", 1.0, "2 s"]


def test_a_supply_that_cannot_be_switched_off_is_reported_and_reading_goes_on(sensor, supply, room):
    sensor.read()
    room.play({"fault": "no_answer"})
    for _ in range(SILENCE - 1):
        fault_of(sensor)
    supply.broken = LineError("GPIO 5 could not be driven.", fault=Fault.FAILED)
    assert fault_of(sensor) is Fault.FAILED
    supply.broken = None
    room.play({"fault": None})
    sensor.read()


def test_close_switches_the_supply_off_last(sensor, supply):
    sensor.read()
    sensor.close()
    sensor.close()
    assert supply.log == ["open", 1.0, "2 s", "close"]
    assert fault_of(sensor) is Fault.FAILED


def test_close_before_any_attempt_does_not_claim_the_line(sensor, supply):
    sensor.close()
    assert supply.log == []
