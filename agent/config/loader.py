"""The configuration file: found, read into frozen dataclasses, every mistake named at once.

The keys are in `agent.config.schema`; nothing here knows one by heart that is not bound to another.
"""

import difflib
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, replace
from pathlib import Path
from typing import Any

from agent.config.reference import example, reference, show
from agent.config.schema import (
    FASTEST_FAKE,
    KEYS,
    SECTIONS,
    CloudConfig,
    Config,
    DeviceConfig,
    Key,
    LedConfig,
    LogConfig,
    OutboxConfig,
    SensorConfig,
)
from agent.errors import ConfigError

__all__ = [
    "CloudConfig",
    "Config",
    "DeviceConfig",
    "LedConfig",
    "LogConfig",
    "OutboxConfig",
    "SensorConfig",
    "default",
    "example",
    "find",
    "load",
    "places",
    "reference",
    "runtime_directory",
    "state_directory",
    "with_fake_hardware",
]

SYSTEM_FILE = Path("/etc/sensor-agent/config.toml")
SYSTEM_STATE = Path("/var/lib/sensor-agent")
SYSTEM_RUNTIME = Path("/run/sensor-agent")

LARGEST_FILE = 1_000_000  # bytes; anything longer is not a configuration
IMAGE_NAMES = ("raspberrypi", "localhost")  # every new image has one of them
CREDENTIALS = "key_file, group_key_file, or x509_cert_file and x509_key_file"
AZURE_KEY = re.compile(r"[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==")  # 32 or 64 bytes in base64

Sections = dict[str, dict[str, Any]]


def load(path: Path, *, host_name: str | None = None) -> Config:
    """Read the file at `path`.

    `host_name` is this machine's, from which the device id is made where none is set. Raises
    ConfigError with every mistake there is. Files that it names are not looked at.
    """
    reader = _Reader(str(path), socket.gethostname() if host_name is None else host_name)
    config = reader.read(_parse(path))
    if config is None:
        raise ConfigError(*reader.mistakes)
    return config


def default(*, host_name: str | None = None) -> Config:
    """Return what an empty file says."""
    name = socket.gethostname() if host_name is None else host_name
    return Config(device=DeviceConfig(id=_reduced(name) or "localhost"))


def with_fake_hardware(config: Config) -> Config:
    """Return `config` with both drivers fake."""
    return replace(
        config,
        sensor=replace(config.sensor, driver="fake"),
        led=replace(config.led, driver="fake"),
    )


