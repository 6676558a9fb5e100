import errno

import pytest
from sysfs import UNPLUGGED, add_bus, add_chip, chip_of, failing

from hw import Fault, Policy, Reading, SensorError, SensorStatus, open_sensor
from hw.errors import DriverError
from hw.sensors.i2c import I2cSensor, overlay_line
from hw.sensors.models import CHIPS


def sensor_in(sysfs, model="sht3x", **options):
    return I2cSensor(model=model, sysfs=sysfs, **options)


def fault_of(sensor):
    with pytest.raises(SensorError) as caught:
        sensor.read()
    return caught.value.fault, str(caught.value)


@pytest.mark.parametrize("model", CHIPS)
def test_each_model_is_read_at_its_usual_place(tmp_path, model):
    add_chip(tmp_path, model, temperature=-3.25, humidity=81.5)
    reading = sensor_in(tmp_path, model).read()
    assert reading.temperature == pytest.approx(-3.25, abs=0.002)
    assert reading.humidity == pytest.approx(81.5, abs=0.002)


def test_the_place_decides_and_not_the_number(tmp_path):
    add_chip(tmp_path, "sht3x", temperature=19.0, number=1)
    add_chip(tmp_path, "sht3x", address=0x45, temperature=5.0, number=0)
    add_chip(tmp_path, "sht3x", bus=3, temperature=30.0, number=2)
    assert sensor_in(tmp_path).read().temperature == 19.0
    assert sensor_in(tmp_path, address=0x45).read().temperature == 5.0
    assert sensor_in(tmp_path, bus=3).read().temperature == 30.0


def test_a_device_that_is_bound_later_or_again_is_found(tmp_path):
    sensor = sensor_in(tmp_path, "bme280")
    assert "no I2C bus 1" in fault_of(sensor)[1]
    values = add_chip(tmp_path, "bme280")
    assert sensor.read() == Reading(21.5, 45.6)
    values.rename(values.with_name("iio:device7"))
    assert sensor.read() == Reading(21.5, 45.6)


def test_hdc1080_without_an_offset_of_humidity(tmp_path):
    values = add_chip(tmp_path, "hdc1080")
    (values / "in_humidityrelative_offset").unlink()
    (values / "in_humidityrelative_raw").write_text("32768\n")
    (values / "in_humidityrelative_scale").write_text("1.525878906\n")  # 100000 / 65536
    assert sensor_in(tmp_path, "hdc1080").read().humidity == pytest.approx(50.0, abs=1e-4)


# What can be wrong, one sentence each.


def test_a_missing_bus_is_named_with_how_to_enable_it(tmp_path):
    add_bus(tmp_path, 20)
    add_bus(tmp_path, 0)
    fault, sentence = fault_of(sensor_in(tmp_path))
    assert fault is Fault.FAILED
    assert sentence == (
        "This machine has no I2C bus 1. There is I2C bus 0, 20. To enable bus 1, the header's: "
        "sudo sensor-agent setup"
    )
    for other in (sensor_in(tmp_path, "sht2x"), sensor_in(tmp_path, bus=3)):
        assert "header's: sudo raspi-config, Interface Options, I2C, Yes" in fault_of(other)[1]


def test_a_sensor_that_is_not_declared_is_reported_with_the_command_that_declares_it(tmp_path):
    add_bus(tmp_path)
    fault, sentence = fault_of(sensor_in(tmp_path, "bme280", address=0x77))
    assert fault is Fault.FAILED
    assert sentence == (
        "No BME280 at address 0x77 of I2C bus 1 is declared to the kernel. To declare it now and "
        "at each start: sudo sensor-agent setup. To declare it until the next restart of the Pi: "
        "echo bme280 0x77 | sudo tee /sys/bus/i2c/devices/i2c-1/new_device"
    )


@pytest.mark.parametrize(("model", "bus"), [("sht2x", 1), ("sht3x", 3)])
def test_without_an_overlay_the_sensor_is_declared_by_hand(tmp_path, model, bus):
    add_bus(tmp_path, bus)
    _, sentence = fault_of(sensor_in(tmp_path, model, bus=bus))
    assert "setup" not in sentence
    assert f"| sudo tee /sys/bus/i2c/devices/i2c-{bus}/new_device" in sentence


