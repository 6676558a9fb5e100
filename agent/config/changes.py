"""What a changed configuration file changes in a running daemon, and what needs a restart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.config.loader import Config
from agent.config.schema import KEYS, Key
from hw.sensors.models import DHTS


@dataclass(frozen=True, slots=True)
class Changes:
    """The differences between the running configuration and the file.

    `config` is the running one with those settings of the file that apply while the daemon runs.
    `applied` and `restart` name the settings that differ, as in "interval in [sensor]".
    """

    config: Config
    applied: tuple[str, ...]
    restart: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """The outcome of applying the configuration `file`. Settings are named as in `Changes`.

    `overridden` are those of `applied` in whose place the operator's own value stays in force.
    """

    file: str
    applied: Sequence[str]
    restart: Sequence[str]
    overridden: Sequence[str]

    def sentences(self, how_to_restart: str) -> list[str]:
        """Return the outcome in words. `how_to_restart` is the advice if a restart is needed."""
        if not self.applied and not self.restart:
            secrets = "New keys and certificates need a restart."
            return [f"{self.file} has no changed setting. {secrets} {how_to_restart}"]
        said = []
        if self.applied:
            said.append(f"Applied {self.file}: {', '.join(self.applied)}.")
        if self.overridden:
            said.append(f"The operator's value stays in force for: {', '.join(self.overridden)}.")
        if self.restart:
            where = "" if self.applied else f" in {self.file}"
            said.append(
                f"These changes{where} need a restart: {', '.join(self.restart)}. {how_to_restart}"
            )
        return said


def changes(running: Config, wanted: Config) -> Changes:
    """Compare the running configuration with the file's, which no connection string completes."""
    config = running
    applied: list[str] = []
    restart: list[str] = []
    for section, keys in KEYS.items():
        before, after = getattr(running, section), getattr(wanted, section)
        if before is None or after is None:
            restart += [] if before is after else [f"[{section}]"]
            continue
        changed = [
            key
            for key in keys.values()
            if getattr(before, key.name) != getattr(after, key.name) and not _follows(key, wanted)
        ]
        live = {key.name: getattr(after, key.name) for key in changed if key.rule.is_live}
        config = replace(config, **{section: replace(before, **live)})
        for key in changed:
            (applied if key.rule.is_live else restart).append(f"{key.name} in [{section}]")
    return Changes(config, tuple(applied), tuple(restart))


def _follows(key: Key, config: Config) -> bool:
    """Return whether the value of a key follows from another one."""
    match key.section, key.name:
        case ("device", "id") | ("cloud", "hub"):
            return config.cloud is not None and config.cloud.connection_string_file is not None
        case "sensor", "model":
            return config.sensor.driver in DHTS
    return False
