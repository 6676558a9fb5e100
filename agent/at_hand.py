"""The sensor and the LED for a person who stands beside them: `sensor-agent read` and `led`.

Where the daemon runs it is asked, because it has the GPIO lines; else the driver is opened here.
Neither needs the cloud.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from agent.config import Config
from agent.control import ask
from agent.errors import ConfigError, ControlError, NoDaemonError
from hw import ClimateSensor, Light, open_light, open_sensor
from hw.errors import DriverError, HardwareError, LightError, SensorError
from hw.policy import ATTEMPTS_PER_SLOT, Policy

DONE, FAILURE = 0, 1


def read(config: Config, socket_path: Path, *, count: int, as_json: bool) -> int:
    """Print `count` readings, and how many attempts they took. 1 if one of them is missing."""
    try:
        status = ask(socket_path, {"command": "status"})["status"]
    except NoDaemonError:
        return _read_here(config, count=count, as_json=as_json)
    sensor = status["sensor"]
    if as_json:
        print(json.dumps(sensor))
    elif sensor["last"] is None:
        print(f"The daemon has no reading yet: {sensor['error'] or sensor['status']}")
    else:
        last = sensor["last"]
        print(f"{_line(last['temperature'], last['humidity'])}  the daemon's, {last['taken']}")
        print(_rate(sensor["counters"]))
    return DONE if sensor["status"] == "ok" else FAILURE


def _read_here(config: Config, *, count: int, as_json: bool) -> int:
    with _open_sensor(config) as sensor:
        policy = Policy(
            model=sensor.model,
            spacing=sensor.spacing,
            # One slot is one reading, with room for all the attempts it may take.
            interval=max(sensor.spacing, 0.01) * (ATTEMPTS_PER_SLOT + 1),
            temperature_offset=config.sensor.temperature_offset,
            humidity_offset=config.sensor.humidity_offset,
            now=time.monotonic(),
        )
        missing = 0
        for _ in range(count):
            missing += not _one_reading(sensor, policy, as_json=as_json)
        counters = dict(policy.counters)
    print(json.dumps({"counters": counters}) if as_json else _rate(counters))
    return FAILURE if missing else DONE


def _one_reading(sensor: ClimateSensor, policy: Policy, *, as_json: bool) -> bool:
    """Try until a reading is believed, as often as the daemon would in one interval."""
    error = "its values cannot be true; is it the model that is configured?"
    for _ in range(ATTEMPTS_PER_SLOT):
        # The schedule is the daemon's; a person waits no longer than the sensor needs.
        time.sleep(max(0.0, sensor.spacing if policy.counters["attempts"] else 0.0))
        policy.began(time.monotonic())
        try:
            reading = sensor.read()
        except SensorError as failure:
            policy.failed(failure.fault, time.monotonic())
            error = str(failure)
            continue
        for accepted in policy.succeeded(reading, time.monotonic()):
            value = accepted.reading
            if as_json:
                print(json.dumps({"temperature": value.temperature, "humidity": value.humidity}))
            else:
                print(_line(value.temperature, value.humidity))
            return True
    print(f"No reading: {error}", file=sys.stderr)
    return False


def led(config: Config, socket_path: Path, *, what: str, number: int | None, as_json: bool) -> int:
    """Drive the LED through the daemon, or here until Ctrl-C."""
    request: dict[str, Any] = {"command": "led", "do": what}
    if what == "blink":
        request["seconds"] = number
    elif what == "brightness":
        request["level"] = number
    try:
        state = ask(socket_path, request)["led"]
    except NoDaemonError:
        _led_here(config, what=what, number=number)
    else:
        print(json.dumps(state) if as_json else f"The LED is {state['state']}.")
    return DONE


def _led_here(config: Config, *, what: str, number: int | None) -> None:
    try:
        light = open_light(
            config.led.driver, pin=config.led.pin, active_high=config.led.active_high
        )
    except DriverError as error:
        raise ConfigError(str(error)) from error
    except LightError as error:
        raise ControlError(str(error)) from error
    with light:
        _drive(light, what, number)
        if what != "off":
            print(f"The LED is {light.state} until Ctrl-C: no daemon runs that would keep it so.")
            signal.sigwait({signal.SIGINT, signal.SIGTERM})


def _drive(light: Light, what: str, number: int | None) -> None:
    try:
        match what, number:
            case "on", _:
                light.on()
            case "blink", int(seconds):
                light.blink(seconds)
            case "brightness", int(level):
                light.set_brightness(level)
                light.on()
            case _:
                light.off()
    except (HardwareError, ValueError) as error:
        raise ControlError(str(error)) from error


def _open_sensor(config: Config) -> ClimateSensor:
    try:
        return open_sensor(
            config.sensor.driver,
            model=config.sensor.model,
            pin=config.sensor.pin,
            power_pin=config.sensor.power_pin,
        )
    except DriverError as error:
        raise ConfigError(str(error)) from error


def _line(temperature: float, humidity: float) -> str:
    return f"{temperature:6.1f} °C  {humidity:5.1f} %"


def _rate(counters: dict[str, int]) -> str:
    faults = [
        f"{name} {count}"
        for name, count in counters.items()
        if count and name not in {"attempts", "accepted"}
    ]
    return (
        f"{counters['accepted']} readings in {counters['attempts']} attempts; "
        f"faults: {', '.join(faults) or 'none'}"
    )