def test_the_same_model_elsewhere_is_named(tmp_path):
    add_chip(tmp_path, "sht3x", address=0x45)
    fault, sentence = fault_of(sensor_in(tmp_path))
    assert fault is Fault.FAILED
    assert sentence == (
        "No SHT3x at address 0x44 of I2C bus 1 is declared to the kernel, but one at address 0x45 "
        "of bus 1. To read that one: sudo sensor-agent setup --model sht3x --address 0x45"
    )


def test_another_model_at_the_address_is_not_read(tmp_path):
    add_chip(tmp_path, "sht4x")
    fault, sentence = fault_of(sensor_in(tmp_path))
    assert fault is Fault.FAILED
    assert sentence == (
        "The device at address 0x44 of I2C bus 1 is declared to the kernel as sht4x, not as the "
        "SHT3x of [sensor]. If that is right: sudo sensor-agent setup --model sht4x --address "
        "0x44. If not, replace the line for sht4x in /boot/firmware/config.txt by "
        "dtoverlay=i2c-sensor,sht3x, then: sudo reboot"
    )


def test_a_device_that_is_no_model_and_one_on_another_bus_are_not_read(tmp_path):
    add_chip(tmp_path, "bme280", name="bmp280")
    assert fault_of(sensor_in(tmp_path, "bme280"))[1].endswith(
        "not as the BME280 of [sensor]. Replace the line for bmp280 in /boot/firmware/config.txt "
        "by dtoverlay=i2c-sensor,bme280, then: sudo reboot"
    )
    add_chip(tmp_path, "htu21", bus=3)
    assert fault_of(sensor_in(tmp_path, "si7021", bus=3))[1].endswith(
        "If that is right: sudo sensor-agent setup --model htu21 --address 0x40 --bus 3. If not, "
        "remove what declares htu21, then: sudo reboot"
    )


@pytest.mark.parametrize("name", ["hdc1080", "hdc1010", "hdc100x"])
def test_every_name_of_a_model_is_accepted(tmp_path, name):
    add_chip(tmp_path, "hdc1080", name=name)
    sensor_in(tmp_path, "hdc1080").read()


def test_a_sensor_that_was_absent_when_its_driver_looked_is_reported(tmp_path):
    add_chip(tmp_path, "sht3x", is_bound=False)
    fault, sentence = fault_of(sensor_in(tmp_path))
    assert fault is Fault.NO_ANSWER
    assert sentence == (
        "The kernel found no SHT3x at address 0x44 of I2C bus 1 when it looked for it. Check the "
        "model, its wires and its address, then: echo 1-0044 | sudo tee "
        "/sys/bus/i2c/drivers/sht3x/bind"
    )


@pytest.mark.parametrize(
    ("model", "name", "remark"),
    [
        ("aht20", "aht20", "it came with Linux 6.5"),
        ("aht20", "dht20", "it came with Linux 6.16, and 6.12.117"),
        ("sht2x", "sht20", "each one knows sht21"),
    ],
)
def test_a_name_that_the_driver_may_not_know_is_reported(tmp_path, model, name, remark):
    add_chip(tmp_path, model, name=name, is_bound=False)
    fault, sentence = fault_of(sensor_in(tmp_path, model))
    assert fault is Fault.NO_ANSWER
    assert f"which is declared as {name}. Either the sensor did not answer" in sentence
    assert sentence.endswith(f"this kernel is too old for that name ({remark}).")


def test_an_hdc1080_that_lost_its_power_is_bound_again(tmp_path):
    add_chip(tmp_path, "hdc1080")
    _, sentence = fault_of(sensor_in(tmp_path, "hdc1080", read_text=failing(UNPLUGGED)))
    assert sentence.endswith("since the start of the Pi, restart the Pi: sudo reboot")
    assert "SDA and SCL" in sentence


def test_a_driver_that_is_not_loaded_is_reported(tmp_path):
    add_chip(tmp_path, "bme280", is_bound=False)
    (tmp_path / "bus/i2c/drivers/bmp280").rmdir()
    fault, sentence = fault_of(sensor_in(tmp_path, "bme280"))
    assert fault is Fault.FAILED
    assert "To load it: sudo modprobe bmp280-i2c. If there is no such module" in sentence


