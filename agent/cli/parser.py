"""The command line. Each command imports what only it needs, so that the others start fast."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from agent import __version__
from agent.cli import terminal
from agent.cli.arguments import (
    CANNOT_WORK,
    DONE,
    FAILURE,
    USAGE,
    RefusedSecret,
    config_option,
    count,
    fake_option,
    json_option,
    list_commands,
    minutes,
)
from agent.cli.central_commands import add_central
from agent.cli.signals import interruptible
from agent.config import loader as configuration
from agent.config.loader import Config
from agent.diagnostics import installation
from agent.errors import AgentError, ConfigError, ControlError, OutputError, SecretError
from agent.ranges import BLINK_PERIOD, BRIGHTNESS, is_image_name

LED_NUMBERS = {"blink": BLINK_PERIOD, "brightness": BRIGHTNESS}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    The status is 0 for success, 2 for a wrong command line, 78 for a configuration with mistakes,
    and 1 for any other failure.
    """
    return terminal.run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    arguments = parser().parse_args(argv)
    try:
        status: int = arguments.do(arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return CANNOT_WORK
    except OutputError:
        raise
    except AgentError as error:
        print(error, file=sys.stderr)
        return FAILURE
    except KeyboardInterrupt:
        return FAILURE
    return status


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="sensor-agent",
        description="Read a sensor, drive an LED, and report to Azure IoT Hub.",
        epilog="To try it without a Raspberry Pi and without an account: sensor-agent demo",
    )
    top.add_argument(
        "--version",
        action="version",
        version=installation.described(__version__, installation.origin()),
        help="print the version",
    )
    top.set_defaults(do=lambda _arguments: list_commands(top))
    commands = top.add_subparsers(metavar="COMMAND")

    run = commands.add_parser("run", help="run the daemon")
    config_option(run)
    fake_option(run)
    run.set_defaults(do=_run)

    demo = commands.add_parser("demo", help="run the daemon and a local IoT Central, to try them")
    demo.add_argument("--minutes", type=minutes, metavar="N", help="stop after N minutes")
    demo.set_defaults(do=_demo)

    add_central(commands)
    _setup_command(commands)

    read = commands.add_parser("read", help="read the sensor")
    amount = read.add_mutually_exclusive_group()
    amount.add_argument(
        "--count", type=count, default=1, metavar="N", help="number of readings (default: 1)"
    )
    amount.add_argument(
        "--list", action="store_true", help="read each sensor that can be read here, once"
    )
    amount.add_argument(
        "--watch", action="store_true", help="draw the last readings in the terminal until Ctrl-C"
    )
    read.set_defaults(do=_read)
    led = commands.add_parser("led", help="drive the LED")
    led.add_argument("what", choices=["on", "off", "blink", "brightness"])
    led.add_argument(
        "number",
        type=int,
        nargs="?",
        help="seconds for blink; 1 (high), 2 (medium) or 3 (low) for brightness",
    )
    led.set_defaults(do=_led)
    status = commands.add_parser("status", help="show the status of the running daemon")
    status.set_defaults(do=_status)
    move = commands.add_parser("move", help="undo a move to another ID scope")
    move.add_argument("what", choices=["undo"])
    config_option(move)
    move.set_defaults(do=_move)
    check = commands.add_parser(
        "check", help="check the installation, the hardware and the connection"
    )
    check.add_argument(
        "--only", action="append", default=[], metavar="ID", help="run only this check; repeatable"
    )
    check.add_argument(
        "--skip", action="append", default=[], metavar="ID", help="skip this check; repeatable"
    )
    check.add_argument("--verbose", action="store_true", help="show the details of each check")
    check.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write a file for a bug report; it contains no keys",
    )
    check.set_defaults(do=_check)
    for command in (read, led, status, check):
        config_option(command)
        json_option(command)
    for command in (read, led, check):
        fake_option(command)

    model = commands.add_parser("model", help="print the device model, for example for IoT Central")
    model.add_argument(
        "--unit",
        choices=["celsius", "fahrenheit"],
        help="unit of temperatures (default: as configured)",
    )
    config_option(model)
    model.set_defaults(do=_model)

    _config_command(commands)
    return top


def _config_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    config = commands.add_parser(
        "config", help="check or apply the configuration, or print an example"
    )
    config.set_defaults(do=lambda _arguments: list_commands(config))
    verbs = config.add_subparsers(metavar="COMMAND")
    config_check = verbs.add_parser(
        "check", help="find every mistake in the file, and in the keys that it names"
    )
    config_option(config_check)
    config_check.set_defaults(do=_config_check)
    apply = verbs.add_parser("apply", help="have the running daemon apply its changed file")
    config_option(apply)
    apply.set_defaults(do=_config_apply)
    example = verbs.add_parser("example", help="print an example with comments")
    example.set_defaults(do=_config_example)


