import errno
import os
from pathlib import Path

import pytest

from hw import Reading
from hw.errors import Fault, SensorError
from hw.sensors.kernel import KernelSensor
from hw.sensors.policy import Policy, SensorStatus


def add_device(
    sysfs, number=0, name="dht11@0", temperature="21500\n", humidity="45600\n", line=None
):
    """A device as the kernel shows it: bus/iio/devices links into devices/platform."""
    platform = sysfs / "devices" / "platform" / f"{name}.{number}"
    device = platform / f"iio:device{number}"
    device.mkdir(parents=True)
    (device / "name").write_text(f"{name}\n")
    (device / "in_temp_input").write_text(temperature)
    (device / "in_humidityrelative_input").write_text(humidity)
    if line is not None:
        (platform / "of_node").mkdir()
        cells = b"".join(cell.to_bytes(4, "big") for cell in (7, line, 0))
        (platform / "of_node" / "gpios").write_bytes(cells)
    bus = sysfs / "bus" / "iio" / "devices"
    bus.mkdir(parents=True, exist_ok=True)
    (bus / f"iio:device{number}").symlink_to(device)
    return device


def sensor_in(sysfs, **options):
    return KernelSensor(**{"model": "dht22", "pin": 4, "sysfs": sysfs} | options)


def fault_of(sensor):
    with pytest.raises(SensorError) as caught:
        sensor.read()
    return caught.value.fault, str(caught.value)


def test_it_reads_thousandths_of_degrees_and_percents(tmp_path):
    add_device(tmp_path)
    assert sensor_in(tmp_path).read() == Reading(21.5, 45.6)


def test_negative_temperatures_and_those_of_clones_are_read_right(tmp_path):
    add_device(tmp_path, temperature="-10100\n")
    assert sensor_in(tmp_path).read().temperature == -10.1
    (tmp_path / "bus/iio/devices/iio:device0/in_temp_input").write_text("-3266700\n")
    assert sensor_in(tmp_path).read().temperature == -10.1


def test_it_is_found_by_name_among_other_devices(tmp_path):
    add_device(tmp_path, 0, name="bmp280")
    add_device(tmp_path, 1, name="dht11@4", temperature="19000\n")
    assert sensor_in(tmp_path).read().temperature == 19.0


def test_of_several_the_one_on_the_right_line_is_read(tmp_path):
    add_device(tmp_path, 0, name="dht11@11", temperature="17000\n", line=17)
    add_device(tmp_path, 1, name="dht11@4", temperature="19000\n", line=4)
    assert sensor_in(tmp_path, pin=4).read().temperature == 19.0
    assert sensor_in(tmp_path, pin=17).read().temperature == 17.0


def test_the_line_may_be_told_by_the_device_itself(tmp_path):
    add_device(tmp_path, 0, temperature="17000\n", line=17)
    device = add_device(tmp_path, 1, temperature="19000\n")
    (device / "of_node").mkdir()
    (device / "of_node" / "gpios").write_bytes(bytes([0, 0, 0, 9, 0, 0, 0, 4, 0, 0, 0, 0]))
    assert sensor_in(tmp_path, pin=4).read().temperature == 19.0


def test_a_device_on_another_line_is_not_read(tmp_path):
    add_device(tmp_path, line=17)
    fault, sentence = fault_of(sensor_in(tmp_path, pin=4))
    assert fault is Fault.FAILED
    assert "reads GPIO 17, not GPIO 4" in sentence


def test_two_devices_of_unknown_lines_are_not_guessed_between(tmp_path):
    add_device(tmp_path, 0)
    add_device(tmp_path, 1)
    assert fault_of(sensor_in(tmp_path))[0] is Fault.FAILED


def test_a_missing_overlay_is_named_with_the_line_to_add(tmp_path):
    fault, sentence = fault_of(sensor_in(tmp_path, pin=22))
    assert fault is Fault.FAILED
    assert "dtoverlay=dht11,gpiopin=22" in sentence


def test_an_overlay_that_is_loaded_later_is_found_and_one_that_moves_is_found_again(tmp_path):
    sensor = sensor_in(tmp_path)
    assert fault_of(sensor)[0] is Fault.FAILED
    device = add_device(tmp_path, 0)
    assert sensor.read() == Reading(21.5, 45.6)
    (tmp_path / "bus/iio/devices/iio:device0").unlink()
    (device / "in_temp_input").unlink()
    assert fault_of(sensor)[0] is Fault.FAILED
    add_device(tmp_path, 1, temperature="22000\n")
    assert sensor.read().temperature == 22.0


