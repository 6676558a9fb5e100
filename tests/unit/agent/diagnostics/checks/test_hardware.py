import errno

import pytest
from statuses import status_with
from sysfs import add_chip, failing

from agent.config.loader import SensorConfig
from agent.diagnostics.checks import hardware
from agent.diagnostics.finding import Outcome
from hw import ClimateSensor, DriverError, Fault, LedError, Reading, SensorError
from hw.leds.fake_led import SimulatedLed
from hw.sensors.fake import Room, SimulatedSensor
from hw.sensors.i2c import I2cSensor

GOOD = Reading(21.0, 45.0)
SILENT = SensorError("The sensor did not answer.", fault=Fault.NO_ANSWER)
DAMAGED = SensorError("The frame was damaged.", fault=Fault.CHECKSUM)
WILD = Reading(3276.7, 45.0)


class Sensor(ClimateSensor):
    model, spacing, deadline = "dht22", 2.1, 3.0

    def __init__(self, *answers):
        self.answers = list(answers)
        self.closed = False

    def read(self):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed = True


def examine(*answers):
    sensor, sleeps, time = Sensor(*answers), [], [0.0]

    def sleep(seconds):
        sleeps.append(seconds)
        time[0] += seconds

    finding = hardware.sensor_here(lambda: sensor, SensorConfig(), sleep=sleep, now=lambda: time[0])
    assert sensor.closed
    assert sleeps == [0.0, 2.1, 2.1, 2.1, 2.1]
    return finding


@pytest.mark.parametrize(
    ("answers", "outcome", "rate"),
    [
        ([GOOD] * 5, "ok", "5 of 5"),
        ([GOOD, SILENT, GOOD, DAMAGED, GOOD], "ok", "3 of 5"),
        ([SILENT, SILENT, GOOD, SILENT, GOOD], "warning", "2 of 5"),
        ([WILD, WILD, WILD, GOOD, GOOD], "warning", "2 of 5"),
    ],
)
def test_five_reads_are_rated(answers, outcome, rate):
    finding = examine(*answers)
    assert finding.outcome == outcome
    assert finding.line.startswith(f"{rate} attempts, 2.1 s apart, returned a reading.")
    assert len(finding.details) == 5


@pytest.mark.parametrize(
    ("answer", "words", "advice"),
    [
        (SILENT, "did not answer", "wires"),
        (DAMAGED, "damaged", "cable"),
        (WILD, "outside its range", "model"),
        (SensorError("GPIO 4 is busy.", fault=Fault.BUSY), "busy", "another pin"),
        (SensorError("No permission.", fault=Fault.NO_PERMISSION), "permission", "ls -l /dev"),
    ],
)
def test_a_sensor_without_readings_fails_with_the_advice_for_its_fault(answer, words, advice):
    finding = examine(*[answer] * 5)
    assert finding.outcome is Outcome.FAILED
    assert words in finding.line
    assert advice in finding.advice


@pytest.mark.parametrize(
    ("number", "outcome", "words", "advice"),
    [
        (None, "ok", "5 of 5 attempts", None),
        (errno.EREMOTEIO, "failed", "did not answer", "model and address in [sensor]"),
        (errno.EIO, "failed", "was incomplete", "wires"),
        (errno.EINVAL, "failed", "Cannot read", "sensor-agent read --list"),
    ],
)
def test_a_sensor_on_i2c_has_advice_of_its_own(tmp_path, number, outcome, words, advice):
    add_chip(tmp_path, "sht3x")
    more = {} if number is None else {"read_text": failing(number)}
    finding = hardware.sensor_here(
        lambda: I2cSensor(model="sht3x", sysfs=tmp_path, **more),
        SensorConfig(driver="kernel", model="sht3x", bus=1, address=0x44),
        sleep=lambda _: None,
    )
    assert finding.outcome == outcome
    assert words in finding.line
    assert (finding.advice is None) is (advice is None)
    assert (advice or "") in (finding.advice or "")
    assert "gpio" not in (finding.advice or "")


def test_a_warning_of_the_daemon_about_its_readings_is_a_warning_of_the_check():
    finding = hardware.sensor_of_daemon(status_with(sensor={"warning": "unchanging"}).sensor)
    assert finding.outcome is Outcome.WARNING
    assert "unchanging" in finding.line
    assert "another instrument" in str(finding.advice)


def test_a_sensor_without_its_driver_fails():
    def open_sensor():
        raise DriverError("Not installed: gpiod.")

    finding = hardware.sensor_here(open_sensor, SensorConfig())
    assert finding.outcome is Outcome.FAILED
    assert "fake" in str(finding.advice)


def test_a_fake_sensor_needs_no_time():
    finding = hardware.sensor_here(lambda: SimulatedSensor(Room(seed=1)), SensorConfig())
    assert finding.outcome is Outcome.OK


def test_the_led_is_switched_on_and_off():
    led = SimulatedLed()
    slept = []
    finding = hardware.led_here(
        lambda: led, sleep=lambda seconds: slept.append((seconds, str(led.state)))
    )
    assert finding.outcome is Outcome.OK
    assert slept == [(hardware.LIT, "on")]
    assert str(led.state) == "off"


@pytest.mark.parametrize("error", [DriverError("No lgpio."), LedError("GPIO 17 is held.")])
def test_an_led_that_cannot_be_opened_fails(error):
    def open_led():
        raise error

    finding = hardware.led_here(open_led)
    assert finding.outcome is Outcome.FAILED
    assert finding.line == str(error)
