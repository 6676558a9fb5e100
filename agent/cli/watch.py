"""`sensor-agent read --watch`: the last readings, drawn in the terminal until Ctrl-C.

If the daemon is running, it shows the daemon's readings, and does not read the sensor itself. If
the output is not a terminal, it prints a line for each reading instead.
"""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Protocol

from agent.cli.hardware import Line, open_configured, policy_for, read_once
from agent.cli.terminal import flush
from agent.cli.watch_view import Sample, View, frame
from agent.config.loader import Config
from agent.daemon.control_socket import ask, read_status
from agent.device.limits import LIMITS, configured
from agent.device.units import temperature_text
from agent.errors import NoDaemonError
from agent.logs.local_time import in_local_time
from agent.readings.clock import utc
from agent.status import Status, sensor_name
from hw import Fault, SensorError, SensorStatus

DONE = 0
KEPT = 500  # Samples; no terminal is wider.
POLL = 1.0  # Seconds between two looks at the daemon's status.
SHORTEST = 2.0  # Seconds between two readings of a sensor that would allow more.
FALLBACK = os.terminal_size((80, 24))
ALTERNATE, NORMAL = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # With and without the cursor.
HOME, CLEAR_LINE, CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"


def watch(config: Config, socket_path: Path, *, as_json: bool) -> int:
    """Show readings until a signal ends the command. Ctrl-C is its normal end, not an error.

    Raises ConfigError if the driver cannot work here, and NoDaemonError if the daemon ends.
    """
    show = _shower(config.sensor.unit, as_json=as_json)
    try:
        first = _status(socket_path)
    except NoDaemonError:
        with open_configured(config) as sensor, show() as show_view, suppress(KeyboardInterrupt):
            policy = policy_for(sensor, config)
            for view in _views_here(config, lambda: read_once(sensor, policy), policy.counters):
                show_view(view)
        return DONE
    with show() as show_view, suppress(KeyboardInterrupt):
        for view in views_of_daemon(first, lambda: _status(socket_path)):
            show_view(view)
    return DONE


def _status(socket_path: Path) -> Status:
    return read_status(ask(socket_path, {"command": "status"}))


def views_of_daemon(
    status: Status, ask_again: Callable[[], Status], *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[View]:
    """Yield what the daemon's status says, again and again. `status` is the first one."""
    samples: deque[Sample] = deque(maxlen=KEPT)
    before: Status | None = None
    while True:
        sample = _news(before, status)
        if sample is not None:
            samples.append(sample)
        yield View(
            title=f"{status.sensor.name} of {status.device_id}, read by the daemon",
            now=status.time,
            unit=status.sensor.unit,
            samples=tuple(samples),
            counters=status.sensor.counters,
            limits={} if status.limits is None else status.limits.in_force,
        )
        before = status
        sleep(POLL)
        status = ask_again()


def _news(before: Status | None, status: Status) -> Sample | None:
    """Return the reading or the fault that is new since the status before, if there is one.

    In the first status, that is the last reading, or the fault of a sensor that has failed since.
    """
    sensor = status.sensor
    if before is None and sensor.status not in {SensorStatus.STARTING, SensorStatus.OK}:
        return Sample(status.time, fault=sensor.status, error=sensor.error)
    last = status.sensor.last
    if last is not None and (before is None or before.sensor.last != last):
        return Sample(last.taken, last.temperature, last.humidity)
    counted = {} if before is None else before.sensor.counters
    new = [
        fault.value
        for fault in Fault
        if status.sensor.counters.get(fault, 0) > counted.get(fault, 0) and before is not None
    ]
    if new:
        return Sample(status.time, fault=new[-1], error=status.sensor.error)
    return None


class _Reading(Protocol):
    @property
    def temperature(self) -> float: ...

    @property
    def humidity(self) -> float: ...


def _views_here(
    config: Config,
    read: Callable[[], _Reading],
    counters: Mapping[str, int],
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> Iterator[View]:
    """Read the sensor again and again, and yield what was read."""
    samples: deque[Sample] = deque(maxlen=KEPT)
    file = configured(config.limits)
    limits = {name: value for name, value in file.items() if value != LIMITS[name].end}
    while True:
        begun = now()
        try:
            reading = read()
            sample = Sample(utc(now()), reading.temperature, reading.humidity)
        except SensorError as error:
            sample = Sample(utc(now()), fault=error.fault.value, error=str(error))
        samples.append(sample)
        yield View(
            title=f"{sensor_name(config.sensor.driver, config.sensor.model)} on this machine",
            now=utc(now()),
            unit=config.sensor.unit,
            samples=tuple(samples),
            counters=counters,
            limits=limits,
        )
        sleep(max(0.0, SHORTEST - (now() - begun)))


# How it is shown.

Show = Callable[[View], None]


def _shower(unit: str, *, as_json: bool) -> Callable[[], AbstractContextManager[Show]]:
    if not as_json and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return _drawing
    return lambda: _listing(unit, as_json=as_json)


@contextmanager
def _drawing() -> Iterator[Show]:
    """Draw each view on the whole terminal, which is afterwards as it was before."""
    is_plain = not _can_show("█▁°")
    has_colour = not os.environ.get("NO_COLOR")
    last: list[View] = []

    def draw(view: View) -> None:
        last[:] = [view]
        lines = frame(view, size=_size(), is_plain=is_plain, has_colour=has_colour)
        _write(HOME + "\n".join(f"{line}{CLEAR_LINE}" for line in lines) + CLEAR_REST)

    _write(ALTERNATE)
    try:
        yield draw
    finally:
        _write(NORMAL)
        if last and last[0].samples:
            print(_line(last[0].samples[-1], last[0].unit))


@contextmanager
def _listing(unit: str, *, as_json: bool) -> Iterator[Show]:
    """Print a line for each new reading or fault."""
    shown: Sample | None = None

    def show(view: View) -> None:
        nonlocal shown
        # Not by time, because the clock may be set back.
        new = list(takewhile(lambda sample: sample is not shown, reversed(view.samples)))
        for sample in reversed(new):
            print(_json(sample) if as_json else _line(sample, unit), flush=True)
            shown = sample

    yield show


def _json(sample: Sample) -> str:
    error = None if sample.fault is None else sample.error or sample.fault
    return json.dumps(asdict(Line(sample.time, sample.temperature, sample.humidity, error=error)))


def _line(sample: Sample, unit: str) -> str:
    when = in_local_time(sample.time)
    if sample.temperature is None:
        return f"{when}  No reading ({sample.fault}): {sample.error or 'no reason is known.'}"
    return f"{when}  {temperature_text(sample.temperature, unit):>9}  {sample.humidity:5.1f} %"


def _write(text: str) -> None:
    sys.stdout.write(text)
    flush()


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _size() -> os.terminal_size:
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return FALLBACK
    return size if size.columns and size.lines else FALLBACK  # A serial line knows no size.
