"""The sensor and the LED: tried here, or judged by the status of the running daemon."""

import time
from collections.abc import Callable, Mapping

from agent.config.loader import SensorConfig
from agent.device.units import temperature_text
from agent.diagnostics import installation
from agent.diagnostics.examination import ADAFRUIT, Examination
from agent.diagnostics.finding import NO_BOARD, Finding, failed, ok, plural, warning
from agent.diagnostics.registry import check
from agent.logs.local_time import in_local_time
from agent.status import LedPart, SensorPart
from hw import ClimateSensor, DriverError, Fault, HardwareError, Led, Policy, SensorError
from hw.sensors.models import CHIPS
from hw.sensors.steadiness import ADVICE as DOUBTS

READS = 5
ENOUGH = 3  # Of five: on Linux, about one attempt in five to read a DHT22 fails.
LIT = 0.2  # Seconds that the LED is on.

ADVICE = {
    Fault.NO_ANSWER: "Check the three wires, the pull-up resistor and the pin in [sensor].",
    Fault.CHECKSUM: "Shorten the cable, and check the pull-up resistor (4.7 to 10 kOhm).",
    Fault.IMPLAUSIBLE: "Check driver and model in [sensor]. If they are right, replace the sensor.",
    Fault.NO_PERMISSION: "To see which group may use the GPIO pins: ls -l /dev/gpiochip*",
    Fault.BUSY: "Stop the program that uses the GPIO, or set another pin in [sensor].",
    Fault.FAILED: "Restart the Pi: sudo reboot. If it happens again, please report it with the "
    "file from: sensor-agent check --report FILE",
}
ON_I2C = ADVICE | {
    Fault.NO_ANSWER: "If the wires are right, correct model and address in [sensor]. To list the "
    "sensors that can be read: sensor-agent read --list",
    Fault.CHECKSUM: "Shorten the wires to the sensor, and check their contacts.",
    Fault.IMPLAUSIBLE: "Check the wires, and model in [sensor]. If they are right, replace the "
    "sensor.",
    Fault.NO_PERMISSION: "The files in /sys must be readable: check the permissions of that file.",
    Fault.BUSY: "Stop the other program.",
    Fault.FAILED: "Do what the message says. To list the sensors that can be read: sensor-agent "
    "read --list",
}
SEE = {
    Fault.NO_PERMISSION: ("gpio-access",),
    Fault.BUSY: ("gpio-lines",),
    Fault.FAILED: ("packages", "gpio-lines", "gpio-overlay"),
}
ADVICE_LED = "Set another pin in [led], and try it with: sensor-agent led on"
LED_SEES = ("gpio-access", "gpio-lines")
NO_DRIVER = ("packages", "gpio-access")


@check("sensor", deadline=90.0, needs=("configuration", "daemon"))
def sensor(examination: Examination) -> Finding:
    if examination.status is not None:
        return sensor_of_daemon(examination.status.sensor, _advice(examination.config.sensor))
    config = examination.config.sensor
    if examination.lacks_board and config.driver in ADAFRUIT:
        return NO_BOARD
    return sensor_here(
        lambda: examination.open_sensor(
            config.driver,
            model=config.model,
            pin=config.pin,
            bus=config.bus,
            address=config.address,
            power_pin=config.power_pin,
        ),
        config,
    )


def _advice(config: SensorConfig) -> Mapping[Fault, str]:
    return ON_I2C if config.model in CHIPS else ADVICE