def find(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: `explicit`, else the system's, else the user's; None without."""
    if explicit is not None:
        return explicit
    return next((path for path in places(environ) if exists(path)), None)


def places(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Return the paths of the system's and of the user's configuration file."""
    user = _base(environ, "XDG_CONFIG_HOME", ".config") / "sensor-agent" / "config.toml"
    return SYSTEM_FILE, user


def state_directory(environ: Mapping[str, str], config_path: Path | None) -> Path:
    """Return where what must survive a restart is kept. It need not exist yet."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if _is_system_file(config_path):
        return SYSTEM_STATE
    return _base(environ, "XDG_STATE_HOME", ".local/state") / "sensor-agent"


def runtime_directory(environ: Mapping[str, str], config_path: Path | None) -> Path:
    """Return where the running daemon's socket is. It need not exist yet."""
    if given := environ.get("RUNTIME_DIRECTORY"):
        return Path(given.split(":")[0])
    if _is_system_file(config_path) and not environ.get("STATE_DIRECTORY"):
        return SYSTEM_RUNTIME
    return state_directory(environ, config_path)


def _is_system_file(path: Path | None) -> bool:
    return path is not None and path.absolute() == SYSTEM_FILE


def _base(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    # The XDG specification: a path that is not absolute is to be ignored.
    given = Path(environ.get(variable, ""))
    return given if given.is_absolute() else Path(environ.get("HOME") or Path.home()) / fallback


def _path(name: str) -> Path:
    """Return the file of this name in UTF-8, whatever the locale's encoding is."""
    return Path(os.fsdecode(name.encode()))


def exists(path: Path) -> bool:
    """Return whether `path` exists, or may exist in a directory that this user cannot search."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass  # Reading it will say why it cannot be read.
    return True


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file.") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: this is a directory; the configuration is a file.") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte in it
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read: {reason}.") from None
    if len(raw) > LARGEST_FILE:
        raise ConfigError(f"{path}: too large for a configuration (more than 1 MB).")
    try:
        # Some editors put a byte order mark first.
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: not UTF-8 text (at line {line}); save it as UTF-8.") from None
    except RecursionError:
        raise ConfigError(f"{path}: not TOML: nested too deep.") from None
    except ValueError as error:  # TOMLDecodeError, or a number too long for Python
        raise ConfigError(f"{path}: not TOML: {error}.") from None


class _Reader:
    """Goes through one file and collects its mistakes."""

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
        self._device(values["device"], cloud="cloud" in given)
        if "cloud" in given:
            self._cloud(values["cloud"])
        self._sensor(values["sensor"], given.get("sensor", {}))
        self._pins(values)
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
                values[name] = _path(value) if key.kind is Path else key.kind(value)
            else:
                self._mistake(f"[{section}] {name} = {wrong}", (section, name))
        return values

    def _mistake(self, sentence: str, *keys: tuple[str, str]) -> None:
        self.mistakes.append(f"{self.path}: {sentence}")
        self.mistaken.update(keys)

    def _unknown(self, section: str, name: str, value: object) -> None:
        # What is written under a name that nobody knows may be a secret.
        shown = "..." if isinstance(value, str) else show(value)
        home = _home(name)
        hint = f"it belongs below [{home}]" if home else _closest(name, list(KEYS[section]))
        self._mistake(f"[{section}] {_show_name(name)} = {shown}: no such key; {hint}")

    def _stray(self, name: str, value: object) -> str:
        if name in SECTIONS:
            return f"{name} = {show(value)}: this is a section; write [{name}] on a line of its own"
        if isinstance(value, dict):
            return f"[{_show_name(name)}]: no such section; {_closest(name, list(SECTIONS))}"
        home = _home(name)
        where = f"it belongs below [{home}]" if home else "every key belongs below one"
        return f"{_show_name(name)} = ...: stands before the first section; {where}"

    def _device(self, values: dict[str, Any], *, cloud: bool) -> None:
        if values["id"] is not MISSING:
            return
        name = _reduced(self.host_name)
        if cloud and name.lower() in (*IMAGE_NAMES, "") and ("device", "id") not in self.mistaken:
            self._mistake(
                f"[device] id is missing, and this machine's host name, {show(self.host_name)}, "
                "would not tell it from others; set id to a name of its own"
            )
        values["id"] = name or "localhost"

    def _cloud(self, values: dict[str, Any]) -> None:
        if values["id_scope"] is MISSING and ("cloud", "id_scope") not in self.mistaken:
            self._mistake(f"[cloud] id_scope is missing; it is {KEYS['cloud']['id_scope'].allowed}")
        names = ("key_file", "group_key_file", "x509_cert_file", "x509_key_file")
        found = [name for name in names if values[name] is not None]
        if not any(("cloud", name) in self.mistaken for name in names):
            if not found:
                self._mistake(f"[cloud] has no credential; set one of {CREDENTIALS}")
            elif found not in (["key_file"], ["group_key_file"], list(names[2:])):
                self._mistake(
                    f"[cloud] has {' and '.join(found)}; set exactly one of {CREDENTIALS}"
                )
        for name, needed in (("proxy_user", "proxy"), ("proxy_password_file", "proxy_user")):
            if values[name] and not values[needed] and ("cloud", needed) not in self.mistaken:
                self._mistake(f"[cloud] {name} is set and {needed} is not; it needs both")

    def _sensor(self, values: dict[str, Any], given: dict[str, Any]) -> None:
        driver = values["driver"]
        if driver not in ("dht22", "dht11"):
            return
        if given.get("model", driver) != driver:
            self._mistake(
                f'[sensor] model = "{given["model"]}": driver = "{driver}" is for a '
                f'"{driver}"; leave model out, or choose driver = "{given["model"]}"'
            )
        values["model"] = driver

    def _pins(self, values: Sections) -> None:
        taken: dict[int, str] = {}
        for section, name in (("sensor", "pin"), ("sensor", "power_pin"), ("led", "pin")):
            pin = values[section][name]
            # A fake needs no line.
            if (
                pin is None
                or values[section]["driver"] == "fake"
                or (section, name) in self.mistaken
            ):
                continue
            if pin in taken:
                self._mistake(
                    f"[{section}] {name} = {pin}: {taken[pin]} is on that line; give it another"
                )
            taken.setdefault(pin, f"[{section}] {name}")


def _wrong(key: Key, value: object, *, low: float | None) -> str | None:
    """Say what was found and what is allowed; None where `value` will do."""
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
    if AZURE_KEY.fullmatch(value):
        return "...: this is a key itself; put it in a file, and the file's name here"
    if value in rule.choices if rule.choices else rule.form(value):
        return None
    if close := difflib.get_close_matches(value.lower(), rule.choices, n=1):
        return f'{show(value)}: must be {key.allowed}; did you mean "{close[0]}"?'
    # In an address, a password may stand in front of the host.
    return f"{'...' if '@' in value else show(value)}: must be {key.allowed}"


def _home(name: str) -> str | None:
    """Return the only section that has a key of this name."""
    homes = [section for section, keys in KEYS.items() if name in keys]
    return homes[0] if len(homes) == 1 else None


def _closest(name: str, names: list[str]) -> str:
    plain = name.lower().replace("-", "_")
    if close := difflib.get_close_matches(plain, names, n=1):
        return f'did you mean "{close[0]}"?'
    return f"there are: {', '.join(names)}"


def _show_name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name) else show(name)


def _reduced(host_name: str) -> str:
    """Return the first part of a host name, as a device id."""
    return re.sub(r"[^A-Za-z0-9-]", "", host_name.partition(".")[0]).strip("-")[:128]
