"""Options, numbers and exit statuses that the commands share."""

import argparse
import sys
from math import nan
from pathlib import Path

DONE, FAILURE, USAGE, CANNOT_WORK = 0, 1, 2, 78  # 78 is EX_CONFIG of sysexits.h.


class RefusedSecret(argparse.Action):
    """Refuse a secret as an argument, without repeating it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        _namespace: argparse.Namespace,
        _values: object,
        option: str | None = None,
    ) -> None:
        parser.error(
            f"{option} is not an option: other users could see it. Write it to a file, and give "
            f"that with {option}-file."
        )


def list_commands(group: argparse.ArgumentParser) -> int:
    """Print the help of a command that needs another one, and return the status of a mistake."""
    group.print_help(sys.stderr)
    return USAGE


def config_option(command: argparse.ArgumentParser) -> None:
    """Add --config."""
    command.add_argument("--config", type=Path, metavar="FILE", help="configuration file")


def fake_option(command: argparse.ArgumentParser) -> None:
    """Add --fake-hw."""
    command.add_argument("--fake-hw", action="store_true", help="simulate the sensor and the LED")


def json_option(command: argparse.ArgumentParser) -> None:
    """Add --json."""
    command.add_argument("--json", action="store_true", help="print JSON")


def _number(text: str, kind: type[float], *, low: float, high: float, allowed: str) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = nan  # Not within any range.
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"must be {allowed}, not {text!r}")
    return number


def minutes(text: str) -> float:
    """Return a number of minutes."""
    return _number(text, float, low=1e-6, high=1e9, allowed="a number of minutes")


def count(text: str) -> int:
    """Return a number of readings."""
    return int(_number(text, int, low=1, high=1_000_000_000, allowed="a whole number from 1"))


def days(text: str) -> int:
    """Return a number of days."""
    return int(_number(text, int, low=1, high=3650, allowed="a whole number from 1 to 3650"))


def id_scopes(text: str) -> int:
    """Return a number of ID scopes."""
    return int(_number(text, int, low=1, high=9, allowed="a whole number from 1 to 9"))


def port(text: str) -> int:
    """Return a port, or 0 for any."""
    return int(_number(text, int, low=0, high=65535, allowed="a whole number from 0 to 65535"))