def sensor_here(
    open_sensor: Callable[[], ClimateSensor],
    config: SensorConfig,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Finding:
    """Read the sensor five times, at the shortest interval it allows."""
    details, worst, advice = [], Fault.FAILED, _advice(config)
    try:
        with open_sensor() as sensor:
            policy = Policy(
                model=sensor.model,
                spacing=sensor.spacing,
                interval=3600.0,
                temperature_offset=config.temperature_offset,
                humidity_offset=config.humidity_offset,
                now=now(),
            )
            for number in range(READS):
                sleep(sensor.spacing if number else 0.0)
                fault, line = _one(sensor, policy, now)
                worst = fault or worst
                details.append(line)
            spacing = sensor.spacing
    except DriverError as error:
        return failed(str(error), installation.driver_advice(error), see=NO_DRIVER)
    faults = sum(policy.counters[fault] for fault in Fault)
    good = READS - faults
    line = f"{good} of {READS} attempts, {spacing:g} s apart, returned a reading."
    if not good:
        return failed(details[-1], advice[worst], *details, see=SEE.get(worst, ()))
    if good < ENOUGH:
        return warning(line, advice[worst], *details, see=SEE.get(worst, ()))
    return ok(f"{line} The last one: {details[-1]}" if not faults else line, *details)


def _one(
    sensor: ClimateSensor, policy: Policy, now: Callable[[], float]
) -> tuple[Fault | None, str]:
    policy.began(now())
    try:
        reading = sensor.read()
    except SensorError as error:
        policy.failed(error.fault, now())
        return error.fault, str(error)
    policy.succeeded(reading, now())
    if policy.why:
        return Fault.IMPLAUSIBLE, policy.why
    return None, f"{reading.temperature:.1f} °C, {reading.humidity:.1f} %."


def sensor_of_daemon(sensor: SensorPart, advice: Mapping[Fault, str] = ADVICE) -> Finding:
    """Judge the running daemon's sensor by its status: the daemon holds the GPIO line."""
    counters, attempts = sensor.counters, sensor.attempts
    faults = {fault: counters[fault] for fault in Fault if counters.get(fault)}
    counted = ", ".join(f"{fault} {count}" for fault, count in faults.items())
    details = [f"{plural(attempts, 'attempt')}, faults: {counted or 'none'}"]
    last = sensor.last
    if last is not None:
        details.append(
            f"Last reading: {temperature_text(last.temperature, sensor.unit)}, "
            f"{last.humidity:.1f} %, {in_local_time(last.taken)}"
        )
    if sensor.status == "starting":
        return warning(
            "The daemon has no reading yet.", "Run the check again in a minute.", *details
        )
    if sensor.status != "ok":
        fault = Fault(sensor.status)
        return failed(
            f"No readings ({fault}) since {in_local_time(sensor.status_since)}: "
            f"{sensor.error or 'its values are implausible.'}",
            advice[fault],
            *details,
            see=SEE.get(fault, ()),
        )
    if doubt := DOUBTS.get(sensor.warning):
        return warning(f"The readings may not be true ({sensor.warning}).", doubt, *details)
    rate = 1 - sum(faults.values()) / max(1, attempts)
    line = f"The daemon reads the sensor. {rate:.0%} of {plural(attempts, 'attempt')} succeeded."
    if rate < ENOUGH / READS:
        most = max(faults, key=lambda fault: faults[fault])
        return warning(line, advice[most], *details, see=SEE.get(most, ()))
    return ok(line, *details)


@check("led", needs=("configuration", "daemon"))
def led(examination: Examination) -> Finding:
    if examination.status is not None:
        return led_of_daemon(examination.status.led)
    config = examination.config.led
    if examination.lacks_board and config.driver == "gpiozero":
        return NO_BOARD
    return led_here(
        lambda: examination.open_led(config.driver, pin=config.pin, active_high=config.active_high)
    )


def led_here(
    open_led: Callable[[], Led], *, sleep: Callable[[float], None] = time.sleep
) -> Finding:
    """Light up the LED for a moment."""
    try:
        with open_led() as led:
            led.on()
            sleep(LIT)
            led.off()
    except DriverError as error:
        return failed(str(error), installation.driver_advice(error), see=NO_DRIVER)
    except HardwareError as error:
        return failed(str(error), ADVICE_LED, see=LED_SEES)
    return ok("The LED was on for a moment. If you did not see it, check its wires and polarity.")


def led_of_daemon(led: LedPart) -> Finding:
    """Judge the running daemon's LED by its status."""
    if led.fault is not None:
        return failed(led.fault, ADVICE_LED, see=LED_SEES)
    return ok(f"The daemon drives the LED: {led.state}, brightness {led.brightness}.")
