"""Test the hardware of a real Raspberry Pi, and print a report to paste.

    make test-pi ARGS="--count 50 --pin 4 --led 17"

It reads the sensor --count times with each driver, drives the LED, and asks the user what they
saw. With --fake-hw it prints an example of a report, marked as such.
"""

import argparse
import getpass
import grp
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from agent.cli.hardware import read_once, summary
from hw import (
    ClimateSensor,
    HardwareError,
    Led,
    Policy,
    Reading,
    SensorError,
    open_led,
    open_sensor,
)

PACKAGES = (
    *("sensor-agent", "adafruit-circuitpython-dht", "Adafruit-Blinka", "gpiod"),
    *("gpiozero", "lgpio", "adafruit-lgpio"),
)
LED_STEPS: tuple[tuple[str, float, Callable[[Led], None]], ...] = (
    ("on, full", 2.0, lambda led: led.on()),
    ("medium", 2.0, lambda led: led.set_brightness(2)),
    ("low", 2.0, lambda led: led.set_brightness(3)),
    ("full again", 1.0, lambda led: led.set_brightness(1)),
    ("blinking, once a second", 5.0, lambda led: led.blink(1.0)),
    ("off", 1.0, lambda led: led.off()),
)


@dataclass
class Trial:
    """The results of one sensor driver."""

    driver: str
    problem: str | None = None  # Why the driver could not be tried.
    counters: dict[str, int] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # Of each attempt.
    sentences: dict[str, int] = field(default_factory=dict)  # Error to the number of times.


class Timed(ClimateSensor):
    """A sensor that records in a trial how long each attempt took and why it failed."""

    def __init__(self, sensor: ClimateSensor, trial: Trial) -> None:
        self.model, self.spacing, self.deadline = sensor.model, sensor.spacing, sensor.deadline
        self._sensor, self._trial = sensor, trial

    def read(self) -> Reading:
        began = time.monotonic()
        try:
            return self._sensor.read()
        except SensorError as error:
            said = self._trial.sentences
            said[str(error)] = said.get(str(error), 0) + 1
            raise
        finally:
            self._trial.seconds.append(time.monotonic() - began)

    def close(self) -> None:
        self._sensor.close()


def try_sensor(driver: str, open_it: Callable[[], ClimateSensor], count: int) -> Trial:
    """Read `count` times, on the daemon's schedule."""
    trial = Trial(driver)
    try:
        with Timed(open_it(), trial) as sensor:
            policy = Policy(
                model=sensor.model,
                spacing=sensor.spacing,
                interval=max(sensor.spacing, 0.01) * 6,
                now=time.monotonic(),
            )
            for number in range(1, count + 1):
                progress(f"{driver}: reading {number} of {count}")
                try:
                    trial.readings.append(read_once(sensor, policy))
                except SensorError:
                    if not trial.readings:  # A busy line, a missing permission or no sensor.
                        break
            trial.counters = dict(policy.counters)
    except HardwareError as error:
        trial.problem = str(error)
    return trial


def try_led(open_it: Callable[[], Led], wait: Callable[[float], None]) -> list[str]:
    """Go through `LED_STEPS`, and return a line for each."""
    lines = []
    try:
        with open_it() as led:
            for name, seconds, step in LED_STEPS:
                progress(f"LED: {name}")
                step(led)
                wait(seconds)
                lines.append(f"{name}: state {led.state}, fault {led.fault or 'none'}")
    except HardwareError as error:
        lines.append(f"failed: {error}")
    return lines


