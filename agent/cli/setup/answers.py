"""Turns the answers into settings of the configuration file and into files beside it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agent.cli.setup.config_text import Hex, Settings, Value
from agent.cli.setup.given_files import checked_connection_string
from agent.cli.setup.options import Options
from agent.config.credentials import derive_device_key
from agent.config.loader import X509
from agent.config.schema import KEYS
from hw.sensors.models import CHIPS, DHT_SYNONYMS, DHTS, SYNONYMS

KEY, CONNECTION = "device.key", "device.connection"
CERTIFICATE, CERTIFICATE_KEY = "device-cert.pem", "device-key.pem"
SECRETS = (KEY, CONNECTION, CERTIFICATE, CERTIFICATE_KEY)
"""The names of the files in the directory of the credentials."""

CA = "ca.pem"
PROVISIONING_HOST = KEYS["cloud"]["provisioning_host"].default
WAYS = ("connection_string_file", "hub", "id_scope")
UNKNOWN = "unknown"  # Stands for an answer that is not known yet.
ADAFRUIT = (*DHTS, *DHT_SYNONYMS)

Sections = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The options, given or answered, and the contents of the files that they name, or typed."""

    options: Options
    connection: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    group_key: str | None = field(default=None, repr=False)
    certificate: bytes | None = None
    certificate_key: bytes | None = field(default=None, repr=False)
    ca: bytes | None = None

    @property
    def has_credential(self) -> bool:
        """Whether there is a key or a certificate for the provisioning service."""
        return any(one is not None for one in (self.key, self.group_key, self.certificate))


def settings(answers: Answers, today: Sections, *, host_today: str | None) -> Settings:
    """Return the changes to the configuration whose sections are `today`.

    `host_today` is the host that it connects to: the hub, or the provisioning service.
    """
    options = answers.options
    device: dict[tuple[str, str], Value | None] = {}
    if answers.connection is not None:
        device["device", "id"] = None  # The connection string has it.
    if options.device_id is not None:
        device["device", "id"] = options.device_id
    cloud = _way(answers, host_today)
    if options.ca_file is not None:
        cloud["ca_file"] = CA
    ways = {("cloud", key): value for key, value in cloud.items()}
    return device | ways | _hardware(options, today)


def unknown_yet(answers: Answers, wanted: Settings, today: Sections) -> Settings:
    """Return settings that stand for the answers that are not known yet, to judge the others."""
    stand_ins: dict[tuple[str, str], Value | None] = {}
    cloud = today.get("cloud", {})
    has_way = answers.connection is not None or any(way in cloud for way in WAYS)
    if answers.options.id_scope is not None or not has_way:
        stand_ins["cloud", "id_scope"] = UNKNOWN
        if "id" not in today.get("device", {}):
            stand_ins["device", "id"] = UNKNOWN
        if not any(key in cloud for key in ("key_file", "group_key_file", *X509)):
            stand_ins["cloud", "key_file"] = KEY
    if answers.options.led_pin is None:  # Its pin must not seem to be the sensor's.
        stand_ins["led", "driver"] = "fake"
    return {key: value for key, value in stand_ins.items() if key not in wanted}


def secrets(answers: Answers, device_id: str) -> dict[str, bytes]:
    """Return the files to install among the credentials, by name."""
    key = answers.key
    if answers.group_key is not None:
        key = derive_device_key(answers.group_key, device_id)
    texts = {KEY: key, CONNECTION: answers.connection}
    found = {name: f"{text}\n".encode() for name, text in texts.items() if text is not None}
    if answers.certificate is not None and answers.certificate_key is not None:
        found |= {CERTIFICATE: answers.certificate, CERTIFICATE_KEY: answers.certificate_key}
    return found


