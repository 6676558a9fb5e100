"""The contracts that every driver must keep."""

import sys

import pytest
from sysfs import add_chip

from hw import ClimateSensor, Led, LedState, Reading, open_led, open_sensor
from hw.errors import DriverError, Fault, LedError, SensorError
from hw.gpio import Output
from hw.leds.fake_led import SimulatedLed
from hw.leds.gpiozero_led import GpiozeroLed
from hw.sensors.adafruit import AdafruitSensor
from hw.sensors.fake import SimulatedSensor
from hw.sensors.i2c import I2cSensor
from hw.sensors.kernel import KernelSensor
from hw.sensors.models import MODELS
from hw.sensors.power import PoweredSensor


def fake_dht22(_):
    return open_sensor("fake", seed=1)


def fake_dht11(_):
    return open_sensor("fake", model="dht11", seed=1)


def kernel(directory):
    device = directory / "bus" / "iio" / "devices" / "iio:device0"
    device.mkdir(parents=True)
    (device / "name").write_text("dht11@0\n")
    (device / "in_temp_input").write_text("21500\n")
    (device / "in_humidityrelative_input").write_text("45600\n")
    return KernelSensor(model="dht22", pin=4, sysfs=directory)


def on_i2c(directory):
    add_chip(directory, "sht3x")
    return I2cSensor(model="sht3x", sysfs=directory)


def child(_):
    """An AdafruitSensor whose child process always answers, without Blinka."""
    program = """
import sys
print('{"ready": true}', flush=True)
for _ in sys.stdin:
    print('{"frame": [1, 194, 0, 215, 154]}', flush=True)
"""
    return AdafruitSensor(model="dht22", pin=4, command=[sys.executable, "-c", program])


def powered(_):
    factory = pytest.importorskip("gpiozero.pins.mock").MockFactory()
    return PoweredSensor(
        SimulatedSensor(), lambda: Output(5, factory=factory), wait=lambda event, _: event.is_set()
    )


def mock_led(_):
    mock = pytest.importorskip("gpiozero.pins.mock")
    return GpiozeroLed(17, factory=mock.MockFactory(pin_class=mock.MockPWMPin))


@pytest.fixture(params=[fake_dht22, fake_dht11, kernel, on_i2c, child, powered])
def sensor(request, tmp_path):
    with request.param(tmp_path) as sensor:
        yield sensor


@pytest.fixture(params=[lambda _: open_led("fake"), mock_led], ids=["fake", "led"])
def led(request, tmp_path):
    with request.param(tmp_path) as led:
        yield led


def test_a_sensor_has_a_model_spacing_and_deadline(sensor):
    assert isinstance(sensor, ClimateSensor)
    assert sensor.model in MODELS
    assert sensor.spacing >= 0.0
    assert 0.0 < sensor.deadline <= 30.0


def test_a_sensor_reads_a_temperature_and_a_humidity(sensor):
    reading = sensor.read()
    assert isinstance(reading, Reading)
    assert isinstance(reading.temperature, float)
    assert isinstance(reading.humidity, float)
    assert 15.0 < reading.temperature < 27.0
    assert 20.0 < reading.humidity < 80.0


def test_a_closed_sensor_raises_and_may_be_closed_again(sensor):
    sensor.close()
    sensor.close()
    with pytest.raises(SensorError, match="closed") as caught:
        sensor.read()
    assert caught.value.fault is Fault.FAILED


def test_a_sensor_is_closed_at_the_end_of_its_context(sensor):
    with sensor as entered:
        assert entered is sensor
    with pytest.raises(SensorError, match="closed"):
        sensor.read()


def test_an_led_executes_commands_and_has_their_state(led):
    assert isinstance(led, Led)
    assert led.state == "off"
    led.on()
    assert led.state == "on"
    led.set_brightness(3)
    assert led.brightness == 3
    led.blink(3600.0)
    assert led.state == "blinking"
    led.off()
    assert led.state is LedState.OFF


def test_an_led_is_off_and_closed_at_the_end_of_its_context(led):
    with led as entered:
        assert entered is led
        led.on()
    led.close()
    assert led.state is LedState.OFF
    with pytest.raises(LedError, match="closed"):
        led.on()


def test_an_unknown_driver_is_refused_with_the_known_ones():
    with pytest.raises(DriverError, match="or fake"):
        open_sensor("bme280")
    with pytest.raises(DriverError, match="'gpiozero'"):
        open_led("neopixel")


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(DriverError, match="dht11"):
        open_sensor("fake", model="dht23")


def test_the_driver_fake_simulates_and_needs_no_pin():
    with open_sensor("fake", pin=4, power_pin=5) as sensor, open_led("fake", pin=99) as led:
        assert isinstance(sensor, SimulatedSensor)
        assert isinstance(led, SimulatedLed)