@pytest.mark.parametrize(
    ("model", "number", "fault", "part"),
    [
        ("sht3x", UNPLUGGED, Fault.NO_ANSWER, "Check its power, ground, SDA and SCL."),
        ("sht3x", errno.ENXIO, Fault.NO_ANSWER, "did not answer"),
        ("sht3x", errno.ETIMEDOUT, Fault.NO_ANSWER, "did not answer"),
        ("sht3x", errno.EAGAIN, Fault.NO_ANSWER, "did not answer"),
        ("sht3x", errno.EIO, Fault.CHECKSUM, "was incomplete"),
        ("sht4x", errno.EIO, Fault.CHECKSUM, "was damaged"),
        ("aht20", errno.EIO, Fault.CHECKSUM, "was damaged"),
        ("aht20", errno.ENODATA, Fault.CHECKSUM, "was incomplete"),
        ("htu21", errno.ENODEV, Fault.CHECKSUM, "was damaged"),
        ("bme280", errno.EIO, Fault.NO_ANSWER, "is not measuring, as after a loss of power"),
        ("bme280", errno.ENODEV, Fault.FAILED, "was removed from the kernel"),
        ("si7021", errno.EBUSY, Fault.BUSY, "in use by another program"),
        ("sht3x", errno.EACCES, Fault.NO_PERMISSION, "may not read"),
        ("sht3x", errno.EMFILE, Fault.FAILED, "Too many open files"),
    ],
)
@pytest.mark.parametrize("file", ["temp", "humidity"])
def test_each_error_of_a_driver_has_its_fault(tmp_path, model, number, fault, part, file):
    add_chip(tmp_path, model)
    sensor = sensor_in(tmp_path, model, read_text=failing(number, file))
    found, sentence = fault_of(sensor)
    assert (found, part in sentence) == (fault, True), sentence


def test_exhausted_file_descriptors_are_not_taken_for_a_missing_device(tmp_path):
    add_chip(tmp_path, "sht3x")
    fault, sentence = fault_of(sensor_in(tmp_path, read_text=failing(errno.EMFILE, "name")))
    assert fault is Fault.FAILED
    assert "Too many open files" in sentence


def test_a_real_eio_is_an_incomplete_answer(tmp_path):
    values = add_chip(tmp_path, "sht3x")
    (values / "temp1_input").unlink()
    (values / "temp1_input").symlink_to("/proc/self/mem")  # read() of address 0: EIO.
    assert fault_of(sensor_in(tmp_path))[0] is Fault.CHECKSUM


@pytest.mark.parametrize("text", ["", "warm\n", "21 5\n"])
def test_a_file_without_a_number_is_an_error(tmp_path, text):
    values = add_chip(tmp_path, "sht3x")
    (values / "temp1_input").write_text(text)
    assert fault_of(sensor_in(tmp_path))[0] is Fault.FAILED


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("sht3x", "heater_enable"),
        ("hdc1080", "out_current_heater_raw"),
        ("si7021", "heater_enable"),
        ("htu21", "heater_enable"),
    ],
)
def test_a_sensor_that_heats_itself_is_not_read(tmp_path, model, file):
    values = add_chip(tmp_path, model)
    (values / file).write_text("0\n")
    sensor = sensor_in(tmp_path, model)
    sensor.read()
    (values / file).write_text("1\n")
    fault, sentence = fault_of(sensor)
    assert fault is Fault.FAILED
    assert "is on, so its values are wrong. Turn it off: echo 0 | sudo tee /" in sentence
    assert sentence.endswith(f"{values.name}/{file}")


def test_the_power_of_a_si7021s_heater_is_not_taken_for_its_being_on(tmp_path):
    values = add_chip(tmp_path, "si7021")
    (values / "heater_enable").write_text("0\n")
    (values / "in_current_heater_raw").write_text("15\n")
    sensor_in(tmp_path, "si7021").read()