def progress(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def ask(question: str) -> str:
    """Return the user's answer."""
    if not sys.stdin.isatty():
        return "not asked (no terminal)"
    return input(f"{question} ").strip() or "no answer"


# The report


def machine(root: Path = Path("/")) -> dict[str, str]:
    """Return facts on the board and its system."""

    def text(name: str) -> str:
        try:
            return (root / name).read_text(errors="replace").rstrip("\0\n")
        except OSError:
            return ""

    release = dict(
        line.split("=", 1) for line in text("etc/os-release").splitlines() if "=" in line
    )
    config = [
        line.strip()
        for line in text("boot/firmware/config.txt").splitlines()
        if "dht11" in line and not line.lstrip().startswith("#")
    ]
    chips = sorted(path.name for path in (root / "dev").glob("gpiochip*"))
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    return {
        "board": text("proc/device-tree/model") or "no device tree: not a Raspberry Pi",
        "kernel": f"{platform.release()} {platform.machine()}",
        "system": release.get("PRETTY_NAME", "unknown").strip('"'),
        "Python": f"{platform.python_version()}, {platform.libc_ver()[0]} {platform.libc_ver()[1]}",
        "packages": ", ".join(f"{name} {found(name)}" for name in PACKAGES if found(name)),
        "overlay": ", ".join(config) or "none for dht11",
        "chips": ", ".join(chips) or "none",
        "user": f"{'root' if os.geteuid() == 0 else 'not root'}, "
        f"{'in' if in_group('gpio') else 'not in'} group gpio, real-time limit {limit}",
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def found(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def in_group(name: str) -> bool:
    try:
        group = grp.getgrnam(name)
    except KeyError:
        return False
    return group.gr_gid in os.getgroups() or getpass.getuser() in group.gr_mem


def sensor_section(trial: Trial) -> list[str]:
    lines = [f"### Sensor, driver `{trial.driver}`", ""]
    if trial.problem:
        return [*lines, f"not possible: {trial.problem}", ""]
    result: dict[str, Any] = summary(trial.counters)
    faults = ", ".join(f"{count} {name}" for name, count in result["faults"].items())
    lines.append(
        f"{len(trial.readings)} readings; {result['answered']} of {result['attempts']} attempts "
        f"answered ({result['success_rate']:.0%}); faults: {faults or 'none'}"
    )
    if trial.readings:
        temperatures = [reading.temperature for reading in trial.readings]
        humidities = [reading.humidity for reading in trial.readings]
        lines.append(
            f"values: {min(temperatures)} to {max(temperatures)} °C, "
            f"{min(humidities)} to {max(humidities)} %"
        )
    lines.append(
        f"an attempt took {statistics.median(trial.seconds):.2f} s, at most "
        f"{max(trial.seconds):.2f} s"
    )
    lines += [f"{count} times: {sentence}" for sentence, count in trial.sentences.items()]
    return [*lines, ""]


def report(
    facts: dict[str, str], trials: list[Trial], led: list[str], answers: dict[str, str]
) -> str:
    """Return the report in Markdown."""
    lines = ["## sensor-agent tried on a board", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines.append("")
    for trial in trials:
        lines += sensor_section(trial)
    lines += ["### LED", "", *led, ""]
    lines += ["### Answers", ""]
    lines += [f"- {question} {answer}" for question, answer in answers.items()]
    return "\n".join(lines)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Try the board, and print a report to paste.")
    parser.add_argument("--count", type=int, default=30, help="readings with each driver")
    parser.add_argument("--pin", type=int, default=4, help="GPIO of the sensor's data")
    parser.add_argument("--model", choices=["dht22", "dht21", "dht11"], default="dht22")
    parser.add_argument("--led", type=int, default=17, help="GPIO of the LED")
    parser.add_argument("--fake-hw", action="store_true", help="show what a report looks like")
    chosen = parser.parse_args(argv)
    if chosen.count < 1:
        parser.error("--count must be 1 or more")
    return chosen


def main(argv: list[str] | None = None, *, wait: Callable[[float], None] = time.sleep) -> int:
    """Print the report. Return 1 if no driver returned a reading or the LED failed."""
    chosen = arguments(argv)
    drivers = ["fake"] if chosen.fake_hw else ["kernel", chosen.model]
    trials = [
        try_sensor(
            driver,
            partial(open_sensor, driver, model=chosen.model, pin=chosen.pin),
            chosen.count,
        )
        for driver in drivers
    ]
    led = try_led(lambda: open_led("fake" if chosen.fake_hw else "gpiozero", pin=chosen.led), wait)
    answers = {
        question: ask(question)
        for question in (
            "Did the LED light up, dim twice, blink and turn off?",
            "What does another thermometer beside it show, if there is one?",
            "Which sensor, which resistor and how long a cable are connected?",
        )
    }
    if chosen.fake_hw:
        print("THIS IS AN EXAMPLE: the hardware is simulated (--fake-hw).\n")
    print(report(machine(), trials, led, answers))
    is_read = any(trial.readings for trial in trials)
    return 0 if is_read and not led[-1].startswith("failed") else 1


if __name__ == "__main__":
    sys.exit(main())
