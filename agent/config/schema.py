"""The table of configuration keys.

The fields below are the table: they define type, default, range, unit and help of every key.
`agent.config.loader` reads a file by it, and `agent.config.reference` writes the example and the
reference.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from agent.ranges import (
    GPIO,
    HOST_NAME,
    HUB_DEVICE_ID,
    HUMIDITY_LIMIT,
    ID_SCOPE,
    INTERVAL,
    TEMPERATURE_LIMIT,
    Range,
)
from hw.sensors.models import DHT_SYNONYMS, DHTS, MODELS, SYNONYMS, advice

FASTEST_FAKE = 0.05  # seconds; a fake sensor needs no pause between readings

PROXY = re.compile(rf"(?:http|socks5)://(?:{HOST_NAME}|\[[0-9A-Fa-f:.]+\]):([0-9]{{1,5}})/?")


@dataclass(frozen=True, slots=True)
class Rule:
    """The meaning of a key, and its allowed values."""

    help: str
    allowed: str = ""
    low: float | None = None
    high: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    synonyms: Mapping[str, str] = field(default_factory=dict)  # Other names of choices.
    advice: Callable[[str], str | None] = lambda _text: None  # On what is not a choice.
    form: Callable[[str], bool] = bool
    example: str | int | None = None  # for the example file, commented out there
    is_hex: bool = False
    is_live: bool = False  # A change applies while the daemon runs; else it needs a restart.


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the table."""

    section: str
    name: str
    kind: type
    default: Any  # MISSING if the key is required, None if it is optional
    rule: Rule

    @property
    def is_text(self) -> bool:
        """Whether the value is written in quotes."""
        return self.kind in (str, Path)

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""
        rule = self.rule
        if self.kind is bool:
            return "true or false"
        if rule.choices:
            *most, last = (f'"{choice}"' for choice in rule.choices)
            return f"{', '.join(most)} or {last}"
        if rule.low is not None and rule.high is not None:
            number = "a whole number" if self.kind is int else "a number"
            ends = (rule.low, rule.high)
            low, high = (f"0x{int(end):02x}" if rule.is_hex else f"{end:g}" for end in ends)
            return f"{number} from {low} to {high}" + (f" ({rule.unit})" if rule.unit else "")
        return rule.allowed


def _rule(text: str, **more: Any) -> dict[str, Rule]:
    return {"rule": Rule(text, **more)}


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(pattern, text) is not None


def _is_proxy(text: str) -> bool:
    match = PROXY.fullmatch(text)
    return match is not None and 1 <= int(match[1]) <= 65535  # noqa: PLR2004 - TCP's ports


def _is_path(text: str) -> bool:
    return bool(text) and text.isprintable()


def _entry(default: Any, text: str, **more: Any) -> Any:
    """Return the field of a key that need not be set."""
    return field(default=default, metadata=_rule(text, **more))


def _file(text: str, example: str) -> Any:
    return _entry(None, text, allowed="the name of a file", form=_is_path, example=example)


def _pin(default: int | None, text: str, example: int | None = None) -> Any:
    return _entry(default, text, low=GPIO.low, high=GPIO.high, unit="GPIO number", example=example)


def _limit(default: float, allowed: Range, text: str, unit: str) -> Any:
    what = f"{text} {default:g} means no limit."
    return _entry(float(default), what, low=allowed.low, high=allowed.high, unit=unit, is_live=True)


