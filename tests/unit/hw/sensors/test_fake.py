import json
import threading

import pytest

from hw import Reading
from hw.errors import Fault, SensorError
from hw.sensors.fake import DAY, FAULTS, Room, SimulatedSensor
from hw.sensors.models import DHTS
from hw.sensors.policy import Policy

NOON = 20_000 * DAY + DAY / 2


class Clock:
    def __init__(self, now=NOON):
        self.now = now

    def __call__(self):
        return self.now


def room_at(now=NOON, seed=7):
    return Room(seed=seed, clock=Clock(now))


def weather(seed, times):
    room = Room(seed=seed, clock=(clock := Clock()))
    readings = []
    for clock.now in times:
        readings.append(room.climate())
    return readings


def test_the_same_seed_gives_the_same_weather_and_the_same_readings():
    def told(seed):
        sensor = SimulatedSensor(room_at(seed=seed))
        return [sensor.read() for _ in range(20)]

    assert told(7) == told(7)
    assert told(7) != told(8)


def test_a_room_is_warmer_in_the_afternoon_than_before_dawn():
    for seed in range(20):
        days = [d * DAY for d in range(30)]
        afternoon = weather(seed, [d + 15 * 3600 for d in days])
        dawn = weather(seed, [d + 3 * 3600 for d in days])
        assert sum(a.temperature - b.temperature for a, b in zip(afternoon, dawn, strict=True)) > 60


def test_humidity_falls_when_temperature_rises():
    for seed in range(20):
        day = weather(seed, [NOON + n * 600 for n in range(144)])
        mean_t = sum(r.temperature for r in day) / len(day)
        mean_h = sum(r.humidity for r in day) / len(day)
        assert sum((r.temperature - mean_t) * (r.humidity - mean_h) for r in day) < 0


def test_the_weather_is_within_the_range_of_every_model():
    for seed in range(20):
        for reading in weather(seed, [n * 7919.0 for n in range(2000)]):
            assert 15 < reading.temperature < 27
            assert 20 < reading.humidity < 80


def test_the_weather_never_makes_a_reading_suspect():
    clock = Clock(0.0)
    sensor = SimulatedSensor(Room(seed=3, clock=clock))
    policy = Policy(model="dht22", spacing=0.0, interval=5.0, now=0.0)
    for _ in range(3000):
        clock.now = policy.next_attempt()
        policy.began(clock.now)
        assert len(policy.succeeded(sensor.read(), clock.now)) == 1


@pytest.mark.parametrize(("model", "resolution"), [("dht22", 0.1), ("dht11", 1.0)])
def test_a_simulated_sensor_has_its_models_resolution(model, resolution):
    sensor = SimulatedSensor(room_at(), model=model)
    for _ in range(50):
        reading = sensor.read()
        for value in (reading.temperature, reading.humidity):
            assert value == pytest.approx(round(value / resolution) * resolution)


def test_readings_are_close_to_the_rooms_climate():
    room = room_at()
    sensor = SimulatedSensor(room)
    truth = room.climate()
    for _ in range(200):
        reading = sensor.read()
        assert reading.temperature == pytest.approx(truth.temperature, abs=0.3)
        assert reading.humidity == pytest.approx(truth.humidity, abs=1.0)


# Changes of the room


def test_a_fixed_climate_stays_until_it_is_released():
    room = room_at()
    before = room.climate()
    room.play({"temperature": 30, "humidity": 70.5})
    assert room.climate() == Reading(30.0, 70.5)
    room.play({"temperature": None})
    assert room.climate() == Reading(before.temperature, 70.5)
    room.play({"humidity": None})
    assert room.climate() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": "warm"},
        {"temperature": True},
        {"temperature": 81},
        {"temperature": float("nan")},
        {"humidity": -1},
        {"humidity": [50]},
        {"fault": "toothache"},
        {"fault": ["checksum"]},
        {"fault": 7},
        {"probability": 1.5},
        {"probability": "often"},
        {"pressure": 1013},
        {7: 7},
    ],
)
def test_an_invalid_change_of_the_room_is_refused_as_a_whole(changes):
    room = room_at()
    before = room.state()
    with pytest.raises(ValueError, match=r"must be a number|Unknown (key|fault)"):
        room.play({"temperature": 30.0} | changes)
    assert room.state() == before


def test_the_rooms_state_is_json_and_can_be_restored():
    room = room_at()
    room.play({"temperature": 25, "fault": "random", "probability": 0.25})
    state = json.loads(json.dumps(room.state()))
    assert state["temperature"] == 25.0
    assert state["climate"]["temperature"] == 25.0
    assert state["faults"] == list(FAULTS)
    other = room_at()
    other.play({key: state[key] for key in ("temperature", "humidity", "fault", "probability")})
    assert other.state() == room.state()


# Faults