def _way(answers: Answers, host_today: str | None) -> dict[str, Value | None]:
    """Return the changes to [cloud]: the whole way to the hub, or a part of today's."""
    options, credential = answers.options, _credential(answers)
    if answers.connection is not None:
        changes: dict[str, Value | None] = {"connection_string_file": CONNECTION}
        changes |= dict.fromkeys(("hub", "id_scope", "provisioning_host"))
        changes |= dict.fromkeys(("key_file", "group_key_file", *X509)) | credential
        return changes | _other_authority(
            checked_connection_string(answers.connection).hub, host_today
        )
    changes = {}
    if options.id_scope is not None:
        changes |= {"connection_string_file": None, "hub": None, "id_scope": options.id_scope}
    changes |= credential
    if options.provisioning_host is not None:
        changes["provisioning_host"] = options.provisioning_host
    if options.id_scope is not None and credential:
        # A credential with its ID scope is a new way as a whole. An ID scope alone is not.
        host = changes.setdefault("provisioning_host", None) or PROVISIONING_HOST
        changes |= _other_authority(str(host), host_today)
    return changes


def _credential(answers: Answers) -> dict[str, Value | None]:
    others: dict[str, Value | None] = dict.fromkeys(("key_file", "group_key_file", *X509))
    if answers.certificate is not None:
        return others | {"x509_cert_file": CERTIFICATE, "x509_key_file": CERTIFICATE_KEY}
    if answers.key is not None or answers.group_key is not None:
        return others | {"key_file": KEY}
    return {}


def _other_authority(host: str, host_today: str | None) -> dict[str, Value | None]:
    """Return the change that removes the authority of another host than `host`."""
    return {} if host == host_today else {"ca_file": None}


def _hardware(options: Options, today: Sections) -> dict[tuple[str, str], Value | None]:
    changes: dict[tuple[str, str], Value | None] = {}
    if options.driver is not None:
        changes["sensor", "driver"] = options.driver
        if options.driver in ADAFRUIT:  # The driver says the model.
            changes["sensor", "model"] = None
    elif is_on_i2c(options, {}):
        changes["sensor", "driver"] = "kernel"
    if options.model is not None:
        changes["sensor", "model"] = options.model
    changes |= _place(options, today.get("sensor", {}))
    if options.led_pin is not None:
        changes["led", "pin"] = _number(options.led_pin)
        if today.get("led", {}).get("driver") == "fake":
            changes["led", "driver"] = None
    if options.fake_hw:
        changes["sensor", "driver"] = changes["led", "driver"] = "fake"
    return changes


def is_on_i2c(options: Options, today: Mapping[str, Any]) -> bool:
    """Return whether the sensor is on I2C with these options. `today` is the section [sensor].

    Only the kernel reads such a sensor, so an option `model` of one implies that driver.
    """
    if options.fake_hw or _model(options.model or today.get("model")) not in CHIPS:
        return False
    implied = today.get("driver") if options.model is None else "kernel"
    return (options.driver or implied) == "kernel"


def _place(options: Options, today: Mapping[str, Any]) -> dict[tuple[str, str], Value | None]:
    """Return the changes to the sensor's pin, or to its bus and address."""
    given: dict[str, Value | None] = {}
    if options.pin is not None:
        given["pin"] = _number(options.pin)
    if options.bus is not None:
        given["bus"] = _number(options.bus)
    if options.address is not None:
        given["address"] = _address(options.address)
    was_on_i2c = is_on_i2c(Options(), today)
    is_other = options.model is not None and _model(options.model) != _model(today.get("model"))
    if is_on_i2c(options, today) != was_on_i2c or (was_on_i2c and is_other):
        # The old place does not fit the new sensor.
        names = ("pin", "power_pin", "bus", "address")
        given = dict.fromkeys(name for name in names if name in today) | given
        if options.fake_hw and options.model is None:
            given["model"] = None
    return {("sensor", name): value for name, value in given.items()}


def _model(name: str | None) -> str | None:
    return SYNONYMS.get(name or "", name)


def _address(text: str) -> Value:
    """Return an address. Other text is returned unchanged, for the loader to refuse."""
    return Hex(int(text, 16)) if re.fullmatch(r"0x[0-9a-fA-F]{1,2}", text) else _number(text)


def _number(text: str) -> Value:
    """Return a number, or the text if TOML would not read it as a number; the loader refuses it."""
    return int(text) if re.fullmatch(r"0|[1-9][0-9]{0,8}", text) else text


def with_option(answers: Answers, **options: Any) -> Answers:
    """Return the answers with these options."""
    return replace(answers, options=replace(answers.options, **options))
