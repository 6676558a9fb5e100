"""A DHT22's frames, decoded by the kernel's dht11 driver and read by KernelSensor."""

import errno
import json
import re
import time
from pathlib import Path

import pytest
from machine import IIO, PATIENCE, SENSOR, simulate, until

from hw import Fault, Reading, SensorError, open_sensor

SPACING = 2.1  # Seconds. The kernel caches for 2.


@pytest.fixture
def sensor(no_daemon):
    """A KernelSensor, after the cached value of an earlier test has expired."""
    time.sleep(SPACING)
    with open_sensor("kernel", pin=4) as sensor:
        yield sensor


VALUES = [
    Reading(21.5, 45.6),
    Reading(-0.1, 99.9),
    Reading(-10.1, 65.2),
    Reading(-40.0, 0.1),
    Reading(80.0, 100.0),
    Reading(0.0, 30.0),
    Reading(35.1, 65.2),
]


def test_every_value_is_read_within_5_attempts_and_none_is_wrong(sensor):
    attempts = 0
    for wanted in VALUES:
        simulate(temperature=wanted.temperature, humidity=wanted.humidity)
        for _ in range(5):
            attempts += 1
            try:
                reading = sensor.read()
            except SensorError as error:
                assert error.fault in {Fault.CHECKSUM, Fault.NO_ANSWER}  # noqa: PT017 - both may be
                time.sleep(SPACING)
                continue
            assert reading == wanted
            break
        else:
            pytest.fail(f"{wanted} was not read within 5 attempts")
        time.sleep(SPACING)
    print(f"\n{len(VALUES)} values right in {attempts} attempts.")


def test_one_reading_is_one_conversion(sensor):
    simulate()
    before = int((SENSOR / "answers").read_text())
    assert sensor.read() == Reading(21.5, 45.6)
    assert int((SENSOR / "answers").read_text()) == before + 1


@pytest.mark.parametrize(
    ("damage", "number", "fault", "word"),
    [
        ({"corrupt": True}, errno.EIO, Fault.CHECKSUM, "damaged"),
        ({"mute": True}, errno.ETIMEDOUT, Fault.NO_ANSWER, "did not answer"),
    ],
)
def test_each_error_of_the_kernel_has_its_fault(sensor, damage, number, fault, word):
    simulate(**damage)
    with pytest.raises(OSError) as raw:  # noqa: PT011 - its number is compared
        (IIO / "in_temp_input").read_text()
    assert raw.value.errno == number
    time.sleep(SPACING)
    with pytest.raises(SensorError, match=word) as named:
        sensor.read()
    assert named.value.fault is fault


DHT11_FRAMES = {
    "2D 00 15 00": Reading(21.0, 45.0),
    "2D 00 15 05": Fault.CHECKSUM,  # 21.5 degrees, which newer kernels of Raspberry Pi OS decode.
    "2D 00 05 83": Fault.CHECKSUM,  # -5.3 degrees.
    "2D 00 05 80": Fault.CHECKSUM,  # -5.0 degrees.
    "02 00 00 05": Fault.IMPLAUSIBLE,  # 2 %: decoded as a DHT22's 51.2 % and 0.5 degrees.
}


@pytest.mark.parametrize(("raw", "wanted"), DHT11_FRAMES.items())
def test_a_dht11_is_read_right_or_not_at_all(no_daemon, raw, wanted):
    simulate(raw=raw)
    time.sleep(SPACING)
    with open_sensor("kernel", model="dht11", pin=4) as sensor:
        for _ in range(5):
            result: object
            try:
                result = sensor.read()
            except SensorError as error:
                result = error.fault
            if result == wanted:
                return
            assert isinstance(result, Fault)
            time.sleep(SPACING)
    pytest.fail(f"{raw} gave only faults, such as {result}")


def test_by_hand_readings_are_printed_with_their_rate(no_daemon):
    simulate(temperature=19.5, humidity=51.0)
    time.sleep(SPACING)
    assert read_by_hand(no_daemon) == [{"temperature": 19.5, "humidity": 51.0}] * 3


def test_by_hand_the_running_daemon_takes_new_readings(central, daemon):
    until(lambda: daemon.status()["sensor"]["status"] == "ok")
    before = daemon.status()["sensor"]["counters"]["accepted"]
    assert read_by_hand(daemon) == [{"temperature": 21.5, "humidity": 45.6}] * 3
    assert daemon.status()["sensor"]["counters"]["accepted"] >= before + 3


def read_by_hand(daemon):
    with daemon.by_hand("read", "--count", "3", "--json") as by_hand:
        output, _ = by_hand.communicate(timeout=PATIENCE)
    assert by_hand.returncode == 0, output
    *lines, rate = output.splitlines()
    summary = re.fullmatch(r"(\d+) readings; .*; faults: (.*)", rate)
    assert summary, rate
    count, faults = summary.groups()
    assert int(count) >= 3
    assert set(re.findall(r"[a-z_]+", faults)) <= {"none", "checksum", "no_answer"}
    readings = [json.loads(line) for line in lines]
    return [{name: one[name] for name in ("temperature", "humidity")} for one in readings]


def test_readings_arrive_at_central_as_they_were_taken(central, daemon):
    until(lambda: (21.5, 45.6) in central.readings(daemon.id))
    simulate(temperature=23.0, humidity=47.0)  # Air can make this step.
    until(lambda: (23.0, 47.0) in central.readings(daemon.id))
    assert set(central.readings(daemon.id)) <= {(21.5, 45.6), (23.0, 47.0)}
    central.until_told(daemon.id, sensorStatus="ok")


@pytest.mark.parametrize(
    ("damage", "status"),
    [
        ({"corrupt": True}, "checksum"),
        ({"mute": True}, "no_answer"),
        ({"temperature": 0.0, "humidity": 0.0}, "implausible"),
        ({"temperature": 99.9}, "implausible"),
    ],
)
def test_a_failing_sensor_is_reported_and_sends_nothing_until_it_recovers(
    central, daemon, damage, status
):
    central.until_told(daemon.id, sensorStatus="ok")
    simulate(**damage)
    central.until_told(daemon.id, sensorStatus=status)
    arrived = len(central.readings(daemon.id))
    time.sleep(20.0)
    assert len(central.readings(daemon.id)) == arrived
    simulate()
    central.until_told(daemon.id, sensorStatus="ok")
    until(lambda: len(central.readings(daemon.id)) > arrived)
    # Only values that these tests have set, and no damaged one.
    assert set(central.readings(daemon.id)) <= {(21.5, 45.6), (23.0, 47.0)}


def test_a_removed_overlay_is_reported_with_the_command_that_loads_it(central, daemon):
    driver = Path("/sys/bus/platform/drivers/dht11")
    (driver / "unbind").write_text("dht11")
    try:
        central.until_told(daemon.id, sensorStatus="failed")
        until(lambda: "sudo dtoverlay dht11 gpiopin=4" in daemon.status()["sensor"]["error"])
    finally:
        (driver / "bind").write_text("dht11")
    central.until_told(daemon.id, sensorStatus="ok")
