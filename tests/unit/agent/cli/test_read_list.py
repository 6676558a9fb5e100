"""`sensor-agent read --list`, over a sysfs with sensors."""

import json
from typing import Any

import pytest
from sysfs import UNPLUGGED, add_chip, failing

from agent.cli import hardware
from agent.cli.read_list import read_list
from agent.config.loader import Config, DeviceConfig, SensorConfig
from hw import ClimateSensor, Reading, SensorError
from hw.errors import Fault
from hw.sensors.discovery import Found, kernel_sensors
from hw.sensors.i2c import I2cSensor
from hw.sensors.kernel import KernelSensor
from hw.sensors.models import CHIPS


def add_dht(sysfs, pin=4):
    device = sysfs / "bus/iio/devices/iio:device9"
    (device / "of_node").mkdir(parents=True)
    (device / "name").write_text("dht11@4\n")
    (device / "in_temp_input").write_text("19500\n")
    (device / "in_humidityrelative_input").write_text("51000\n")
    cells = b"".join(cell.to_bytes(4, "big") for cell in (7, pin, 0))
    (device / "of_node" / "gpios").write_bytes(cells)


def kernel(model, **more):
    return SensorConfig(driver="kernel", model=model, **more)


@pytest.fixture
def sysfs(tmp_path):
    return tmp_path / "sys"


@pytest.fixture
def listed(sysfs, tmp_path, monkeypatch, capsys):
    """Return a function that lists with this configured sensor: exit status and lines."""
    read_texts: dict[str, Any] = {}

    def open_sensor(driver, *, model, pin, bus, address, power_pin):
        if driver != "kernel":
            raise SensorError("It is on a wire.", fault=Fault.NO_ANSWER)
        sensor: ClimateSensor
        if model in CHIPS:
            more = {"read_text": read_texts[model]} if model in read_texts else {}
            sensor = I2cSensor(model=model, bus=bus, address=address, sysfs=sysfs, **more)
        else:
            sensor = KernelSensor(model=model, pin=pin, sysfs=sysfs)
        sensor.spacing = 0.0  # No test waits.
        return sensor

    monkeypatch.setattr(hardware, "open_sensor", open_sensor)

    def run(sensor, *, as_json=False, **broken):
        read_texts.update(broken)
        config = Config(device=DeviceConfig(id="pi-1"), sensor=sensor)
        status = read_list(config, tmp_path / "no-socket", as_json=as_json, sysfs=sysfs)
        return status, capsys.readouterr().out.splitlines()

    return run


def test_the_configured_sensor_is_first_and_the_others_follow_by_their_places(listed, sysfs):
    add_dht(sysfs)
    add_chip(sysfs, "sht3x", address=0x45, temperature=18.0, humidity=60.0)
    add_chip(sysfs, "bme280", temperature=21.5, humidity=45.6)
    add_chip(sysfs, "sht4x", bus=3, temperature=-4.0, humidity=88.0)
    status, lines = listed(kernel("bme280", bus=1, address=0x76))
    assert status == 0
    assert lines == [
        "kernel  bme280   I2C bus 1, 0x76  configured    21.5 °C   45.6 %",
        "kernel  dht22    GPIO 4                         19.5 °C   51.0 %",
        "kernel  sht3x    I2C bus 1, 0x45                18.0 °C   60.0 %",
        "kernel  sht4x    I2C bus 3, 0x44                -4.0 °C   88.0 %",
    ]


def test_a_sensor_that_gives_no_reading_says_why_in_its_line(listed, sysfs):
    add_chip(sysfs, "sht3x")
    add_chip(sysfs, "bme280")
    status, lines = listed(kernel("sht3x", bus=1, address=0x44), sht3x=failing(UNPLUGGED))
    assert status == 0
    assert lines[0] == (
        "kernel  sht3x    I2C bus 1, 0x44  configured  no reading: The SHT3x at address 0x44 of "
        "I2C bus 1 did not answer (Remote I/O error). Check its power, ground, SDA and SCL."
    )
    assert "21.5 °C" in lines[1]


def test_without_any_reading_the_exit_status_is_1(listed):
    status, [line] = listed(SensorConfig())
    assert status == 1
    assert line == "dht22   dht22    GPIO 4           configured  no reading: It is on a wire."


def test_json_has_the_place_and_the_same_keys_for_every_sensor(listed, sysfs):
    add_dht(sysfs, pin=17)
    add_chip(sysfs, "sht3x")
    _, lines = listed(kernel("dht11", pin=17), as_json=True)
    first, second = map(json.loads, lines)
    assert list(first) == list(second)
    assert (first["model"], first["pin"], first["configured"]) == ("dht11", 17, True)
    assert (second["bus"], second["address"], second["pin"]) == (1, 0x44, None)
    assert (second["temperature"], second["error"]) == (21.5, None)


def test_offsets_belong_to_the_configured_sensor_only(listed, sysfs):
    add_chip(sysfs, "sht3x")
    add_chip(sysfs, "bme280")
    _, lines = listed(kernel("sht3x", bus=1, address=0x44, temperature_offset=1.0))
    assert "22.5 °C" in lines[0]
    assert "21.5 °C" in lines[1]


def test_only_known_sensors_are_found(tmp_path):
    add_chip(tmp_path, "sht3x", is_bound=False)
    clock = tmp_path / "bus/i2c/devices/1-0068"
    clock.mkdir()
    (clock / "name").write_text("ds3231\n")
    (tmp_path / "bus/i2c/devices/1-0045").mkdir()  # It disappears.
    assert kernel_sensors(tmp_path) == [Found(model="sht3x", bus=1, address=0x44)]
    assert kernel_sensors(tmp_path / "nowhere") == []


def test_reading_is_what_the_driver_returns(tmp_path):
    add_chip(tmp_path, "aht20", name="dht20")
    [found] = kernel_sensors(tmp_path)
    sensor = I2cSensor(model=found.model, bus=found.bus, address=found.address, sysfs=tmp_path)
    assert sensor.read() == Reading(21.5, 45.6)
