"""Finds out what the service needs: from options, else from questions, else from defaults."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.cli.setup import answers as meaning
from agent.cli.setup import board, given_files
from agent.cli.setup import terminal_questions as terminal
from agent.cli.setup.answers import Answers, Sections, with_option
from agent.cli.setup.config_text import edited
from agent.cli.setup.options import MisusedError, Options
from agent.config import loader
from agent.config.pasted import unquoted
from agent.config.schema import KEYS
from agent.errors import AgentError, ConfigError
from agent.ranges import is_image_name
from hw.sensors.discovery import Found
from hw.sensors.i2c_probe import answering, models_at
from hw.sensors.models import BUS, CHIPS, SYNONYMS

HEAD = """\
# Written by sensor-agent setup. To see every key: sensor-agent config example
# To apply a change: sudo systemctl reload sensor-agent
"""
LONGEST_SCOPE = 40  # Characters. A longer answer, or one with =, is a connection string.
EXAMPLE_SCOPE, EXAMPLE_KEY, EXAMPLE_ID = "0ne00000000", "ZXhhbXBsZQ==", "pi-00000000"
EXAMPLE_STRING = (
    f"HostName=example.azure-devices.net;DeviceId={EXAMPLE_ID};SharedAccessKey={EXAMPLE_KEY}"
)
MODEL = "Model of the sensor (dht22, dht21, dht11, or one on I2C, such as sht31 or bme280)"
SENSOR = (
    "Sensor driver (kernel: the kernel's, more reliable on a busy machine; dht22, dht21 or dht11: "
    "Adafruit's)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The machine before the first question.

    `text` is the configuration file, or None if it does not exist, and `host` the host that it
    connects to. `central` is the data directory of a local IoT Central that runs here.
    """

    file: Path
    root: Path
    text: str | None = None
    host: str | None = None
    central: Path | None = None
    may_ask: bool = False

    @property
    def sections(self) -> Sections:
        """The sections of the configuration file. Raises ConfigError if it is not TOML."""
        found = loader.parse((self.text or "").encode(), self.file)
        return {name: value for name, value in found.items() if isinstance(value, dict)}


