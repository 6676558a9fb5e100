"""Finds the configuration file and reads it into frozen dataclasses. All mistakes are reported.

The keys are in `agent.config.schema`. This module names only keys that depend on each other.
"""

import os
import re
import socket
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, replace
from pathlib import Path
from typing import Any

from agent.config.pasted import is_connection_string, is_key
from agent.config.reference import example, reference, show
from agent.config.schema import (
    FASTEST_FAKE,
    KEYS,
    SECTIONS,
    ClockConfig,
    CloudConfig,
    Config,
    DeviceConfig,
    Key,
    LedConfig,
    LimitsConfig,
    LogConfig,
    OutboxConfig,
    SensorConfig,
)
from agent.errors import ConfigError, in_words, phrase
from agent.ranges import (
    DPS_DEVICE_ID,
    HUMIDITY_MARGIN,
    TEMPERATURE_MARGIN,
    is_image_name,
    is_low_enough,
)
from hw.sensors.models import BUS, BUS_PINS, CHIPS, DHTS

__all__ = [
    "ClockConfig",
    "CloudConfig",
    "Config",
    "DeviceConfig",
    "LedConfig",
    "LimitsConfig",
    "LogConfig",
    "OutboxConfig",
    "SensorConfig",
    "default",
    "example",
    "find",
    "load",
    "parse",
    "places",
    "read",
    "reference",
    "runtime_directory",
    "state_directory",
    "with_fake_hardware",
]

SYSTEM_FILE = Path("/etc/sensor-agent/config.toml")
SYSTEM_STATE = Path("/var/lib/sensor-agent")
SYSTEM_RUNTIME = Path("/run/sensor-agent")

LARGEST_FILE = 1_000_000  # Bytes; a longer file is not a configuration.
WAYS_IN = "connection_string_file, hub or id_scope"
X509 = ("x509_cert_file", "x509_key_file")
CERTIFICATE = " and ".join(X509)
CREDENTIALS = {  # Each way in, and the credentials that it takes.
    "connection_string_file": f"none, or {CERTIFICATE}",
    "hub": f"key_file, or {CERTIFICATE}",
    "id_scope": f"key_file, group_key_file, or {CERTIFICATE}",
}
NOT_HUBS = {
    ".azure-devices-provisioning.net": "the provisioning service",
    ".azureiotcentral.com": "an IoT Central application",
}

Sections = dict[str, dict[str, Any]]


def load(path: Path, *, host_name: str | None = None) -> Config:
    """Read the file at `path`.

    The device id defaults to `host_name`, reduced; `host_name` defaults to this machine's. Raises
    ConfigError with every mistake in the file. Files that it names are not read.
    """
    return read(_content(path), path, host_name=host_name)


def read(raw: bytes, path: Path, *, host_name: str | None = None) -> Config:
    """Read the content of a file, which the mistakes call `path`. Otherwise as `load`."""
    reader = _Reader(str(path), socket.gethostname() if host_name is None else host_name)
    config = reader.read(parse(raw, path))
    if config is None:
        raise ConfigError(*reader.mistakes)
    return config


def default(*, host_name: str | None = None) -> Config:
    """Return the configuration of an empty file."""
    name = socket.gethostname() if host_name is None else host_name
    return Config(device=DeviceConfig(id=_reduced(name) or "localhost"))


def with_fake_hardware(config: Config) -> Config:
    """Return `config` with both drivers fake. In the place of a sensor on I2C is a DHT22."""
    model = config.sensor.model if config.sensor.model in DHTS else "dht22"
    return replace(
        config,
        sensor=replace(config.sensor, driver="fake", model=model),
        led=replace(config.led, driver="fake"),
    )


