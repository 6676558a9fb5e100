"""Drivers for a temperature and humidity sensor and an LED on a Raspberry Pi.

Read the sensor and light up the LED:

    import hw

    with hw.open_sensor("dht22", pin=4) as sensor, hw.open_led("gpiozero", pin=17) as led:
        print(sensor.read())
        led.on()

A DHT22 often needs several attempts. `Policy` schedules them, and refuses wrong values. The driver
`fake` simulates the hardware on any machine. No driver is ever replaced by another one. A driver's
packages are imported when it is opened.
"""

from hw.contracts import ClimateSensor, Reading
from hw.errors import DriverError, Fault, HardwareError, LedError, LineError, SensorError
from hw.leds.led import Led, LedState
from hw.sensors.models import CHIPS, DHT_SYNONYMS, DHTS, MODELS, SYNONYMS
from hw.sensors.policy import Accepted, Policy, SensorStatus
from hw.sensors.steadiness import SensorWarning

__all__ = [
    "Accepted",
    "ClimateSensor",
    "DriverError",
    "Fault",
    "HardwareError",
    "Led",
    "LedError",
    "LedState",
    "LineError",
    "Policy",
    "Reading",
    "SensorError",
    "SensorStatus",
    "SensorWarning",
    "open_led",
    "open_sensor",
]


def open_sensor(
    driver: str,
    *,
    model: str = "dht22",
    pin: int = 4,
    bus: int | None = None,
    address: int | None = None,
    power_pin: int | None = None,
    seed: int | None = None,
) -> ClimateSensor:
    """Return the sensor with this driver: `dht22`, `dht21`, `dht11`, `kernel` or `fake`.

    The first three, also as `am2302`, `rht03` and `am2301`, use adafruit_dht, `kernel` a driver of
    the kernel, and `fake` simulates a sensor. `model` applies to `kernel`, which reads each of
    `MODELS`, and to `fake`, which simulates the DHTs. `pin` is the GPIO number (BCM) of a DHT's
    data line, and `power_pin` that of the line that powers it, if any. `bus` (default: 1) and
    `address` (default: the model's) are those of a sensor on I2C. `fake` ignores all of them; its
    weather repeats for the same `seed`.

    Raise `DriverError` if the driver is unknown or cannot work on this machine. What may change
    while the program runs (no answer, a busy line, an overlay that is not loaded) is reported by
    `read`.
    """
    driver, model = DHT_SYNONYMS.get(driver, driver), SYNONYMS.get(model, model)
    if model not in MODELS:
        raise DriverError(f"Unknown sensor model {model!r}. Choose {', '.join(MODELS)}.")
    if model in CHIPS and driver != "kernel":
        raise DriverError(f"Only the driver kernel reads the sensor model {model}.")
    # Imported here, because each driver needs packages that only its users have installed.
    if driver == "fake":
        from hw.sensors.fake import Room, SimulatedSensor  # noqa: PLC0415 - see above

        return SimulatedSensor(Room(seed=seed), model=model)
    if model in CHIPS:
        from hw.sensors.i2c import I2cSensor  # noqa: PLC0415 - see above

        return I2cSensor(model=model, bus=bus, address=address)
    sensor: ClimateSensor
    if driver == "kernel":
        from hw.sensors.kernel import KernelSensor  # noqa: PLC0415 - see above

        sensor = KernelSensor(model=model, pin=pin)
    elif driver in DHTS:
        from hw.sensors.adafruit import AdafruitSensor, check_machine  # noqa: PLC0415 - see above

        check_machine(pin)
        sensor = AdafruitSensor(model=driver, pin=pin)
    else:
        raise DriverError(
            f"Unknown sensor driver {driver!r}. Choose {', '.join(DHTS)}, kernel or fake."
        )
    if power_pin is None:
        return sensor
    from hw.gpio import Output  # noqa: PLC0415 - see above
    from hw.sensors.power import PoweredSensor  # noqa: PLC0415 - see above

    return PoweredSensor(sensor, lambda: Output(power_pin))


def open_led(driver: str, *, pin: int = 17, active_high: bool = True) -> Led:
    """Return the LED with this driver: `gpiozero` or `fake`.

    `pin` is the GPIO number (BCM). Set `active_high` to false for an LED wired from 3.3 V to the
    pin, which lights up while the pin is low. Raise `DriverError` if the driver is unknown.
    What may change while the program runs (another program holds the line) is reported by the
    commands.
    """
    if driver == "fake":
        from hw.leds.fake_led import SimulatedLed  # noqa: PLC0415 - as in open_sensor

        return SimulatedLed()
    if driver == "gpiozero":
        from hw.leds.gpiozero_led import GpiozeroLed  # noqa: PLC0415 - as in open_sensor

        return GpiozeroLed(pin, active_high=active_high)
    raise DriverError(f"Unknown LED driver {driver!r}. Choose 'gpiozero' or 'fake'.")