@dataclass(slots=True)
class Interview:
    """The questions of one run. `answers` are complete when `hold` has returned."""

    situation: Situation
    answers: Answers
    has_unsaved: bool = False  # Whether there are answers that only the terminal has.
    page: str = ""  # Of the local IoT Central.
    assumed: list[str] = field(default_factory=list)  # The defaults that were used, as options.
    asks_all: bool = field(init=False)  # Also what has a default.
    _today: Sections = field(init=False)

    def __post_init__(self) -> None:
        self._today = self.situation.sections
        self.asks_all = self.situation.may_ask and not self.options.are_given

    @property
    def options(self) -> Options:
        return self.answers.options

    @property
    def is_new(self) -> bool:
        """Whether the configuration does not exist yet."""
        return self.situation.text is None

    def hold(self) -> str:
        """Ask what is missing, and return the text of the configuration file.

        Raises AgentError, before anything is changed on the machine.
        """
        self._must_have_gpio()
        self._read_files()
        self._check()
        if self.asks_all or "cloud" not in self._today:
            self._find_way()
        if self.answers.connection is not None:
            self._find_certificate_of_string()
        elif self._is_new_way():
            self._find_credential()
            self._find_device_id()
        if self.asks_all or self.is_new:
            self._find_hardware()
        text = self._text(self.answers)
        loader.read(text.encode(), self.situation.file)
        return text

    # The options.

    def _must_have_gpio(self) -> None:
        """Raise AgentError on a machine whose lines the LED's driver, gpiozero, cannot drive."""
        fake = self.options.fake_hw or not self.is_new
        if not fake and not board.has_gpio(self.situation.root):
            given = replace(self.options, driver=None)
            raise AgentError(
                "This machine is not a Raspberry Pi with GPIO lines (/dev/gpiochip*). To set it up "
                f"with a simulated sensor and LED: {given.command_line('--fake-hw')}"
            )

    def _read_files(self) -> None:
        """Read the files that the options name. Raises AgentError for what cannot be used."""
        if self.options.central is not None:
            self._take_central(self.options.central)
        options, found = self.options, self.answers
        if (file := options.connection_string_file) is not None:
            text = given_files.read_text(file)
            given_files.checked_connection_string(text, file)
            found = replace(found, connection=text)
        if (file := options.key_file) is not None:
            key = given_files.checked_key(given_files.read_text(file), file)
            found = replace(found, key=key)
        if (file := options.group_key_file) is not None:
            key = given_files.checked_key(given_files.read_text(file), file)
            found = replace(found, group_key=key)
        if (file := options.certificate_file) is not None:
            found = replace(found, certificate=given_files.read_bytes(file))
        if (file := options.certificate_key_file) is not None:
            found = replace(found, certificate_key=given_files.read_bytes(file))
        if options.ca_file is not None:
            found = replace(found, ca=given_files.read_authorities(options.ca_file))
        self.answers = found

    def _take_central(self, directory: Path) -> None:
        id_scope, host, self.page = given_files.read_central(directory)
        self._answer(
            id_scope=id_scope,
            provisioning_host=host,
            group_key_file=directory / "group-key",
            ca_file=directory / "ca.pem",
        )

    def _check(self) -> None:
        """Raise AgentError or ConfigError if what is given already cannot be used."""
        device_id = self.options.device_id
        if device_id is not None and is_image_name(device_id):
            proposed = board.proposed_device_id(self.situation.root)
            advice = f" Made from the serial number of this board: --device-id {proposed}"
            raise AgentError(
                f"--device-id {device_id}: every new image has this name, and devices "
                f"with the same id disconnect each other.{advice if proposed else ''}"
            )
        today = self._today.get("device", {}).get("id")
        if device_id not in (None, today) and today and not self.answers.has_credential:
            raise MisusedError(
                "--device-id needs --key-file or --group-key-file, because a key belongs to one "
                "device."
            )
        has_string = "connection_string_file" in self._today.get("cloud", {})
        has_key = self.answers.key is not None or self.answers.group_key is not None
        if has_string and has_key and self.options.id_scope is None:
            raise MisusedError(
                "A key needs --id-scope, because the service has a connection string now. To "
                "replace that one, give --connection-string-file."
            )
        if mistakes := self._mistakes_of(self.answers):
            raise ConfigError(*mistakes)

    # The way to the hub.

    def _is_new_way(self) -> bool:
        """Return whether a credential and a device id must be found for the ID scope."""
        if self.options.id_scope is None:
            return False
        cloud = self._today.get("cloud", {})
        return self.asks_all or self.answers.has_credential or "id_scope" not in cloud

    def _find_way(self) -> None:
        """Find out the connection string or the ID scope, or that today's way stays."""
        if not self.situation.may_ask:
            self._must_be_complete()
        if self.answers.connection is not None or self.options.id_scope is not None:
            return
        if self.situation.may_ask:
            self._ask_way()
        else:
            self._assume_way()

    def _must_be_complete(self) -> None:
        """Raise MisusedError, which names all options that are missing."""
        options, found = self.options, self.answers
        if options.dry_run or found.connection is not None:
            return
        lacking = []
        if options.id_scope is None:
            lacking.append("--id-scope")
        if not found.has_credential:
            lacking.append("--key-file (or --group-key-file)")
        elif found.group_key is None and options.device_id is None:
            lacking.append("--device-id")
        if options.id_scope is None and not found.has_credential:
            lacking = ["--connection-string-file,", "or", " and ".join(lacking)]
        if lacking:
            raise _required(*lacking)

    def _assume_way(self) -> None:
        """Assume an example in a dry run, which shows the steps also before there is a hub."""
        options = self.options
        if self.answers.has_credential or options.device_id or options.provisioning_host:
            self._assume(id_scope=EXAMPLE_SCOPE)
        else:
            self.answers = replace(self.answers, connection=EXAMPLE_STRING)
            self.assumed += ["--connection-string-file", "FILE"]

    def _ask_way(self) -> None:
        """Ask one question, which takes a connection string or an ID scope."""
        question, shortcuts = self._question_of_way()
        while True:
            text = terminal.ask_secret(question)
            self.has_unsaved = True
            if text in shortcuts:
                shortcuts[text]()
                return
            if len(text) > LONGEST_SCOPE or "=" in text:
                if self._take_connection_string(text):
                    return
            elif text and self._try(with_option(self.answers, id_scope=text)):
                print(f"ID scope: {text}", file=sys.stderr)
                return

    def _question_of_way(self) -> tuple[str, Mapping[str, Callable[[], None]]]:
        """Return the question, and what the short answers to it do."""
        if self.answers.has_credential and self.answers.certificate is None:
            return "ID scope", {}
        question = "Connection string of this device, as IoT Hub shows it, or ID scope"
        shortcuts: dict[str, Callable[[], None]] = {}
        if self._today.get("cloud"):
            question += f"; Enter keeps today's ({self.situation.host or 'unchanged'})"
            shortcuts[""] = lambda: None
        if (directory := self.situation.central) is not None:
            short = "c" if shortcuts else ""
            question += f"; {short or 'Enter'} connects to the local IoT Central in {directory}"
            shortcuts[short] = lambda: self._use_central(directory)
        if not shortcuts:
            print(
                "Azure's portal shows it. The page of a local IoT Central shows it under Connect.",
                file=sys.stderr,
            )
        return question, shortcuts

    def _use_central(self, directory: Path) -> None:
        self._answer(central=directory)
        self._read_files()

    def _take_connection_string(self, text: str) -> bool:
        text = unquoted(text)
        if self.answers.has_credential and self.answers.certificate is None:
            print("This is not an ID scope.", file=sys.stderr)
            return False
        try:
            found = given_files.checked_connection_string(text)
        except AgentError as error:
            print(error, file=sys.stderr)
            return False
        print(f"Device id: {found.device_id}", file=sys.stderr)
        self.answers = replace(self.answers, connection=text)
        return True

    def _find_certificate_of_string(self) -> None:
        assert self.answers.connection is not None  # noqa: S101 - the caller has looked.
        found = given_files.checked_connection_string(self.answers.connection)
        if found.key is None and self.answers.certificate is None:
            if not self.situation.may_ask:
                raise _required("--certificate-file", "and", "--certificate-key-file")
            self._ask_certificate()

    def _ask_certificate(self) -> None:
        self._ask_file("certificate", "File with this device's certificate, in PEM")
        self._ask_file("certificate_key", "File with the private key of the certificate, in PEM")

    def _find_credential(self) -> None:
        if self.answers.has_credential:
            return
        if not self.situation.may_ask:
            self._must_be_complete()
            self.answers = replace(self.answers, key=EXAMPLE_KEY)  # A dry run.
            self.assumed += ["--key-file", "FILE"]
            return
        question = (
            "Does this device have its own key (d), the key of an enrolment group (g), or a "
            "certificate (c)?"
        )
        while (kind := terminal.ask_line(question, "d").lower()) not in {"d", "g", "c"}:
            print("Answer d, g or c.", file=sys.stderr)
        self.has_unsaved = True
        if kind == "c":
            self._ask_certificate()
        else:
            self._ask_key("key" if kind == "d" else "group_key")

    def _ask_key(self, name: str) -> None:
        while True:
            text = unquoted(terminal.ask_secret("Key"))
            self.has_unsaved = True
            try:
                key = given_files.checked_key(text)
            except AgentError as error:
                print(error, file=sys.stderr)
            else:
                self._know(**{name: key})
                return

    def _ask_file(self, name: str, question: str) -> None:
        while True:
            text = terminal.ask_line(question)
            self.has_unsaved = True
            if not text:
                continue
            file = Path(text).expanduser()
            try:
                content = given_files.read_bytes(file)
            except AgentError as error:
                print(error, file=sys.stderr)
            else:
                self._answer(**{f"{name}_file": file})
                self._know(**{name: content})
                return

    def _find_device_id(self) -> None:
        """Find out the id. Every new image has the same host name, so it cannot come from there."""
        if self.options.device_id is not None:
            return
        proposed = self._today.get("device", {}).get("id")
        has_own = self.answers.group_key is None  # A key or a certificate, which names its device.
        if proposed is None and not has_own:
            proposed = board.proposed_device_id(self.situation.root)
        if self.asks_all or (self.situation.may_ask and proposed is None):
            question = "Device id that the key belongs to" if has_own else "Device id"
            self._ask("device_id", question, proposed)
        elif self.options.dry_run or proposed is not None:
            self._assume(device_id=proposed or EXAMPLE_ID)
        else:
            raise MisusedError(
                "--device-id is required: this machine has no serial number to make an id from."
            )

    # The hardware.

    def _find_hardware(self) -> None:
        if self.options.fake_hw:
            return
        driver = self._value("sensor", "driver")
        found = board.declared_chip(self.situation.root) if self.is_new else None
        if self.options.model is not None or self.options.driver not in {None, "kernel"}:
            found = None
        if found is not None:
            driver = "kernel"
        elif self.is_new:
            driver = board.proposed_driver(self.situation.root, self.options.model)
            self._hint_at_answers()
        self._choose("driver", SENSOR, driver)
        if self.options.driver == "fake":
            return
        self._find_sensor(found)
        if self._value("led", "driver") != "fake":
            self._choose("led_pin", "GPIO number of the LED", self._value("led", "pin"))

    def _find_sensor(self, found: Found | None) -> None:
        """Find out the model for the kernel's driver, and the place of the sensor."""
        if self.options.driver == "kernel" and (self.asks_all or found is not None):
            self._choose("model", MODEL, found.model if found else self._value("sensor", "model"))
        if found is not None and self.options.model != found.model:
            found = None  # The person has chosen another one.
        today = self._today.get("sensor", {})
        if not meaning.is_on_i2c(self.options, today):
            pin = self._value("sensor", "pin")
            self._choose("pin", "GPIO number of the sensor's data wire", pin)
        elif found is not None and found.address is not None and self.options.address is None:
            if found.bus != BUS:
                self._choose("bus", "I2C bus of the sensor", found.bus)
            self._choose("address", "I2C address of the sensor", f"0x{found.address:02x}")
        elif self.asks_all:
            model = self.options.model or today.get("model", "")
            chip = CHIPS[SYNONYMS.get(model, model)].chip
            address = chip.addresses[0] if chip else 0
            if model == today.get("model"):
                address = today.get("address", address)
            self._choose("address", "I2C address of the sensor", f"0x{address:02x}")

    def _hint_at_answers(self) -> None:
        """Name the addresses at which a sensor may be that is not declared yet."""
        try:
            found = answering(dev=self.situation.root / "dev")
        except TimeoutError:
            print(
                f"I2C bus {BUS} is stuck, so no sensor on it can be found. If there is one, check "
                "its SDA and SCL, which may be swapped or shorted to ground.",
                file=sys.stderr,
            )
            return
        for address in found:
            *most, last = models_at(address)
            models = f"{', '.join(most)} or {last}" if most else last
            print(
                f"Something answers at address 0x{address:02x} of I2C bus {BUS}. If it is a "
                f"sensor, give --driver kernel --address 0x{address:02x} --model {models}.",
                file=sys.stderr,
            )

    def _value(self, section: str, key: str) -> Any:
        """Return today's value, or the default."""
        return self._today.get(section, {}).get(key, KEYS[section][key].default)

    def _choose(self, option: str, question: str, default: object) -> None:
        if getattr(self.options, option) is not None:
            return
        if self.asks_all:
            self._ask(option, question, str(default))
        else:
            self._assume(**{option: str(default)})

    # Answers.

    def _ask(self, option: str, question: str, default: str | None) -> None:
        """Ask until the answer can be used."""
        while True:
            answer = terminal.ask_line(question, default)
            if not answer:
                continue
            self.has_unsaved = True
            if option == "device_id" and is_image_name(answer):
                print(
                    "Every new image has this name, and devices with the same id disconnect each "
                    "other.",
                    file=sys.stderr,
                )
            elif self._try(with_option(self.answers, **{option: answer})):
                return

    def _try(self, answers: Answers) -> bool:
        """Take the answers if the configuration has no mistake with them; print those it has."""
        mistakes = self._mistakes_of(answers)
        for mistake in mistakes:
            print(mistake, file=sys.stderr)
        if not mistakes:
            self.answers = answers
        return not mistakes

    def _answer(self, **options: Any) -> None:
        self.answers = with_option(self.answers, **options)

    def _know(self, **contents: Any) -> None:
        self.answers = replace(self.answers, **contents)

    def _assume(self, **options: str) -> None:
        self._answer(**options)
        for name, value in options.items():
            self.assumed += [f"--{name.replace('_', '-')}", value]

    # The configuration.

    def _text(self, answers: Answers) -> str:
        wanted = meaning.settings(answers, self._today, host_today=self.situation.host)
        if self.situation.text is None:
            return edited(HEAD, wanted)
        return edited(self.situation.text, wanted) if wanted else self.situation.text

    def _mistakes_of(self, answers: Answers) -> list[str]:
        """Return the mistakes that these answers bring, whatever the missing ones will be."""
        before = self.situation.text or HEAD
        wanted = meaning.settings(answers, self._today, host_today=self.situation.host)
        if self.asks_all or self.is_new:
            wanted = {**meaning.unknown_yet(answers, wanted, self._today), **wanted}
        if not wanted:
            return []
        known = _mistakes(before, self.situation.file)
        found = _mistakes(edited(before, wanted), self.situation.file)
        return [mistake for mistake in found if mistake not in known]


def _mistakes(text: str, file: Path) -> list[str]:
    try:
        loader.read(text.encode(), file)
    except ConfigError as error:
        return [mistake.removeprefix(f"{file}: ") for mistake in error.mistakes]
    return []


def _required(*options: str) -> MisusedError:
    return MisusedError(
        f"Standard input is not a terminal, so these options are required: {' '.join(options)}"
    )
