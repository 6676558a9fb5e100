import pytest

from hw import open_sensor
from hw.errors import DriverError
from hw.sensors import adafruit
from hw.sensors.adafruit import AdafruitSensor, check_machine


def board(tmp_path, model):
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_text(model)
    return tmp_path


def test_a_machine_that_is_not_a_raspberry_pi_is_refused(tmp_path):
    with pytest.raises(DriverError, match="not a Raspberry Pi"):
        check_machine(4, root=tmp_path)
    with pytest.raises(DriverError, match="not a Raspberry Pi"):
        check_machine(4, root=board(tmp_path, "Banana Pi M2\0"))


def test_all_missing_packages_are_listed(tmp_path, monkeypatch):
    root = board(tmp_path, "Raspberry Pi Zero 2 W Rev 1.0\0")
    monkeypatch.setattr(adafruit, "_is_installed", lambda module: module == "gpiod")
    with pytest.raises(DriverError, match="Not installed") as caught:
        check_machine(4, root=root)
    assert caught.value.packages == ("adafruit-circuitpython-dht", "Adafruit-Blinka", "sysv_ipc")
    monkeypatch.setattr(adafruit, "_is_installed", lambda _: True)
    check_machine(4, root=root)


@pytest.mark.parametrize("pin", [28, -1, "4"])
def test_an_invalid_gpio_number_is_refused(tmp_path, pin):
    with pytest.raises(DriverError, match="0 to 27"):
        check_machine(pin, root=board(tmp_path, "Raspberry Pi 5\0"))


@pytest.mark.parametrize(("driver", "spacing"), [("dht22", 2.1), ("dht11", 1.1)])
def test_open_sensor_returns_the_adafruit_driver(monkeypatch, driver, spacing):
    monkeypatch.setattr(adafruit, "check_machine", lambda _: None)
    with open_sensor(driver, model="dht22", pin=22) as sensor:
        assert isinstance(sensor, AdafruitSensor)
        assert (sensor.model, sensor.spacing) == (driver, spacing)
        assert sensor._command[1:] == ["-P", adafruit.WORKER, driver, "22"]
