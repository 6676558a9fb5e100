import errno
import os
from pathlib import Path

import pytest
from trains import frame_of_dht11, in_kernel

from hw import Reading
from hw.errors import Fault, SensorError
from hw.sensors.kernel import KernelSensor
from hw.sensors.policy import Policy


def add_device(
    sysfs, number=0, name="dht11@0", temperature="21500\n", humidity="45600\n", line=None
):
    """Create a device as in sysfs, where bus/iio/devices links into devices/platform."""
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


def test_values_are_read_in_thousandths(tmp_path):
    add_device(tmp_path)
    assert sensor_in(tmp_path).read() == Reading(21.5, 45.6)


def test_negative_temperatures_are_read_also_from_clones(tmp_path):
    add_device(tmp_path, temperature="-10100\n")
    assert sensor_in(tmp_path).read().temperature == -10.1
    (tmp_path / "bus/iio/devices/iio:device0/in_temp_input").write_text("-3266700\n")
    assert sensor_in(tmp_path).read().temperature == -10.1


def test_the_device_is_found_by_name_among_others(tmp_path):
    add_device(tmp_path, 0, name="bmp280")
    add_device(tmp_path, 1, name="dht11@4", temperature="19000\n")
    assert sensor_in(tmp_path).read().temperature == 19.0


def test_of_several_devices_the_one_on_the_configured_line_is_read(tmp_path):
    add_device(tmp_path, 0, name="dht11@11", temperature="17000\n", line=17)
    add_device(tmp_path, 1, name="dht11@4", temperature="19000\n", line=4)
    assert sensor_in(tmp_path, pin=4).read().temperature == 19.0
    assert sensor_in(tmp_path, pin=17).read().temperature == 17.0


def test_the_line_may_be_in_the_devices_own_node(tmp_path):
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


def test_of_two_devices_without_known_lines_neither_is_read(tmp_path):
    add_device(tmp_path, 0)
    add_device(tmp_path, 1)
    assert fault_of(sensor_in(tmp_path))[0] is Fault.FAILED


def test_a_missing_overlay_is_reported_with_the_line_to_add(tmp_path):
    fault, sentence = fault_of(sensor_in(tmp_path, pin=22))
    assert fault is Fault.FAILED
    assert "sudo sensor-agent setup" in sentence
    assert "sudo dtoverlay dht11 gpiopin=22" in sentence


def test_an_overlay_that_is_loaded_or_moved_later_is_found(tmp_path):
    sensor = sensor_in(tmp_path)
    assert fault_of(sensor)[0] is Fault.FAILED
    device = add_device(tmp_path, 0)
    assert sensor.read() == Reading(21.5, 45.6)
    (tmp_path / "bus/iio/devices/iio:device0").unlink()
    (device / "in_temp_input").unlink()
    assert fault_of(sensor)[0] is Fault.FAILED
    add_device(tmp_path, 1, temperature="22000\n")
    assert sensor.read().temperature == 22.0


def test_another_sensor_with_the_same_device_number_is_not_read(tmp_path):
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
    assert "DHT11" not in sentence
    # With a DHT11 the cause may also be a frame that the driver cannot decode.
    assert 'set driver = "dht11"' in fault_of(sensor_in(tmp_path, model="dht11"))[1]


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
def test_each_error_of_the_driver_has_its_fault(tmp_path, number, fault, file):
    add_device(tmp_path)

    def read_text(path):
        if path.name == file:
            raise OSError(number, os.strerror(number), str(path))
        return Path.read_text(path)

    sensor = sensor_in(tmp_path, read_text=read_text)
    assert fault_of(sensor)[0] is fault


def test_exhausted_file_descriptors_are_not_taken_for_a_missing_driver(tmp_path):
    add_device(tmp_path)

    def read_text(path):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    fault, sentence = fault_of(sensor_in(tmp_path, read_text=read_text))
    assert fault is Fault.FAILED
    assert "Too many open files" in sentence


@pytest.mark.parametrize("text", ["", "warm\n", "21.5\n"])
def test_a_file_without_a_number_is_an_error(tmp_path, text):
    add_device(tmp_path, temperature=text)
    assert fault_of(sensor_in(tmp_path))[0] is Fault.FAILED


# The driver also decodes frames that lack a few edges, after its timeout.
@pytest.mark.parametrize("takes", [0.03, 1.03])
def test_a_value_from_the_drivers_cache_never_counts_as_a_conversion(tmp_path, takes):
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


WHOLE = range(0, 601, 10)  # Without tenths, from 0 degrees.
TENTHS = [*range(-200, -20, 5), *range(-20, 20), *range(20, 601, 5)]


@pytest.mark.parametrize("is_newer", [False, True])
def test_of_every_frame_of_a_dht11_the_kernels_value_is_right_or_a_fault(tmp_path, is_newer):
    add_device(tmp_path)
    values: dict[str, str] = {}
    sensor = sensor_in(
        tmp_path, model="dht11", read_text=lambda path: values.get(path.name) or "dht11@4\n"
    )
    right = 0
    for humidity in (0, 1, 2, 3, 4, 5, 45, 94):  # With a broken element it is below 5.
        for tenths in TENTHS:
            decoded = in_kernel(frame_of_dht11(tenths / 10, humidity), is_newer=is_newer)
            if decoded is None:
                continue
            values["in_temp_input"], values["in_humidityrelative_input"] = map(str, decoded)
            policy = Policy(model="dht11", spacing=0.0, interval=5.0, now=0.0)
            policy.began(0.0)
            try:
                accepted = policy.succeeded(sensor.read(), 0.0)
            except SensorError as error:
                assert error.fault is Fault.IMPLAUSIBLE  # noqa: PT017 - a value is right, too
                continue
            for one in accepted:
                assert one.reading == Reading(tenths / 10, float(humidity))
                right += 1
    assert right == 3 * sum(tenths >= 0 if is_newer else tenths in WHOLE for tenths in TENTHS)
