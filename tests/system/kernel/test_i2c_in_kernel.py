"""Sensors on I2C, answering the kernel's own drivers over a simulated bus."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import chips
import pytest
from machine import NOBODY, PATIENCE
from sysfs import chip_of

from hw import Fault, Policy, Reading, SensorError, open_sensor
from hw.sensors.i2c_probe import answering

ROOM, FROST = Reading(21.5, 45.6), Reading(-10.1, 65.2)


@pytest.fixture(params=sorted(chips.CHIPS))
def model(request):
    return request.param


@pytest.fixture
def place(model):
    """A chip of this model, plugged in and declared."""
    chip = chip_of(model)
    address = chip.addresses[0]
    chips.tell(address, chips.CHIPS[model](*fields(ROOM)))
    with chips.declared(chip.names[0], address):
        yield address
    chips.unplug(address)


def fields(reading):
    return reading.temperature, reading.humidity


def read(model):
    """Read as the daemon does, as soon as the kernel's driver repeats nothing."""
    with open_sensor("kernel", model=model) as sensor:
        machine_sleep(sensor.spacing)
        return sensor.read()


def machine_sleep(seconds):
    subprocess.run(["sleep", str(seconds)], check=True)


def close_to(reading):
    return pytest.approx(fields(reading), abs=0.05)


def test_each_model_is_read_with_its_values(model, place):
    assert fields(read(model)) == close_to(ROOM)
    chips.tell(place, chips.CHIPS[model](*fields(FROST)))
    assert fields(read(model)) == close_to(FROST)


def test_an_unplugged_sensor_does_not_answer_until_it_is_back(model, place):
    assert fields(read(model)) == close_to(ROOM)
    chips.unplug(place)
    with pytest.raises(SensorError, match=r"did not answer \(Remote I/O error\)") as caught:
        read(model)
    assert caught.value.fault is Fault.NO_ANSWER
    chips.tell(place, chips.CHIPS[model](*fields(FROST)))
    assert fields(read(model)) == close_to(FROST)


@pytest.mark.parametrize("level", [0x00, 0xFF])
def test_a_bus_stuck_at_one_level_is_never_a_reading(model, place, level):
    chips.tell(place, chips.stuck(model, level))
    policy = Policy(model=model, spacing=0.0, interval=5.0, now=0.0)
    for at in range(3):
        policy.began(5.0 * at)
        try:
            reading = read(model)
        except SensorError as error:
            policy.failed(error.fault, 5.0 * at)
        else:
            assert policy.succeeded(reading, 5.0 * at) == [], reading
    faults = {fault: policy.counters[fault] for fault in Fault if policy.counters[fault]}
    assert sum(faults.values()) == 3
    assert set(faults) <= {Fault.IMPLAUSIBLE, Fault.CHECKSUM, Fault.NO_ANSWER}


def test_a_wrong_checksum_is_a_fault_if_the_driver_checks_it(model, place):
    chips.tell(place, chips.with_wrong_checksums(model, *fields(FROST)))
    if chip_of(model).checksum is None:
        read(model)  # That it may be wrong is why the policy is stricter.
        return
    with pytest.raises(SensorError, match="was damaged") as caught:
        read(model)
    assert caught.value.fault is Fault.CHECKSUM


def test_the_command_for_a_sensor_that_is_not_declared_declares_it(model):
    chip = chip_of(model)
    address = chip.addresses[0]
    chips.tell(address, chips.CHIPS[model](*fields(ROOM)))
    with pytest.raises(SensorError, match="is declared to the kernel") as caught:
        read(model)
    assert ("sudo sensor-agent setup" in str(caught.value)) == (chip.overlay is not None)
    command, _, file = str(caught.value).rpartition(" | sudo tee ")
    _, _, declaration = command.rpartition("echo ")
    try:
        Path(file).write_text(declaration)
        assert fields(read(model)) == close_to(ROOM)
    finally:
        (chips.BUS / "delete_device").write_text(f"0x{address:x}")
        chips.unplug(address)


@pytest.mark.parametrize("model", ["bme280", "aht10", "htu21"])
def test_a_sensor_that_was_absent_at_the_start_is_reported(model):
    chip = chip_of(model)
    with (
        chips.declared(chip.names[0], chip.addresses[0]),
        pytest.raises(SensorError, match=r"The kernel found no .* when it looked for it") as caught,
    ):
        read(model)
    assert caught.value.fault is Fault.NO_ANSWER


@pytest.mark.parametrize("model", ["bme280"])
def test_a_bme280_that_lost_its_power_is_not_measuring(model, place):
    chips.tell(place, chips.SKIPPED)
    with pytest.raises(SensorError, match="is not measuring, as after a loss of power"):
        read(model)


def test_a_bmp280_declared_as_bme280_gives_no_reading():
    chips.tell(0x76, chips.BMP280)
    try:
        with (
            chips.declared("bme280", 0x76),
            open_sensor("kernel", model="bme280") as sensor,
            pytest.raises(SensorError, match="The kernel found no BME280"),
        ):
            sensor.read()
    finally:
        chips.unplug(0x76)


def test_setup_finds_what_answers_and_has_no_driver():
    for address in (0x44, 0x76):
        chips.tell(address, chips.sht3x(*fields(ROOM)))
    try:
        assert answering() == [0x44, 0x76]
        with chips.declared("sht3x", 0x44):
            assert answering() == [0x76]
    finally:
        for address in (0x44, 0x76):
            chips.unplug(address)
    assert answering() == []


@pytest.mark.parametrize(
    ("model", "status"),
    [("sht3x", {"F32D": chips.checked(b"\x20\x00")}), ("htu21", {"E7": b"\x06"})],
)
def test_a_heater_that_is_on_is_no_reading(model, place, status):
    chips.tell(place, status)
    with pytest.raises(SensorError, match=f"heater of the .* at address 0x{place:02x} of I2C bus"):
        read(model)


@pytest.mark.parametrize(
    ("model", "reported"), [("si7021", 0.0), ("htu21", 100.0), ("sht2x", -2.0)]
)
def test_what_each_driver_makes_of_a_humidity_below_zero(model, place, reported):
    chips.tell(place, chips.CHIPS[model](21.5, -2.0))
    assert read(model).humidity == pytest.approx(reported, abs=0.05)


def test_without_rights_every_sensor_is_listed_with_its_values():
    listed = {"sht3x": 0x44, "sht4x": 0x45, "aht10": 0x38, "bme280": 0x77, "si7021": 0x40}
    with ExitStack() as stack:
        for model, address in listed.items():
            chips.tell(address, chips.CHIPS[model](*fields(ROOM)))
            stack.callback(chips.unplug, address)
            stack.enter_context(chips.declared(chip_of(model).names[0], address))
        command = [sys.executable, "-m", "agent", "read", "--list", "--json", "--fake-hw"]
        done = subprocess.run(
            ["setpriv", f"--reuid={NOBODY}", "--clear-groups", *command],
            env=os.environ | {"HOME": "/"},  # Only root may look into its own.
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    found = {one["model"]: one for one in entries if one["address"] is not None}
    assert {model: one["address"] for model, one in found.items()} == listed
    for one in found.values():
        assert (one["temperature"], one["humidity"]) == close_to(ROOM), one