@pytest.mark.parametrize("fault", ["no_answer", "checksum", "no_permission", "busy", "failed"])
def test_a_fault_without_a_reading_raises_an_error(fault):
    sensor = SimulatedSensor(room_at())
    sensor.room.play({"fault": fault})
    for _ in range(3):
        with pytest.raises(SensorError) as caught:
            sensor.read()
        assert caught.value.fault == fault
    sensor.room.play({"fault": None})
    sensor.read()


def test_wrong_frames_with_a_valid_checksum_are_returned():
    sensor = SimulatedSensor(room_at())
    sensor.room.play({"fault": "implausible"})
    assert sensor.read().temperature == 3276.7
    sensor.room.play({"fault": "ghost"})
    assert sensor.read() == Reading(0.0, 0.0)


@pytest.mark.parametrize("readings_before", [0, 1])
def test_the_fault_stuck_repeats_the_last_value(readings_before):
    sensor = SimulatedSensor(room_at())
    before = [sensor.read() for _ in range(readings_before)]
    sensor.room.play({"fault": "stuck"})
    last = before[-1] if before else sensor.read()
    sensor.room.play({"temperature": 35})
    assert [sensor.read() for _ in range(5)] == [last] * 5


@pytest.mark.parametrize("model", sorted(DHTS))
@pytest.mark.parametrize("temperature", [5, 21, 30, 45])
def test_a_spike_is_one_plausible_value_that_the_policy_drops(model, temperature):
    coldest, hottest = DHTS[model].coldest, DHTS[model].hottest
    sensor = SimulatedSensor(room_at(), model=model)
    policy = Policy(model=model, spacing=0.0, interval=5.0, now=0.0)
    sensor.room.play({"temperature": temperature})
    policy.began(0.0)
    assert len(policy.succeeded(sensor.read(), 0.0)) == 1
    sensor.room.play({"fault": "spike"})
    spike = sensor.read()
    assert abs(spike.temperature - temperature) > 10
    assert coldest <= spike.temperature <= hottest
    policy.began(5.0)
    assert policy.succeeded(spike, 5.0) == []
    policy.began(5.0)
    (accepted,) = policy.succeeded(sensor.read(), 5.0)
    assert accepted.reading.temperature == pytest.approx(temperature, abs=0.5)


def test_a_hang_lasts_until_the_deadline():
    waits = []

    def wait(_, seconds):
        waits.append(seconds)
        return False

    sensor = SimulatedSensor(room_at(), wait=wait)
    sensor.room.play({"fault": "hang"})
    with pytest.raises(SensorError, match="hung") as caught:
        sensor.read()
    assert caught.value.fault is Fault.FAILED
    assert waits == [sensor.deadline]


def reading_in_a_thread(act):
    """Return the error or reading of a hanging `read` after `act(sensor)`."""
    hanging = threading.Event()
    outcome: list[Reading | SensorError] = []

    def wait(event, _):
        hanging.set()
        return event.wait(10.0)

    sensor = SimulatedSensor(room_at(), wait=wait)
    sensor.room.play({"fault": "hang"})

    def read():
        try:
            outcome.append(sensor.read())
        except SensorError as error:
            outcome.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert hanging.wait(10.0)
    act(sensor)
    thread.join(10.0)
    assert not thread.is_alive()
    return outcome[0]


def test_clearing_the_fault_ends_a_hang():
    assert isinstance(
        reading_in_a_thread(lambda sensor: sensor.room.play({"fault": None})), Reading
    )


def test_closing_ends_a_hang():
    error = reading_in_a_thread(SimulatedSensor.close)
    assert isinstance(error, SensorError)
    assert "closed" in str(error)


def test_random_faults_include_every_fault_and_good_readings():
    sensor = SimulatedSensor(room_at(), wait=lambda *_: False)
    sensor.room.play({"fault": "random", "probability": 0.5})
    policy = Policy(model="dht22", spacing=0.0, interval=5.0, now=0.0)
    wrong_before, wrong_after = 0, 0
    for _ in range(2000):
        now = policy.next_attempt()
        policy.began(now)
        try:
            reading = sensor.read()
        except SensorError as error:
            policy.failed(error.fault, now)
        else:
            wrong_before += not 15 < reading.temperature < 27
            for accepted in policy.succeeded(reading, now):
                wrong_after += not 15 < accepted.reading.temperature < 27
    for fault in Fault:
        assert policy.counters[fault] > 50
    assert policy.counters["suspect"] > 50
    assert policy.counters["accepted"] > 800
    assert wrong_before > 200
    # Two equal spikes in a row cannot be distinguished from a true step.
    assert wrong_after < wrong_before / 20


def test_the_probability_applies_to_each_attempt():
    sensor = SimulatedSensor(room_at())
    sensor.room.play({"fault": "checksum", "probability": 0.2})
    failed = 0
    for _ in range(1000):
        try:
            sensor.read()
        except SensorError:
            failed += 1
    assert 150 < failed < 250


def test_setting_a_fault_resets_the_probability_to_1():
    room = room_at()
    room.play({"fault": "checksum", "probability": 0.2})
    room.play({"fault": "busy"})
    assert room.state()["probability"] == 1.0