def test_another_sensor_that_got_its_number_is_not_read_in_its_place(tmp_path):
    devices = tmp_path / "bus/iio/devices"
    add_device(tmp_path, 0, name="dht11@4", temperature="19000\n", line=4)
    add_device(tmp_path, 1, name="dht11@11", temperature="17000\n", line=17)
    sensor = sensor_in(tmp_path, pin=4)
    assert sensor.read().temperature == 19.0
    first, second = (devices / f"iio:device{number}" for number in (0, 1))
    first.rename(devices / "elsewhere")
    second.rename(first)
    assert "reads GPIO 17, not GPIO 4" in fault_of(sensor)[1]
    (devices / "elsewhere").rename(second)
    assert sensor.read().temperature == 19.0


def test_a_real_eio_is_a_damaged_frame(tmp_path):
    device = add_device(tmp_path)
    (device / "in_temp_input").unlink()
    (device / "in_temp_input").symlink_to("/proc/self/mem")  # read() of address 0: EIO.
    fault, sentence = fault_of(sensor_in(tmp_path))
    assert fault is Fault.CHECKSUM
    assert "tenths" not in sentence
    # Of a DHT11 it may also be a frame that the driver does not know.
    assert "choose the driver 'dht11'" in fault_of(sensor_in(tmp_path, model="dht11"))[1]


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (errno.ETIMEDOUT, Fault.NO_ANSWER),
        (errno.EIO, Fault.CHECKSUM),
        (errno.EACCES, Fault.NO_PERMISSION),
        (errno.EAGAIN, Fault.FAILED),
        (errno.ENODEV, Fault.FAILED),
    ],
)
@pytest.mark.parametrize("file", ["in_temp_input", "in_humidityrelative_input"])
def test_each_error_of_the_driver_has_its_fault_and_no_half_reading_is_given(
    tmp_path, number, fault, file
):
    add_device(tmp_path)

    def read_text(path):
        if path.name == file:
            raise OSError(number, os.strerror(number), str(path))
        return Path.read_text(path)

    sensor = sensor_in(tmp_path, read_text=read_text)
    assert fault_of(sensor)[0] is fault


@pytest.mark.parametrize("text", ["", "warm\n", "21.5\n"])
def test_a_file_without_a_number_is_a_failure(tmp_path, text):
    add_device(tmp_path, temperature=text)
    assert fault_of(sensor_in(tmp_path))[0] is Fault.FAILED


# A frame that lacks a few edges is decoded, too, after the driver's time-out.
@pytest.mark.parametrize("takes", [0.03, 1.03])
def test_what_the_driver_remembers_is_never_taken_for_a_conversion(tmp_path, takes):
    add_device(tmp_path)
    now, converted, conversions = 0.0, -10.0, 0

    def read_text(path):
        nonlocal now, converted, conversions
        if path.name == "in_temp_input" and now - converted > 2.0:
            now += takes
            converted = now
            conversions += 1
        return Path.read_text(path)

    sensor = sensor_in(tmp_path, read_text=read_text)
    policy = Policy(model="dht22", spacing=sensor.spacing, interval=60.0, now=0.0)
    for attempts in range(1, 7):
        now = policy.next_attempt()
        policy.began(now)
        policy.succeeded(sensor.read(), now)
        assert conversions == attempts
    assert policy.counters["accepted"] == 3


def test_silence_becomes_the_status_through_the_policy(tmp_path):
    add_device(tmp_path)
    silent = True

    def read_text(path):
        if silent and path.name == "in_temp_input":
            raise OSError(errno.ETIMEDOUT, "timed out")
        return Path.read_text(path)

    sensor = sensor_in(tmp_path, read_text=read_text)
    policy = Policy(model="dht22", spacing=sensor.spacing, interval=60.0, now=0.0)

    def attempt():
        now = policy.next_attempt()
        policy.began(now)
        try:
            return policy.succeeded(sensor.read(), now + 0.1)
        except SensorError as error:
            return policy.failed(error.fault, now + 1.0)

    for _ in range(5):
        attempt()
    assert policy.status is SensorStatus.NO_ANSWER
    silent = False
    assert attempt() == []
    assert [a.reading for a in attempt()] == [Reading(21.5, 45.6)]
    assert policy.status is SensorStatus.OK
