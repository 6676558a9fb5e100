"""`sensor-agent read --list`: every sensor that could be read here, with its values."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from agent.cli.hardware import DONE, FAILURE, Line, read_by_daemon, reading_here
from agent.config.loader import Config, SensorConfig
from agent.device.units import temperature_text
from agent.errors import ConfigError, ControlError, NoDaemonError
from agent.readings.clock import utc
from hw import SensorError
from hw.sensors.discovery import Found, kernel_sensors
from hw.sensors.models import CHIPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A sensor and its reading, or why there is none: the keys of `read --list --json`."""

    driver: str
    model: str
    pin: int | None
    bus: int | None
    address: int | None
    configured: bool  # Whether `read` without --list reads this one.
    time: str  # In UTC, ISO 8601.
    temperature: float | None = None
    humidity: float | None = None  # % relative humidity
    unit: str = "celsius"
    error: str | None = None


def read_list(
    config: Config, socket_path: Path, *, as_json: bool, sysfs: Path = Path("/sys")
) -> int:
    """Read each sensor once, and print a line for each. Return 1 if none gave a reading.

    The first is the configured one, which the daemon reads if it is running. The others are those
    that are declared to the kernel. With `as_json`, each line has an object with the keys of
    `Entry`.
    """
    is_any, unit = False, config.sensor.unit
    for entry in _entries(config, socket_path, sysfs):
        is_any = is_any or entry.error is None
        print(json.dumps(asdict(entry)) if as_json else _line(entry, unit), flush=True)
    return DONE if is_any else FAILURE


def _entries(config: Config, socket_path: Path, sysfs: Path) -> Iterator[Entry]:
    yield _entry(config, socket_path)
    for found in kernel_sensors(sysfs):
        sensor = _config_of(found)
        if not _is_same(sensor, config.sensor):
            yield _entry(replace(config, sensor=sensor), None)


def _config_of(found: Found) -> SensorConfig:
    sensor = SensorConfig(driver="kernel", model=found.model, bus=found.bus, address=found.address)
    return sensor if found.pin is None else replace(sensor, pin=found.pin)


def _is_same(one: SensorConfig, other: SensorConfig) -> bool:
    if other.driver != "kernel" or (one.model in CHIPS) != (other.model in CHIPS):
        return False
    if one.model in CHIPS:
        return (one.bus, one.address) == (other.bus, other.address)
    return one.pin == other.pin


def _entry(config: Config, socket_path: Path | None) -> Entry:
    """Read one sensor. `socket_path` is that of its daemon, None if no daemon reads it."""
    sensor = config.sensor
    on_i2c = sensor.model in CHIPS
    entry = Entry(
        driver=sensor.driver,
        model=sensor.model,
        pin=None if on_i2c or sensor.driver == "fake" else sensor.pin,
        bus=sensor.bus,
        address=sensor.address,
        configured=socket_path is not None,
        time=utc(time.time()),
    )
    try:
        line = reading_here(config) if socket_path is None else _read(config, socket_path)
    except (ConfigError, ControlError, SensorError) as error:
        return replace(entry, error=str(error))
    return replace(entry, time=line.time, temperature=line.temperature, humidity=line.humidity)


def _read(config: Config, socket_path: Path) -> Line:
    try:
        return read_by_daemon(socket_path)
    except NoDaemonError:
        return reading_here(config)


def _line(entry: Entry, unit: str) -> str:
    if entry.address is not None:
        place = f"I2C bus {entry.bus}, 0x{entry.address:02x}"
    else:
        place = "" if entry.pin is None else f"GPIO {entry.pin}"
    if entry.temperature is not None:
        values = f"{temperature_text(entry.temperature, unit):>9}  {entry.humidity:5.1f} %"
    else:
        values = f"no reading: {entry.error}"
    mark = "configured" if entry.configured else ""
    return f"{entry.driver:<7} {entry.model:<8} {place:<16} {mark:<10}  {values}"