def _setup_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    # No abbreviations: --key would be --key-file, and a key in the place of its file.
    setup = commands.add_parser(
        "setup",
        help="set up the service of this machine, or change its settings",
        allow_abbrev=False,
        description="Write the configuration of the service and start it. Needs root. Without "
        "options, it asks for everything, with today's values as defaults. With options, it "
        "changes only what they name; on a machine without a configuration it uses the defaults "
        "for the rest, and asks only for what has no default.",
        epilog="Keys and connection strings are read from files because every user of the machine "
        "can see the arguments of a command.",
    )
    for name, kind, metavar, text in SETUP_OPTIONS:
        setup.add_argument(f"--{name}", type=kind, metavar=metavar, help=text)
    setup.add_argument("--fake-hw", action="store_true", help="simulate the sensor and the LED")
    setup.add_argument(
        "--dry-run", action="store_true", help="print the steps and change nothing; needs no root"
    )
    for secret in ("key", "group-key", "connection-string"):
        setup.add_argument(f"--{secret}", nargs="?", action=RefusedSecret, help=argparse.SUPPRESS)
    setup.set_defaults(do=_setup)


SETUP_OPTIONS: tuple[tuple[str, type[str] | type[Path], str, str], ...] = (
    (
        "connection-string-file",
        Path,
        "FILE",
        "this device's connection string, as IoT Hub shows it; nothing else is needed",
    ),
    (
        "id-scope",
        str,
        "SCOPE",
        "ID scope of a provisioning service (DPS) or an IoT Central application",
    ),
    ("key-file", Path, "FILE", "this device's own key; needs --device-id"),
    (
        "group-key-file",
        Path,
        "FILE",
        "key of an enrolment group; only the device's key derived from it is installed",
    ),
    (
        "certificate-file",
        Path,
        "FILE",
        "this device's certificate (X.509), in PEM, in place of a key",
    ),
    ("certificate-key-file", Path, "FILE", "the private key of the certificate, in PEM"),
    (
        "device-id",
        str,
        "ID",
        "device id; default with a group key: made from the board's serial number",
    ),
    (
        "driver",
        str,
        "NAME",
        "kernel, dht22, dht21 or dht11 (Adafruit's), or fake; default: kernel if there is one",
    ),
    (
        "model",
        str,
        "NAME",
        "dht22, dht21 or dht11; with the driver kernel also sht31, bme280 and others on I2C",
    ),
    ("pin", str, "N", "GPIO number of a DHT; default: 4"),
    ("bus", str, "N", "bus of a sensor on I2C; default: 1"),
    ("address", str, "0xNN", "address of a sensor on I2C; default: the model's usual one"),
    ("led-pin", str, "N", "GPIO number of the LED; default: 17"),
    (
        "central",
        Path,
        "DIR",
        "connect to the local IoT Central that runs on this machine with its data in DIR",
    ),
    (
        "provisioning-host",
        str,
        "HOST",
        "host of a local IoT Central on another machine, in place of Azure's provisioning service",
    ),
    ("ca-file", Path, "FILE", "the only certificate authorities to trust, in PEM"),
)


def _load(arguments: argparse.Namespace) -> tuple[Config, Path | None]:
    """Return the configuration and its file, or the defaults and None if there is no file."""
    path = configuration.find(arguments.config, os.environ)
    return _read_file(path, fake_hw=getattr(arguments, "fake_hw", False)), path


def _read_file(path: Path | None, *, fake_hw: bool) -> Config:
    config = configuration.default() if path is None else configuration.load(path)
    return configuration.with_fake_hardware(config) if fake_hw else config


def _socket(path: Path | None) -> Path:
    from agent.daemon.control_socket import SOCKET_NAME  # noqa: PLC0415 - brings in asyncio.

    return configuration.runtime_directory(os.environ, path) / SOCKET_NAME


def _run(arguments: argparse.Namespace) -> int:
    installation.need(installation.SDK, what="sensor-agent run")
    try:
        path = configuration.find(arguments.config, os.environ)
        config = _read_to_run(path, fake_hw=arguments.fake_hw)
    except ConfigError as error:
        from agent.logs.journal import configure, refuse  # noqa: PLC0415 - for this command only.

        configure("info")
        refuse(error.mistakes, status=CANNOT_WORK)
        return CANNOT_WORK
    try:
        from agent.cli.run import run  # noqa: PLC0415 - brings in the SDK.
    except UnicodeEncodeError:
        # Compiled packages of the SDK cannot be imported from a path that is not valid UTF-8.
        raise AgentError(
            f"Cannot import Azure's SDK from {installation.ROOT}: the locale cannot encode that "
            "path. Set LC_ALL=C.UTF-8, or move the program to a path of ASCII letters."
        ) from None
    return run(config, path, partial(_read_to_run, path, fake_hw=arguments.fake_hw))


