import pytest

from hw import Reading
from hw.errors import Fault, LineError, SensorError
from hw.sensors.fake import Room, SimulatedSensor
from hw.sensors.power import OFF, SETTLE, SILENCE, PoweredSensor


class Supply:
    """A GPIO line that remembers."""

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
def sensor(supply):
    room = Room(seed=1)
    with PoweredSensor(SimulatedSensor(room), supply.open, wait=supply.wait) as sensor:
        sensor.room = room
        yield sensor


def fault_of(sensor):
    with pytest.raises(SensorError) as caught:
        sensor.read()
    return caught.value.fault


def test_the_sensor_is_powered_and_settles_before_the_first_attempt(sensor, supply):
    assert supply.log == []
    assert isinstance(sensor.read(), Reading)
    sensor.read()
    assert supply.log == ["open", 1.0, "2 s"]


def test_after_repeated_silence_the_supply_is_cycled_and_the_sensor_settles(sensor, supply):
    sensor.read()
    supply.log.clear()
    sensor.room.play({"fault": "no_answer"})
    for _ in range(SILENCE):
        assert supply.log == []
        assert fault_of(sensor) is Fault.NO_ANSWER
    assert supply.log == [0.0, "3 s"]
    sensor.room.play({"fault": None})
    sensor.read()
    assert supply.log == [0.0, "3 s", 1.0, "2 s"]


def test_only_silence_in_a_row_counts(sensor, supply):
    sensor.read()
    supply.log.clear()
    for fault in ["no_answer", "no_answer", "checksum", None] * SILENCE:
        sensor.room.play({"fault": fault})
        if fault:
            fault_of(sensor)
        else:
            sensor.read()
    assert supply.log == []


def test_the_deadline_has_room_for_a_cycle(sensor):
    assert sensor.deadline == SimulatedSensor.deadline + OFF + SETTLE


def test_a_supply_that_cannot_be_switched_is_told_and_tried_again(sensor, supply):
    supply.broken = LineError("Another program holds GPIO 5.", fault=Fault.BUSY)
    assert fault_of(sensor) is Fault.BUSY
    supply.broken = None
    sensor.read()
    assert supply.log == ["open", 1.0, "2 s"]


def test_a_supply_that_cannot_be_switched_off_is_told_and_the_sensor_goes_on(sensor, supply):
    sensor.read()
    sensor.room.play({"fault": "no_answer"})
    for _ in range(SILENCE - 1):
        fault_of(sensor)
    supply.broken = LineError("GPIO 5 could not be driven.", fault=Fault.FAILED)
    assert fault_of(sensor) is Fault.FAILED
    supply.broken = None
    sensor.room.play({"fault": None})
    sensor.read()


def test_closing_takes_the_power_away_last(sensor, supply):
    sensor.read()
    sensor.close()
    sensor.close()
    assert supply.log == ["open", 1.0, "2 s", "close"]
    assert fault_of(sensor) is Fault.FAILED


def test_closing_before_any_attempt_touches_no_line(sensor, supply):
    sensor.close()
    assert supply.log == []