def test_a_heater_that_cannot_be_turned_off_has_other_advice(tmp_path):
    values = add_chip(tmp_path, "sht4x")
    (values / "heater_enable").write_text("1\n")  # Its driver refuses a 0: EINVAL.
    fault, sentence = fault_of(sensor_in(tmp_path, "sht4x"))
    assert fault is Fault.FAILED
    assert "echo" not in sentence
    assert sentence.endswith("It turns itself off: stop the program that turns it on.")


# Values that drivers repeat.


def test_a_driver_that_repeats_its_values_for_too_long_is_not_read(tmp_path):
    values = add_chip(tmp_path, "sht4x")
    (values / "update_interval").write_text("2000\n")
    sensor = sensor_in(tmp_path, "sht4x")
    assert sensor.read() == Reading(21.5, 45.6)
    (values / "update_interval").write_text("60000\n")
    fault, sentence = fault_of(sensor)
    assert fault is Fault.FAILED
    assert "repeats the values of the SHT4x at address 0x44 of I2C bus 1 for 60 s" in sentence


CACHED = {"sht2x": 0.5, "sht4x": 2.0, "aht10": 2.0, "aht20": 2.0, "sht3x": 2.0}
"""Seconds for which the drivers of Linux 6.12 repeat a value at most, by default."""


@pytest.mark.parametrize(("model", "seconds"), CACHED.items())
def test_attempts_are_further_apart_than_a_driver_repeats_its_values(tmp_path, model, seconds):
    values = add_chip(tmp_path, model)
    now, converted, conversions = 0.0, -10.0, 0

    def read_text(path):
        nonlocal converted, conversions
        if path.name == "temp1_input" and now - converted > seconds:
            converted = now
            conversions += 1
            (values / "temp1_input").write_text(f"{21000 + conversions}\n")
        return path.read_text()

    sensor = sensor_in(tmp_path, model, read_text=read_text)
    policy = Policy(model=model, spacing=sensor.spacing, interval=10.0, now=0.0)
    taken = []
    for _ in range(8):
        now = policy.next_attempt()
        policy.began(now)
        taken += policy.succeeded(sensor.read(), now)
    assert conversions == 8
    assert [one.reading.temperature for one in taken] == [21.0 + n / 1000 for n in range(2, 9)]


# What cannot be true: the words of a bus that is stuck, as the drivers convert them.

ZEROS_AND_ONES = {
    "sht2x": [Reading(-46.85, -6.0), Reading(128.86, 118.99)],
    "sht3x": [Reading(-45.0, 0.0), Reading(129.997, 100.0)],
    "sht4x": [Reading(-45.0, -6.0), Reading(129.999, 119.0)],
    "aht10": [Reading(-50.0, 0.0), Reading(149.999, 99.999)],
    "aht20": [Reading(-50.0, 0.0), Reading(149.999, 99.999)],
    "bme280": [Reading(-141.0, 0.0), Reading(187.55, 100.0)],
    "hdc1080": [Reading(-40.0, 0.0), Reading(124.997, 99.998), Reading(124.99, 99.99)],
    # The drivers of these two cut off the humidity.
    "si7021": [Reading(-46.847, 0.0), Reading(128.87, 100.0)],
    "htu21": [Reading(-46.85, 100.0), Reading(128.86, 100.0)],
}


def judged(model, *readings):
    policy = Policy(model=model, spacing=0.0, interval=5.0, now=0.0)
    accepted = []
    for number, reading in enumerate(readings):
        policy.began(5.0 * number)
        accepted += policy.succeeded(reading, 5.0 * number)
    return [one.reading for one in accepted], policy


@pytest.mark.parametrize(
    ("model", "stuck"), [(model, one) for model in CHIPS for one in ZEROS_AND_ONES[model]]
)
def test_a_bus_stuck_at_one_level_is_implausible_however_long(model, stuck):
    for reading in (stuck, Reading(stuck.temperature, 45.0), Reading(21.0, stuck.humidity)):
        accepted, policy = judged(model, *[reading] * 50)
        if accepted:  # 100 % alone is fog.
            assert reading.temperature == 21.0
            assert 99.9 < reading.humidity <= 100.0
        else:
            assert policy.counters["implausible"] == 50
            assert policy.why