def _choice(default: str, text: str, *choices: str, **more: Any) -> Any:
    return _entry(default, text, choices=choices, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """The identity of this device."""

    id: str = field(
        metadata=_rule(
            "Device id. Default: the id in the connection string, or else the host name, reduced "
            "to letters, digits and hyphens.",
            allowed="1 to 128 letters, digits, - . _ : and, only without id_scope, "
            "% * ? ! ( ) , = @ ; $ '",
            form=_matches(HUB_DEVICE_ID),
            example="greenhouse-1",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudConfig:
    """The connection to Azure. Set exactly one of connection_string_file, hub and id_scope."""

    connection_string_file: Path | None = _file(
        "File with this device's connection string, as IoT Hub shows it. If it has x509=true, set "
        "x509_cert_file and x509_key_file, too.",
        "device.connection",
    )
    hub: str | None = _entry(
        None,
        "Host name of the IoT hub, to connect without the provisioning service.",
        allowed="a host name or an IPv4 address, without scheme and port",
        form=_matches(HOST_NAME),
        example="name.azure-devices.net",
    )
    id_scope: str | None = _entry(
        None,
        "ID scope, as the page of the provisioning service (DPS) shows it.",
        allowed="letters, digits, - and _",
        form=_matches(ID_SCOPE),
        example="0ne00000000",
    )
    provisioning_host: str = _entry(
        "global.azure-devices-provisioning.net",
        "Host name of the provisioning service. Used only with id_scope.",
        allowed="a host name or an IPv4 address, without scheme and port",
        form=_matches(HOST_NAME),
    )
    key_file: Path | None = _file("File with this device's own key, in base64.", "device.key")
    group_key_file: Path | None = _file(
        "File with the key of an enrolment group, in base64. Used only with id_scope.",
        "group.key",
    )
    x509_cert_file: Path | None = _file(
        "File with this device's certificate, in PEM.", "device-cert.pem"
    )
    x509_key_file: Path | None = _file(
        "File with that certificate's private key, in PEM.", "device-key.pem"
    )
    ca_file: Path | None = _file(
        "File with the only certificate authorities to trust, in PEM. Default: the system's.",
        "ca.pem",
    )
    transport: str = _choice(
        "mqtt", "MQTT on port 8883, or MQTT over websockets on port 443.", "mqtt", "websockets"
    )
    proxy: str | None = _entry(
        None,
        "Proxy for all connections to Azure.",
        allowed='"http://host:port" or "socks5://host:port", without user and password',
        form=_is_proxy,
        example="http://proxy.example.org:3128",
    )
    proxy_user: str | None = _entry(
        None, "User name for the proxy.", allowed="a name", example="anna"
    )
    proxy_password_file: Path | None = _file(
        "File with the password for the proxy.", "proxy.password"
    )
    keep_alive: int = _entry(
        60, "Longest time without traffic on the connection.", low=2, high=1177, unit="seconds"
    )
    max_rate: float = _entry(
        10.0,
        "Maximum rate at which waiting readings are sent.",
        low=0.1,
        high=10_000,
        unit="messages/s",
        is_live=True,
    )
    property_format: str = _choice(
        "plug-and-play",
        'Form of reported properties. "preview" is for applications from before July 2020.',
        "plug-and-play",
        "preview",
    )
    allow_move: bool = _entry(
        True,
        "Whether the operator may move this device to another ID scope (DeviceMove).",
        is_live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorConfig:
    """The temperature and humidity sensor."""

    driver: str = _choice(
        "dht22",
        "Driver: the kernel's, a simulated sensor, or Adafruit's for a DHT22 (AM2302), DHT21 "
        "(AM2301) or DHT11.",
        *DHTS,
        "kernel",
        "fake",
        synonyms=DHT_SYNONYMS,
        advice=advice,
    )
    model: str = _choice(
        "dht22",
        'Model of the sensor. Used only if driver is "kernel" or "fake", which simulates only a '
        "DHT. The kernel reads no DHT11 below 0 °C.",
        *MODELS,
        synonyms=SYNONYMS,
        advice=advice,
        example="dht22",
    )
    pin: int = _pin(4, "GPIO of a DHT's data wire.")
    bus: int | None = _entry(
        None,
        "Bus of a sensor on I2C. Default: 1, which is on the header.",
        low=0,
        high=255,
        unit="I2C bus",
        example=1,
    )
    address: int | None = _entry(
        None,
        "Address of a sensor on I2C. Default: the model's usual one.",
        low=0x08,
        high=0x77,
        unit="I2C address",
        example=0x76,
        is_hex=True,
    )
    interval: float = _entry(
        60.0,
        "Time between two readings.",
        low=INTERVAL.low,
        high=INTERVAL.high,
        unit=f'seconds; with driver "fake" from {FASTEST_FAKE}',
        is_live=True,
    )
    unit: str = _choice("celsius", "Unit in which temperatures are sent.", "celsius", "fahrenheit")
    temperature_offset: float = _entry(
        0.0,
        "Added to every temperature.",
        low=-50,
        high=50,
        unit="degrees Celsius",
        is_live=True,
    )
    humidity_offset: float = _entry(
        0.0,
        "Added to every humidity.",
        low=-100,
        high=100,
        unit="percentage points",
        is_live=True,
    )
    power_pin: int | None = _pin(
        None, "GPIO that powers a DHT. The daemon uses it to restart a stuck sensor.", 22
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LedConfig:
    """The LED."""

    driver: str = _choice(
        "gpiozero",
        '"gpiozero" drives the LED on a GPIO; "fake" simulates it.',
        "gpiozero",
        "fake",
    )
    pin: int = _pin(17, "GPIO of the LED.")
    active_high: bool = _entry(
        True,
        "true if the LED lights while the pin is high; false if it lights while the pin is low.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """Limits of temperature and humidity. Outside them the LED signals, also without a cloud."""

    temperature_low: float = _limit(
        TEMPERATURE_LIMIT.low, TEMPERATURE_LIMIT, "Lowest temperature.", "degrees Celsius"
    )
    temperature_high: float = _limit(
        TEMPERATURE_LIMIT.high, TEMPERATURE_LIMIT, "Highest temperature.", "degrees Celsius"
    )
    humidity_low: float = _limit(HUMIDITY_LIMIT.low, HUMIDITY_LIMIT, "Lowest humidity.", "%")
    humidity_high: float = _limit(HUMIDITY_LIMIT.high, HUMIDITY_LIMIT, "Highest humidity.", "%")
    led: str = _choice(
        "blink",
        'What the LED does outside the limits. "none" leaves it as it is.',
        "blink",
        "on",
        "none",
        is_live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxConfig:
    """Readings that wait to be sent. Beyond either limit the oldest are dropped and counted."""

    max_age_days: int = _entry(
        30, "Maximum age of a waiting reading.", low=1, high=3650, unit="days", is_live=True
    )
    max_megabytes: int = _entry(
        64,
        "Maximum size of all waiting readings.",
        low=1,
        high=100_000,
        unit="MB",
        is_live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockConfig:
    """The clock of this machine."""

    trust_rtc: bool = _entry(
        False,
        "Whether a clock that agrees with a battery-backed real-time clock (RTC) counts as right, "
        "even if it was not set from the network.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The log."""

    level: str = _choice(
        "info",
        "Lowest level that is logged.",
        "debug",
        "info",
        "warning",
        "error",
        is_live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings. `cloud` is None if no readings are sent."""

    device: DeviceConfig
    cloud: CloudConfig | None = None
    sensor: SensorConfig = SensorConfig()
    led: LedConfig = LedConfig()
    limits: LimitsConfig = LimitsConfig()
    outbox: OutboxConfig = OutboxConfig()
    clock: ClockConfig = ClockConfig()
    log: LogConfig = LogConfig()


SECTIONS: dict[str, type[Any]] = {
    "device": DeviceConfig,
    "cloud": CloudConfig,
    "sensor": SensorConfig,
    "led": LedConfig,
    "limits": LimitsConfig,
    "outbox": OutboxConfig,
    "clock": ClockConfig,
    "log": LogConfig,
}


def _key(section: str, entry: Field[Any]) -> Key:
    [kind] = [kind for kind in get_args(entry.type) or (entry.type,) if kind is not NoneType]
    return Key(section, entry.name, kind, entry.default, entry.metadata["rule"])


KEYS: dict[str, dict[str, Key]] = {
    section: {entry.name: _key(section, entry) for entry in fields(kind)}
    for section, kind in SECTIONS.items()
}