def _read_to_run(path: Path | None, *, fake_hw: bool) -> Config:
    config = _read_file(path, fake_hw=fake_hw)
    if config.cloud is None and config.sensor.driver != "fake":
        raise ConfigError(
            "There is no configuration file, so there is no cloud to report to."
            if path is None
            else f"{path} has no [cloud] section, so there is no cloud to report to.",
            "To read the sensor: sensor-agent read. To try everything: sensor-agent demo",
            "To connect to a hub, set connection_string_file in [cloud]. To print a file to start "
            "from: sensor-agent config example",
        )
    return config


def _setup(arguments: argparse.Namespace) -> int:
    from agent.cli.setup.command import setup  # noqa: PLC0415 - not for every command.
    from agent.cli.setup.options import Options  # noqa: PLC0415 - the same.

    names = [name.replace("-", "_") for name, *_ in SETUP_OPTIONS]
    given = {name: getattr(arguments, name) for name in (*names, "fake_hw", "dry_run")}
    return setup(Options(**given))


def _demo(arguments: argparse.Namespace) -> int:
    installation.need(
        installation.SDK | installation.CENTRAL, what="sensor-agent demo", extra="central"
    )
    from agent.cli.demo import demo  # noqa: PLC0415 - not for every command.

    return demo(minutes=arguments.minutes)


def _read(arguments: argparse.Namespace) -> int:
    from agent.cli.hardware import read  # noqa: PLC0415 - brings in a driver.
    from agent.cli.watch import watch  # noqa: PLC0415 - the same.

    config, path = _load(arguments)
    _note_real_hardware(arguments, path)
    if arguments.list:
        from agent.cli.read_list import read_list  # noqa: PLC0415 - not for every command.

        with interruptible():
            return read_list(config, _socket(path), as_json=arguments.json)
    with interruptible():
        if arguments.watch:
            return watch(config, _socket(path), as_json=arguments.json)
        return read(config, _socket(path), count=arguments.count, as_json=arguments.json)


def _led(arguments: argparse.Namespace) -> int:
    from agent.cli.hardware import led  # noqa: PLC0415 - brings in a driver.

    number, allowed = arguments.number, LED_NUMBERS.get(arguments.what)
    if allowed is None and number is not None:
        print(f"sensor-agent led: {arguments.what} takes no number", file=sys.stderr)
        return USAGE
    if allowed is not None and (number is None or not allowed.low <= number <= allowed.high):
        needs = f"{arguments.what} needs a number from {allowed.low} to {allowed.high}"
        print(f"sensor-agent led: {needs}", file=sys.stderr)
        return USAGE
    config, path = _load(arguments)
    _note_real_hardware(arguments, path)
    with interruptible():
        return led(
            config,
            _socket(path),
            what=arguments.what,
            number=number,
            as_json=arguments.json,
        )


def _note_real_hardware(arguments: argparse.Namespace, path: Path | None) -> None:
    """With --fake-hw: print whether a running daemon with real hardware does the work instead."""
    from agent.daemon.control_socket import ask, read_status  # noqa: PLC0415 - brings in asyncio.

    if not arguments.fake_hw:
        return
    try:
        status = read_status(ask(_socket(path), {"command": "status"}))
    except ControlError:  # The command itself reports it.
        return
    real = [part.driver for part in (status.sensor, status.led) if part.driver != "fake"]
    if real:
        print(
            f"--fake-hw has no effect: the running daemon does the work, with {' and '.join(real)}."
            " To simulate the hardware, stop the daemon first.",
            file=sys.stderr,
        )


def _status(arguments: argparse.Namespace) -> int:
    from agent.daemon.control_socket import ask, read_status  # noqa: PLC0415 - not for every command.
    from agent.diagnostics.status_text import summary  # noqa: PLC0415 - the same.

    path = configuration.find(arguments.config, os.environ)
    answer = ask(_socket(path), {"command": "status"})
    # Programs get what the daemon sent, even keys that only another version knows.
    as_json = json.dumps(answer.get("status"), indent=2)
    print(as_json if arguments.json else summary(read_status(answer)))
    return DONE


def _move(arguments: argparse.Namespace) -> int:
    from agent.cli.move import undo  # noqa: PLC0415 - brings in asyncio.

    config, path = _load(arguments)
    return undo(
        config,
        socket_path=_socket(path),
        state=configuration.state_directory(os.environ, path),
    )


