import pytest
from blinka import CHILD, PYTHONPATH, needs_blinka
from places import TESTS
from scripts import load_script

from hw.sensors.adafruit import AdafruitSensor


@pytest.fixture(scope="module")
def pi():
    return load_script(TESTS / "system" / "pi" / "report.py")


@needs_blinka
def test_the_report_of_the_adafruit_driver_with_a_simulated_helper(pi, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    monkeypatch.delenv("HELPER", raising=False)

    def open_it():
        sensor = AdafruitSensor(model="dht22", pin=4, command=CHILD)
        sensor.spacing = 0.01  # The helper needs none.
        return sensor

    trial = pi.try_sensor("dht22", open_it, 3)
    section = "\n".join(pi.sensor_section(trial))
    assert "3 readings; 4 of 4 attempts answered (100%)" in section  # One was the warm-up.
    assert "values: 21.5 to 21.5 °C, 45.0 to 45.0 %" in section
