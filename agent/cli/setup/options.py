"""The options of `sensor-agent setup`: what was given, and later also what was answered."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from agent.errors import AgentError

COMMAND = "sudo sensor-agent setup"


class MisusedError(AgentError):
    """The options contradict each other, or some are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options by name. None means: not given."""

    connection_string_file: Path | None = None
    id_scope: str | None = None
    key_file: Path | None = None
    group_key_file: Path | None = None
    certificate_file: Path | None = None
    certificate_key_file: Path | None = None
    device_id: str | None = None
    driver: str | None = None
    model: str | None = None
    pin: str | None = None
    bus: str | None = None
    address: str | None = None
    led_pin: str | None = None
    fake_hw: bool = False
    central: Path | None = None
    provisioning_host: str | None = None
    ca_file: Path | None = None
    dry_run: bool = False

    @property
    def are_given(self) -> bool:
        """Whether any option is given that is an answer."""
        return bool(self.words())

    def words(self) -> list[str]:
        """Return the options as words of a command line, without --dry-run."""
        words = []
        # Central's directory has these answers.
        implied = dict(REPLACED_BY)["central"] if self.central is not None else ()
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name in ("dry_run", *implied) or value in (None, False):
                continue
            words.append(f"--{option.name.replace('_', '-')}")
            if isinstance(value, Path):
                # The same file, whatever the working directory is when it is repeated.
                value = value.absolute()
            words += [] if value is True else [str(value)]
        return words

    def command_line(self, *more: str) -> str:
        """Return the command with these options, quoted for the shell."""
        words = [*self.words(), *more, *(["--dry-run"] if self.dry_run else [])]
        return " ".join([COMMAND, *map(shlex.quote, words)])


REPLACED_BY: Sequence[tuple[str, tuple[str, ...]]] = (
    (
        "connection_string_file",
        (
            "id_scope",
            "key_file",
            "group_key_file",
            "device_id",
            "provisioning_host",
            "central",
        ),
    ),
    (
        "central",
        (
            "key_file",
            "id_scope",
            "group_key_file",
            "provisioning_host",
            "ca_file",
            "certificate_file",
        ),
    ),
)
CREDENTIALS = ("key_file", "group_key_file", "certificate_file")


def check(options: Options) -> None:
    """Raise MisusedError if the options exclude each other."""
    for name, replaced in REPLACED_BY:
        found = [other for other in replaced if getattr(options, other) is not None]
        if getattr(options, name) is not None and found:
            raise MisusedError(
                f"{_option(name)} replaces {_listed(replaced)}. Give it without them."
            )
    credentials = [name for name in CREDENTIALS if getattr(options, name) is not None]
    if len(credentials) > 1:
        raise MisusedError(f"{_listed(credentials)} exclude each other. Give one of them.")
    if (options.certificate_file is None) != (options.certificate_key_file is None):
        raise MisusedError(
            "--certificate-file and --certificate-key-file belong together. Give both."
        )
    if options.fake_hw and options.driver not in (None, "fake"):
        raise MisusedError("--fake-hw simulates the sensor. Give it without --driver.")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _listed(names: Sequence[str]) -> str:
    *most, last = map(_option, names)
    return f"{', '.join(most)} and {last}" if most else last