def _check(arguments: argparse.Namespace) -> int:
    from agent.cli import check as check_command  # noqa: PLC0415 - brings in every check.

    try:
        ids = check_command.chosen(_names(arguments.only), _names(arguments.skip))
    except ValueError as error:
        print(f"sensor-agent check: {error}", file=sys.stderr)
        return USAGE
    # Mistakes in the configuration are findings.
    path = configuration.find(arguments.config, os.environ)
    config = configuration.default()
    mistakes: Sequence[str] = ()
    try:
        config, path = _load(arguments)
    except ConfigError as error:
        mistakes = error.mistakes
    _note_real_hardware(arguments, path)
    with interruptible():
        return check_command.check(
            config,
            path,
            mistakes,
            socket_path=_socket(path),
            state=configuration.state_directory(os.environ, path),
            ids=ids,
            as_json=arguments.json,
            verbose=arguments.verbose,
            report=arguments.report,
        )


def _names(values: Sequence[str]) -> list[str]:
    """Return the ids in `--only a,b --only c`."""
    return [name for value in values for name in value.split(",")]


def _model(arguments: argparse.Namespace) -> int:
    from agent.device.model import document  # noqa: PLC0415 - not for every command.

    unit = arguments.unit or _load(arguments)[0].sensor.unit
    print(json.dumps(document(unit), indent=2))
    return DONE


def _config_check(arguments: argparse.Namespace) -> int:
    from agent.config.credentials import sign_in  # noqa: PLC0415 - brings in ssl.

    path = configuration.find(arguments.config, os.environ)
    if path is None:
        places = " or ".join(str(place) for place in configuration.places(os.environ))
        raise ConfigError(
            f"There is no configuration file at {places}. Name one with --config FILE, or make "
            "one to start from: sensor-agent config example > config.toml"
        )
    config = configuration.load(path)
    if config.cloud is not None and is_image_name(config.device.id):
        print(
            f"{path}: [device] id = {config.device.id!r} is the host name of every new image. "
            "Devices with the same id disconnect each other, so choose a name that no other "
            "device has.",
            file=sys.stderr,
        )
    try:
        sign_in(config, base=path.parent, environ=os.environ)
        _must_be_readable_by_service(config, path)
    except SecretError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        print(
            f"{path}: no mistake found. Its keys were not checked, because this user cannot read "
            "them. To check them: sudo sensor-agent config check"
        )
        return DONE
    print(f"{path}: no mistake found. To check hardware and connection: sensor-agent check")
    return DONE


def _must_be_readable_by_service(config: Config, path: Path) -> None:
    """Raise ConfigError if root can read a secret that the service cannot."""
    from agent.config.credentials import secret_files  # noqa: PLC0415 - brings in ssl.
    from agent.diagnostics.service_access import (  # noqa: PLC0415 - not for every command.
        TO_CREDENTIALS,
        hidden_from_service,
    )
    from agent.diagnostics.service_advice import service_is_installed  # noqa: PLC0415 - the same.

    is_of_service = path.absolute() == configuration.SYSTEM_FILE and service_is_installed()
    if os.geteuid() != 0 or config.cloud is None or not is_of_service:
        return
    files = secret_files(config.cloud, base=path.parent, environ=os.environ)
    reason = hidden_from_service(files)
    if reason is not None:
        raise ConfigError(f"{path}: {reason} {TO_CREDENTIALS}.")


def _config_apply(arguments: argparse.Namespace) -> int:
    from agent.config.changes import Applied  # noqa: PLC0415 - not for every command.
    from agent.daemon.control_socket import ask  # noqa: PLC0415 - brings in asyncio.
    from agent.diagnostics.service_advice import how_to_restart  # noqa: PLC0415 - the same.
    from agent.logs.journal import leads_to_journal  # noqa: PLC0415 - the same.

    # Under `systemctl reload`, the daemon has logged the outcome to the same journal.
    is_logged = leads_to_journal(sys.stderr, os.environ)
    path = configuration.find(arguments.config, os.environ)
    try:
        outcome = Applied(**ask(_socket(path), {"command": "config", "do": "apply"})["config"])
    except ConfigError:
        if is_logged:
            return CANNOT_WORK
        raise
    if not is_logged:
        print("\n".join(outcome.sentences(how_to_restart())))
        if path is not None and str(path.absolute()) != outcome.file:
            print(f"The daemon uses {outcome.file}, and not {path}.", file=sys.stderr)
    return DONE


def _config_example(_arguments: argparse.Namespace) -> int:
    print(configuration.example(), end="")
    return DONE
