"""The commands `sensor-agent read` and `sensor-agent led`, which do not need the cloud.

If the daemon is running, it does the work, because it holds the GPIO lines. Otherwise the command
opens the driver itself.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.config.loader import Config
from agent.daemon.control_socket import PATIENCE, ask, read_status
from agent.device.units import temperature_text
from agent.diagnostics.finding import plural
from agent.diagnostics.installation import with_advice
from agent.errors import ConfigError, ControlError, NoDaemonError
from agent.readings.clock import utc
from hw import (
    ClimateSensor,
    DriverError,
    Fault,
    Led,
    LedError,
    Policy,
    Reading,
    SensorError,
    open_led,
    open_sensor,
)
from hw.sensors.policy import ATTEMPTS_PER_SLOT, JUMPS

DONE, FAILURE = 0, 1
BRIGHTNESSES = {1: "high", 2: "medium", 3: "low"}
MARGIN = 5.0  # Seconds beyond the daemon's own timeout, to receive its reason.


def read(config: Config, socket_path: Path, *, count: int, as_json: bool) -> int:
    """Print `count` readings and how often the sensor answered. Return 1 if one is missing.

    With `as_json`, standard output has one object on each line, with the keys of `Line`. The
    summary of more than one reading goes to standard error.
    """
    try:
        before = _counters(socket_path)
    except NoDaemonError:
        return _read_here(config, count=count, as_json=as_json)
    unit = None if as_json else config.sensor.unit
    missing = _show_readings(count, lambda: read_by_daemon(socket_path), unit)
    if count > 1 or not as_json:
        after = _counters(socket_path)
        # The daemon's own attempts in between are counted, too.
        counters = {name: after[name] - before[name] for name in after}
        _summarize(count - missing, counters, as_json=as_json)
    return FAILURE if missing else DONE


@dataclass(frozen=True, slots=True)
class Line:
    """The output of `read --json` for a reading, or for a missing one."""

    time: str  # Of the reading or of the failure, in UTC, ISO 8601.
    temperature: float | None = None
    humidity: float | None = None  # % relative humidity
    unit: str = "celsius"
    error: str | None = None


def _show_readings(count: int, read_line: Callable[[], Line], unit: str | None) -> int:
    """Print `count` lines, also for missing readings. Return how many are missing.

    `unit` is that of temperatures; None prints JSON.
    """
    missing = 0
    for _ in range(count):
        try:
            line = read_line()
        except NoDaemonError:
            raise
        except (ControlError, SensorError) as error:
            missing += 1
            line = Line(utc(time.time()), error=str(error))
        _show(line, unit)
    return missing


def read_by_daemon(socket_path: Path) -> Line:
    """Return one reading of the running daemon. Raises ControlError."""
    reading = ask(socket_path, {"command": "read"}, timeout=PATIENCE + MARGIN)["reading"]
    # A daemon from before an upgrade may not send the time.
    taken = reading.get("taken") or utc(time.time())
    return Line(taken, reading["temperature"], reading["humidity"])


def _counters(socket_path: Path) -> dict[str, int]:
    return read_status(ask(socket_path, {"command": "status"})).sensor.counters


def _read_here(config: Config, *, count: int, as_json: bool) -> int:
    with open_configured(config) as sensor:
        policy = policy_for(sensor, config)
        unit = None if as_json else config.sensor.unit
        missing = _show_readings(count, lambda: _read_line(sensor, policy), unit)
    if count > 1 or not as_json:
        _summarize(count - missing, policy.counters, as_json=as_json)
    return FAILURE if missing else DONE


def reading_here(config: Config) -> Line:
    """Return one reading, without the daemon. Raises ConfigError or SensorError."""
    with open_configured(config) as sensor:
        return _read_line(sensor, policy_for(sensor, config))


def policy_for(sensor: ClimateSensor, config: Config) -> Policy:
    """Return the policy of a command that reads as often as the sensor allows."""
    return Policy(
        model=sensor.model,
        spacing=sensor.spacing,
        # One interval is one reading, with time for all its attempts.
        interval=max(sensor.spacing, 0.01) * (ATTEMPTS_PER_SLOT + 1),
        temperature_offset=config.sensor.temperature_offset,
        humidity_offset=config.sensor.humidity_offset,
        now=time.monotonic(),
    )


def _read_line(sensor: ClimateSensor, policy: Policy) -> Line:
    reading = read_once(sensor, policy)
    return Line(utc(time.time()), reading.temperature, reading.humidity)


def read_once(sensor: ClimateSensor, policy: Policy) -> Reading:
    """Return a plausible reading, after at most as many attempts as the daemon makes.

    The attempts are as far apart as the sensor requires. Raises `SensorError` with the reason of
    the last failure.
    """
    failure = SensorError(JUMPS, fault=Fault.IMPLAUSIBLE)
    for _ in range(ATTEMPTS_PER_SLOT):
        time.sleep(max(0.0, policy.earliest - time.monotonic()))
        policy.began(time.monotonic())
        try:
            reading = sensor.read()
        except SensorError as error:
            policy.failed(error.fault, time.monotonic())
            failure = error
            continue
        if accepted := policy.succeeded(reading, time.monotonic()):
            return accepted[-1].reading
        if policy.why:
            failure = SensorError(policy.why, fault=Fault.IMPLAUSIBLE)
    raise failure


def _show(line: Line, unit: str | None) -> None:
    if unit is None:
        print(json.dumps(asdict(line)), flush=True)
    elif line.temperature is None:
        print(f"No reading: {line.error}", file=sys.stderr)
    else:
        temperature = temperature_text(line.temperature, unit)
        print(f"{temperature:>9}  {line.humidity:5.1f} %", flush=True)


def _summarize(readings: int, counters: Mapping[str, int], *, as_json: bool) -> None:
    result = summary(counters)
    faults = ", ".join(f"{count} {name}" for name, count in result["faults"].items())
    print(
        f"{plural(readings, 'reading')}; {result['answered']} of "
        f"{result['attempts']} attempts answered ({result['success_rate']:.0%}); "
        f"faults: {faults or 'none'}",
        file=sys.stderr if as_json else sys.stdout,
    )


def summary(counters: Mapping[str, int]) -> dict[str, Any]:
    """Return how often the sensor answered, and its faults, from the counters of a policy.

    The discarded warm-up reading and unconfirmed steps count as answers, but not as readings.
    """
    faults = {fault.value: counters[fault.value] for fault in Fault if counters[fault.value]}
    attempts = counters["attempts"]
    # An unconfirmed step is counted as implausible and as an accepted attempt.
    answered = max(attempts - sum(faults.values()), counters["accepted"])
    return {
        "readings": counters["accepted"],
        "attempts": attempts,
        "answered": answered,
        "success_rate": answered / attempts if attempts else 0.0,
        "faults": faults,
    }


def led(config: Config, socket_path: Path, *, what: str, number: int | None, as_json: bool) -> int:
    """Drive the LED through the daemon, or here until a signal ends the command.

    With `as_json`, standard output has one object: {"time", "state", "brightness"}.
    """
    request: dict[str, Any] = {"command": "led", "do": what}
    if what == "blink":
        request["seconds"] = number
    elif what == "brightness":
        request["level"] = number
    try:
        state = ask(socket_path, request)["led"]
    except NoDaemonError:
        _led_here(config, what=what, number=number, as_json=as_json)
    else:
        _show_led(what, state["state"], state["brightness"], as_json=as_json)
    return DONE


def _show_led(what: str, state: str, brightness: int, *, as_json: bool, until: str = "") -> None:
    if as_json:
        told = {"time": utc(time.time()), "state": state, "brightness": brightness}
        print(json.dumps(told), flush=True)
    elif what == "brightness" and state == "off":
        print(
            f"The LED's brightness is {brightness} ({BRIGHTNESSES[brightness]}). It is off; to "
            "turn it on: sensor-agent led on"
        )
    elif what == "brightness":
        shown = f"with brightness {brightness} ({BRIGHTNESSES[brightness]})"
        print(f"The LED is {state} {shown}{until}.", flush=True)
    else:
        print(f"The LED is {state}{until}.", flush=True)


def _led_here(config: Config, *, what: str, number: int | None, as_json: bool) -> None:
    stays = what != "off"
    until = " until you press Ctrl-C. No daemon is running to keep it lit" if stays else ""
    try:
        led = open_led(config.led.driver, pin=config.led.pin, active_high=config.led.active_high)
        with led, suppress(KeyboardInterrupt):  # Ctrl-C is the way to end the command.
            _drive(led, what, number)
            _show_led(what, led.state, led.brightness, as_json=as_json, until=until)
            if stays:
                threading.Event().wait()
    except DriverError as error:
        raise ConfigError(with_advice(error)) from error
    except LedError as error:
        raise ControlError(str(error)) from error


def _drive(led: Led, what: str, number: int | None) -> None:
    match what, number:
        case "on", _:
            led.on()
        case "blink", int(seconds):
            led.blink(seconds)
        case "brightness", int(level):
            led.set_brightness(level)
            led.on()
        case _:
            led.off()


def open_configured(config: Config) -> ClimateSensor:
    """Open the configured sensor. Raises ConfigError, with advice, if its driver cannot work."""
    try:
        return open_sensor(
            config.sensor.driver,
            model=config.sensor.model,
            pin=config.sensor.pin,
            bus=config.sensor.bus,
            address=config.sensor.address,
            power_pin=config.sensor.power_pin,
        )
    except DriverError as error:
        raise ConfigError(with_advice(error)) from error