@pytest.mark.parametrize("model", CHIPS)
@pytest.mark.parametrize(
    "reading",
    [Reading(21.0, 45.0), Reading(-25.0, 99.9), Reading(0.01, 100.0), Reading(80.0, 0.5)],
)
def test_real_air_is_accepted(model, reading):
    assert judged(model, reading)[0] == [reading]


@pytest.mark.parametrize("model", ["sht2x", "sht4x"])
@pytest.mark.parametrize(("raw", "humidity"), [(105.9, 100.0), (100.1, 100.0), (-3.9, 0.0)])
def test_humidity_a_little_outside_the_scale_is_cut_off(model, raw, humidity):
    assert judged(model, Reading(21.0, raw))[0] == [Reading(21.0, humidity)]


@pytest.mark.parametrize("dry", [0.2, 3.0, 19.9])
def test_a_humidity_below_zero_that_arrives_as_100_percent_is_not_sent(dry):
    wrapped = [Reading(21.0, 100.0)] * 50
    accepted, policy = judged("htu21", Reading(21.0, dry), *wrapped)
    assert accepted == [Reading(21.0, dry)]
    assert policy.status is SensorStatus.IMPLAUSIBLE
    assert "as its driver does in air that is too dry for it" in policy.why
    assert judged("sht3x", Reading(21.0, dry), *wrapped)[0][-1] == Reading(21.0, 100.0)


def test_a_humidity_below_zero_is_not_sent_after_one_that_was_refused():
    assert judged("htu21", Reading(21.0, 0.05), *[Reading(21.0, 100.0)] * 50)[0] == []


@pytest.mark.parametrize("before", [20.0, 45.0, 99.0])
def test_fog_is_sent_after_air_that_was_not_dry(before):
    readings = Reading(21.0, 3.0), *[Reading(21.0, before)] * 2, *[Reading(21.0, 100.0)] * 2
    assert judged("htu21", *readings)[0][-1] == Reading(21.0, 100.0)


def test_a_value_between_dry_air_and_fog_counts_even_if_it_was_not_confirmed():
    humidities = (3.0, 60.0, 100.0, 100.0)
    accepted, _ = judged("htu21", *[Reading(21.0, humidity) for humidity in humidities])
    assert accepted[-1] == Reading(21.0, 100.0)


def test_a_bmp280_declared_as_bme280_is_named():
    accepted, policy = judged("bme280", Reading(21.0, 0.0))
    assert accepted == []
    assert "If it is a BMP280, it measures no humidity" in policy.why


@pytest.mark.parametrize(("model", "sent"), [("sht4x", 2), ("sht3x", 1), ("dht22", 2)])
def test_without_a_checksum_a_smaller_step_needs_a_confirmation(model, sent):
    accepted, policy = judged(model, Reading(21.0, 45.0), Reading(23.0, 45.0))
    assert len(accepted) == sent
    assert policy.counters["suspect"] == 2 - sent


def test_a_reading_is_sent_after_one_attempt_also_at_long_intervals(tmp_path):
    policy = Policy(model="sht3x", spacing=2.1, interval=3600.0, now=0.0)
    for sent in ([], [Reading(21.0, 45.0)], [Reading(21.0, 45.0)]):
        now = policy.next_attempt()
        policy.began(now)
        assert [one.reading for one in policy.succeeded(Reading(21.0, 45.0), now)] == sent


# The overlay, and open_sensor.


def test_the_line_of_config_txt_names_an_unusual_address_only():
    assert overlay_line(chip_of("sht4x"), 0x44) == "dtoverlay=i2c-sensor,sht4x"
    assert overlay_line(chip_of("sht4x"), 0x45) == "dtoverlay=i2c-sensor,sht4x,addr=0x45"
    assert overlay_line(chip_of("sht2x"), 0x40) is None


def test_open_sensor_opens_it_for_the_kernels_driver_only():
    with open_sensor("kernel", model="sht31", address=0x45) as sensor:
        assert isinstance(sensor, I2cSensor)
        assert sensor.model == "sht3x"
    for driver in ("fake", "dht22"):
        with pytest.raises(DriverError, match="Only the driver kernel reads"):
            open_sensor(driver, model="sht31")
