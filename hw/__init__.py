"""The board: one climate sensor and one LED, behind two contracts.

Drivers are chosen by name and imported only when asked for. Nothing falls back to another
driver by itself, least of all to the fake one.
"""

from hw.contracts import ClimateSensor, Reading
from hw.errors import DriverError
from hw.leds.led import Led, LedState

__all__ = ["ClimateSensor", "Led", "LedState", "Reading", "open_led", "open_sensor"]


def open_sensor(
    driver: str,
    *,
    model: str = "dht22",
    pin: int = 4,
    power_pin: int | None = None,
    seed: int | None = None,
) -> ClimateSensor:
    """Open the sensor with this driver: `dht22`, `dht11`, `kernel` or `fake`.

    `model` is for `kernel` and `fake`; the other two name their model themselves. `pin` and
    `power_pin` are GPIO numbers (BCM); a fake sensor has neither. `seed` makes the weather of
    a fake room repeatable.

    Raise `DriverError` if the driver is unknown or cannot be used on this machine. Whatever may
    change while the program runs (a silent sensor, a busy line, an overlay that is not loaded) is
    told by `read`.
    """
    if model not in {"dht22", "dht11"}:
        raise DriverError(f"There is no sensor model {model!r}: choose 'dht22' or 'dht11'.")
    # Imported here: each driver needs packages that only its users have installed.
    if driver == "fake":
        from hw.sensors.fake import FakeSensor, Room  # noqa: PLC0415 - see above

        return FakeSensor(Room(seed=seed), model=model)
    sensor: ClimateSensor
    if driver == "kernel":
        from hw.sensors.kernel import KernelSensor  # noqa: PLC0415 - see above

        sensor = KernelSensor(model=model, pin=pin)
    elif driver in {"dht22", "dht11"}:
        from hw.sensors.adafruit import AdafruitSensor, must_work_here  # noqa: PLC0415 - see above

        must_work_here(pin)
        sensor = AdafruitSensor(model=driver, pin=pin)
    else:
        raise DriverError(
            f"There is no sensor driver {driver!r}: choose 'dht22', 'dht11', 'kernel' or 'fake'."
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