def find(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: `explicit`, the system's, or the user's. None if there is none."""
    if explicit is not None:
        return explicit
    return next((path for path in places(environ) if exists(path)), None)


def places(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Return the paths of the system's and of the user's configuration file."""
    user = _base(environ, "XDG_CONFIG_HOME", ".config") / "sensor-agent" / "config.toml"
    return SYSTEM_FILE, user


def state_directory(environ: Mapping[str, str], config_path: Path | None) -> Path:
    """Return the directory of data that survive a restart. It need not exist."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if _is_system_file(config_path):
        return SYSTEM_STATE
    return _base(environ, "XDG_STATE_HOME", ".local/state") / "sensor-agent"


def runtime_directory(environ: Mapping[str, str], config_path: Path | None) -> Path:
    """Return the directory of the daemon's socket. It need not exist."""
    if given := environ.get("RUNTIME_DIRECTORY"):
        return Path(given.split(":")[0])
    if _is_system_file(config_path) and not environ.get("STATE_DIRECTORY"):
        return SYSTEM_RUNTIME
    return state_directory(environ, config_path)


def _is_system_file(path: Path | None) -> bool:
    return path is not None and path.absolute() == SYSTEM_FILE


def _base(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    # The XDG specification says that relative paths are ignored.
    given = Path(environ.get(variable, ""))
    return given if given.is_absolute() else Path(environ.get("HOME") or Path.home()) / fallback


def _path(name: str) -> Path:
    """Return the path that `name` is in UTF-8, whatever the locale's encoding."""
    return Path(os.fsdecode(name.encode()))


def exists(path: Path) -> bool:
    """Return whether `path` exists, or may exist in a directory that this user cannot search."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass  # Reading it will report the reason.
    return True


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file.") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a directory, not a file.") from None
    except PermissionError as error:
        raise ConfigError(f"{path}: cannot be read: {in_words(error)}. Use sudo.") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name.
        reason = in_words(error) if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot be read: {phrase(reason)}.") from None


def parse(raw: bytes, path: Path) -> dict[str, Any]:
    """Return the content of a file as it is in TOML. Raises ConfigError, which calls it `path`."""
    if len(raw) > LARGEST_FILE:
        raise ConfigError(f"{path}: too large: a configuration has at most 1 MB.")
    try:
        # Some editors write a byte order mark first.
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: not UTF-8 text (line {line}). Save it as UTF-8.") from None
    except RecursionError:
        raise ConfigError(f"{path}: not TOML: nested too deeply.") from None
    except ValueError as error:  # TOMLDecodeError, or a number too long for Python.
        raise ConfigError(f"{path}: not TOML: {phrase(error)}.") from None


class _Reader:
    """Reads one file and collects its mistakes."""

    def __init__(self, path: str, host_name: str) -> None:
        self.path = path
        self.host_name = host_name
        self.mistakes: list[str] = []
        self.mistaken: set[tuple[str, str]] = set()

    def read(self, data: dict[str, Any]) -> Config | None:
        given: Sections = {}
        for name, value in data.items():
            if name in SECTIONS and isinstance(value, dict):
                given[name] = self._section(name, value)
            else:
                self._mistake(self._stray(name, value))
        values = {
            section: {key.name: key.default for key in keys.values()} | given.get(section, {})
            for section, keys in KEYS.items()
        }
        self._device(values["device"], values["cloud"] if "cloud" in given else None)
        if "cloud" in given:
            self._cloud(values["cloud"])
        self._sensor(values["sensor"], given.get("sensor", {}))
        self._pins(values)
        self._limits(values["limits"])
        if self.mistakes:
            return None
        if "cloud" not in given:
            del values["cloud"]
        return Config(**{name: SECTIONS[name](**keys) for name, keys in values.items()})

    def _section(self, section: str, found: dict[str, Any]) -> dict[str, Any]:
        values = {}
        for name, value in found.items():
            key = KEYS[section].get(name)
            if key is None:
                self._unknown(section, name, value)
                continue
            low = FASTEST_FAKE if name == "interval" and found.get("driver") == "fake" else None
            wrong = _wrong(key, value, low=low)
            if wrong is None:
                meant = key.rule.synonyms.get(value, value)
                values[name] = _path(meant) if key.kind is Path else key.kind(meant)
            else:
                self._mistake(f"[{section}] {name} = {wrong}", (section, name))
        return values

    def _mistake(self, sentence: str, *keys: tuple[str, str]) -> None:
        self.mistakes.append(f"{self.path}: {sentence}")
        self.mistaken.update(keys)

    def _unknown(self, section: str, name: str, value: object) -> None:
        # The value of an unknown key may be a secret.
        shown = "..." if isinstance(value, str) else show(value)
        home = _home(name)
        hint = f"it belongs in [{home}]" if home else _closest(name, list(KEYS[section]))
        self._mistake(f"[{section}] {_show_name(name)} = {shown}: no such key; {hint}")

    def _stray(self, name: str, value: object) -> str:
        if name in SECTIONS:
            return f"{name} = {show(value)}: this is a section; write [{name}] on a line of its own"
        if isinstance(value, dict):
            return f"[{_show_name(name)}]: no such section; {_closest(name, list(SECTIONS))}"
        home = _home(name)
        where = f"it belongs in [{home}]" if home else "every key belongs in a section"
        return f"{_show_name(name)} = ...: is before the first section; {where}"

    def _device(self, values: dict[str, Any], cloud: dict[str, Any] | None) -> None:
        device_id = values["id"]
        if device_id is not MISSING:
            if cloud and cloud["id_scope"] and not re.fullmatch(DPS_DEVICE_ID, device_id):
                self._mistake(
                    f"[device] id = {show(device_id)}: with id_scope, it must be letters, digits, "
                    "- . _ and :, and end with a letter, a digit or a hyphen"
                )
            return
        if cloud and cloud["connection_string_file"]:
            values["id"] = ""  # `sign_in` takes it from the connection string.
            return
        name = _reduced(self.host_name)
        is_unique = bool(name) and not is_image_name(name)
        if cloud and not is_unique and ("device", "id") not in self.mistaken:
            self._mistake(
                f"[device] id is missing, and the host name {show(self.host_name)} is not unique; "
                "set id to a unique name"
            )
        values["id"] = name or "localhost"

    def _cloud(self, values: dict[str, Any]) -> None:
        ways = [name for name in CREDENTIALS if self._is_given(values, name)]
        if len(ways) == 1:
            self._credential(values, ways[0])
        elif ways:
            self._mistake(f"[cloud] has {' and '.join(ways)}; set exactly one of {WAYS_IN}")
        else:
            self._mistake(f"[cloud] has no way to a hub; set one of {WAYS_IN}")
        if values["hub"] is not None:
            self._hub(values["hub"])
        host = KEYS["cloud"]["provisioning_host"].default
        if len(ways) == 1 and ways != ["id_scope"] and values["provisioning_host"] != host:
            self._mistake(
                f"[cloud] provisioning_host has no effect with {ways[0]}, because no provisioning "
                "service is used; remove it"
            )
        for name, needed in (("proxy_user", "proxy"), ("proxy_password_file", "proxy_user")):
            if values[name] and not values[needed] and ("cloud", needed) not in self.mistaken:
                self._mistake(f"[cloud] {name} is set without {needed}; set both")

    def _hub(self, name: str) -> None:
        for domain, service in NOT_HUBS.items():
            if name.lower().endswith(domain):
                self._mistake(
                    f'[cloud] hub = "{name}": this is {service}, not an IoT hub; set id_scope in '
                    "place of hub"
                )

    def _is_given(self, values: dict[str, Any], name: str) -> bool:
        """Return whether a key is set, even if to a wrong value."""
        return values[name] is not None or ("cloud", name) in self.mistaken

    def _credential(self, values: dict[str, Any], way: str) -> None:
        """Check that the credentials are those that this way in takes."""
        names = ("key_file", "group_key_file", *X509)
        found = [name for name in names if values[name] is not None]
        if any(("cloud", name) in self.mistaken for name in names):
            return
        one = {"connection_string_file": [], "hub": ["key_file"], "id_scope": ["key_file"]}[way]
        if found in (one, list(X509)) or (way == "id_scope" and found == ["group_key_file"]):
            return
        if way == "connection_string_file" and "key_file" in found:
            self._mistake(
                "[cloud] has connection_string_file and key_file; the connection string has the "
                "key, so remove key_file"
            )
        elif way != "id_scope" and "group_key_file" in found:
            self._mistake(
                f"[cloud] has {way} and group_key_file; an enrolment group needs the provisioning "
                f"service, so set id_scope in place of {way}, or remove group_key_file"
            )
        elif way == "connection_string_file":
            self._mistake(f"[cloud] has {found[0]}; set both or none of {CERTIFICATE}")
        else:
            self._mistake(
                f"[cloud] has {' and '.join(found)}; set exactly one of {CREDENTIALS[way]}"
                if found
                else f"[cloud] has no credential; set one of {CREDENTIALS[way]}"
            )

    def _sensor(self, values: dict[str, Any], given: dict[str, Any]) -> None:
        driver, model = values["driver"], values["model"]
        if driver in DHTS and given.get("model", driver) != driver:
            other = "kernel" if model in CHIPS else model
            self._mistake(
                f'[sensor] model = "{model}": driver = "{driver}" is for a "{driver}"; remove '
                f'model, or set driver = "{other}"'
            )
        elif driver == "fake" and model in CHIPS:
            self._mistake(
                f'[sensor] model = "{model}": driver = "fake" simulates only a DHT; remove model, '
                'or set driver = "kernel"'
            )
        elif ("sensor", "model") not in self.mistaken and ("sensor", "driver") not in self.mistaken:
            self._place(values, given)
        if driver in DHTS:
            values["model"] = driver

    def _place(self, values: dict[str, Any], given: dict[str, Any]) -> None:
        """Check that the sensor's place is a pin for a DHT, and else a bus and an address."""
        driver, model = values["driver"], values["model"]
        chip = CHIPS[model].chip if driver == "kernel" and model in CHIPS else None
        what = f'model = "{model}"' if driver == "kernel" else f'driver = "{driver}"'
        for name in ("bus", "address") if chip is None else ("pin", "power_pin"):
            if name in given:
                where = "not on I2C" if chip is None else "on I2C, and not on a GPIO of its own"
                self._mistake(
                    f"[sensor] {name} = {given[name]}: the sensor of {what} is {where}; remove "
                    f"{name}"
                )
        if chip is None:
            return
        if values["bus"] is None:
            values["bus"] = BUS
        if values["address"] is None:
            values["address"] = chip.addresses[0]
        elif values["address"] not in chip.addresses:
            *most, last = (f"0x{address:02x}" for address in chip.addresses)
            can_be = f"{', '.join(most)} or {last}" if most else last
            self._mistake(
                f"[sensor] address = 0x{values['address']:02x}: the sensor of {what} has the "
                f"address {can_be}"
            )

    def _pins(self, values: Sections) -> None:
        sensor = values["sensor"]
        is_on_i2c = sensor["driver"] == "kernel" and sensor["model"] in CHIPS
        taken: dict[int, str] = {}
        if is_on_i2c and sensor["bus"] == BUS:
            taken = dict.fromkeys(BUS_PINS, f"I2C bus {BUS}")
        for section, name in (("sensor", "pin"), ("sensor", "power_pin"), ("led", "pin")):
            pin = values[section][name]
            # Fake drivers use no GPIO.
            if (
                pin is None
                or values[section]["driver"] == "fake"
                or (section == "sensor" and is_on_i2c)
                or (section, name) in self.mistaken
            ):
                continue
            if pin in taken:
                self._mistake(
                    f"[{section}] {name} = {pin}: {taken[pin]} uses that GPIO too; set another one"
                )
            taken.setdefault(pin, f"[{section}] {name}")

    def _limits(self, values: dict[str, Any]) -> None:
        for what, margin, unit in (
            ("temperature", TEMPERATURE_MARGIN, "degree Celsius"),
            ("humidity", HUMIDITY_MARGIN, "%"),
        ):
            low, high = f"{what}_low", f"{what}_high"
            if {("limits", low), ("limits", high)} & self.mistaken:
                continue
            if not is_low_enough(values[low], values[high], margin):
                self._mistake(
                    f"[limits] {low} = {show(values[low])}: must be more than {2 * margin:g} "
                    f"{unit} below {high} = {show(values[high])}"
                )


def _wrong(key: Key, value: object, *, low: float | None) -> str | None:
    """Return the value found and the values allowed, or None if `value` is allowed."""
    if isinstance(value, str) and key.is_text:
        return _wrong_text(key, value)
    if isinstance(value, bool):
        right = key.kind is bool
    elif isinstance(value, int) or (isinstance(value, float) and key.kind is float):
        rule = key.rule
        least = rule.low if low is None else low
        right = least is not None and rule.high is not None and least <= value <= rule.high
    else:
        right = False
    return None if right else f"{show(value)}: must be {key.allowed}"


def _wrong_text(key: Key, value: str) -> str | None:
    rule = key.rule
    for what, is_one in (("key", is_key), ("connection string", is_connection_string)):
        if is_one(value):
            return (
                f"...: this is a {what}, which is a secret; write it to a file, and set "
                f"{what.replace(' ', '_')}_file to the file's name"
            )
    names = (*rule.choices, *rule.synonyms)
    if value in names if rule.choices else rule.form(value):
        return None
    if advice := rule.advice(value):
        return f"{show(value)}: {advice}"
    if close := _close(value.lower(), names):
        return f'{show(value)}: must be {key.allowed}; did you mean "{close}"?'
    # An address may contain a password before the host.
    return f"{'...' if '@' in value else show(value)}: must be {key.allowed}"


def _home(name: str) -> str | None:
    """Return the only section that has a key of this name."""
    homes = [section for section, keys in KEYS.items() if name in keys]
    return homes[0] if len(homes) == 1 else None


def _closest(name: str, names: list[str]) -> str:
    if close := _close(name.lower().replace("-", "_"), names):
        return f'did you mean "{close}"?'
    return f"the names are: {', '.join(names)}"


def _close(name: str, names: Sequence[str]) -> str | None:
    """Return the name that is most like this one, if any is."""
    import difflib  # noqa: PLC0415 - it takes 0.2 MB, and few files have a mistake.

    return next(iter(difflib.get_close_matches(name, names, n=1)), None)


def _show_name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name) else show(name)


def _reduced(host_name: str) -> str:
    """Return the first part of a host name, reduced to the characters of a device id."""
    return re.sub(r"[^A-Za-z0-9-]", "", host_name.partition(".")[0]).strip("-")[:128]
