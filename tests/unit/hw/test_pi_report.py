"""The report of `make test-pi`, tested without a Raspberry Pi."""

import pytest
from places import TESTS
from scripts import load_script

from hw.errors import DriverError, LedError
from hw.leds.fake_led import SimulatedLed
from hw.sensors.fake import Room, SimulatedSensor


@pytest.fixture(scope="module")
def pi():
    return load_script(TESTS / "system" / "pi" / "report.py")


def test_the_report_of_simulated_hardware_says_so(pi, capsys):
    assert pi.main(["--fake-hw", "--count", "4"], wait=lambda _: None) == 0
    report = capsys.readouterr().out
    assert report.startswith("THIS IS AN EXAMPLE")
    assert "4 readings; 4 of 4 attempts answered (100%); faults: none" in report
    assert "blinking, once a second: state blinking, fault none" in report
    assert "not asked (no terminal)" in report


def test_faults_are_counted_by_sentence(pi):
    room = Room(seed=1)
    room.play({"fault": "checksum", "probability": 0.5})
    trial = pi.try_sensor("fake", lambda: SimulatedSensor(room), 40)
    section = "\n".join(pi.sensor_section(trial))
    assert len(trial.readings) > 10
    damaged = trial.counters["checksum"]
    assert f"{damaged} times: Simulated fault: the sensor's frame was damaged" in section
    rate = 1 - damaged / trial.counters["attempts"]
    assert f"({rate:.0%})" in section


def test_a_sensor_that_never_answers_is_reported(pi):
    room = Room(seed=1)
    room.play({"fault": "no_answer"})
    trial = pi.try_sensor("fake", lambda: SimulatedSensor(room), 40)
    assert trial.counters["attempts"] == 5
    assert "0 readings; 0 of 5 attempts answered (0%); faults: 5 no_answer" in "\n".join(
        pi.sensor_section(trial)
    )


def test_a_driver_that_cannot_work_is_reported_with_the_reason(pi):
    def refuse():
        raise DriverError("Not installed: gpiod.")

    assert "not possible: Not installed: gpiod." in pi.sensor_section(
        pi.try_sensor("dht22", refuse, 3)
    )


def test_an_led_that_cannot_be_driven_is_reported_with_the_reason(pi):
    def refuse():
        raise LedError("Another program holds GPIO 17.")

    assert pi.try_led(refuse, lambda _: None) == ["failed: Another program holds GPIO 17."]
    led = SimulatedLed()
    led.broken = "The line is gone."
    *_, last = pi.try_led(lambda: led, lambda _: None)
    assert last.startswith("failed: The line is gone.")
    led.broken = None


def test_the_report_describes_the_board(pi, tmp_path):
    files = {
        "proc/device-tree/model": "Raspberry Pi Zero 2 W Rev 1.0\0",
        "etc/os-release": 'NAME=x\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
        "boot/firmware/config.txt": "#dtoverlay=dht11,gpiopin=5\n dtoverlay=dht11,gpiopin=4\n",
        "dev/gpiochip0": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    facts = pi.machine(tmp_path)
    assert facts["board"] == "Raspberry Pi Zero 2 W Rev 1.0"
    assert facts["system"] == "Debian GNU/Linux 13 (trixie)"
    assert facts["overlay"] == "dtoverlay=dht11,gpiopin=4"
    assert facts["chips"] == "gpiochip0"


def test_without_any_reading_the_trial_fails(pi, capsys):
    with pytest.raises(SystemExit):
        pi.main(["--fake-hw", "--count", "0"])
    assert "--count must be 1 or more" in capsys.readouterr().err
