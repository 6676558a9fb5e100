"""Changes a configuration file as text, so that its comments and its other keys stay."""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from agent.errors import AgentError

Value = str | int


class Hex(int):
    """A number that is written in hexadecimal."""

    def __str__(self) -> str:
        return f"0x{self:02x}"


Settings = Mapping[tuple[str, str], Value | None]
"""Values by section and key. None removes the key."""

LINES = re.compile(r"[^\n]*\n|[^\n]+")
HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]\s*(?:#.*)?")
SETTING = re.compile(
    r"(\s*([A-Za-z0-9_-]+)\s*=\s*)"
    r"(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s#\"'\[{]+)"  # A value that ends on its line.
    r"(\s*(?:#.*)?)"
)


def edited(text: str, settings: Settings) -> str:
    """Return the file's text, which is valid TOML, with these settings.

    Raises AgentError, which names the section, if the file is written in a form that cannot be
    changed line by line, for example with a section in braces.
    """
    lines = LINES.findall(text)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    for (section, key), value in settings.items():
        setting = None if value is None else f"{key} = {_in_toml(value)}"
        _edit(lines, section, key, setting, end)
    result = "".join(lines)
    _check(text, result, settings)
    return result


def _edit(lines: list[str], section: str, key: str, setting: str | None, end: str) -> None:
    """Set or remove one key in `lines`."""
    start = _header_of(lines, section)
    if start is None:
        if setting is not None:
            lines += [end] * bool(lines) + [f"[{section}]{end}", setting + end]
        return
    last = start
    for number in range(start + 1, len(lines)):
        line = lines[number].rstrip("\r\n")
        if HEADER.fullmatch(line):
            break
        found = SETTING.fullmatch(line)
        if found is not None and found[2] == key:
            if setting is None:
                del lines[number]
            else:
                value = setting.partition(" = ")[2]
                lines[number] = f"{found[1]}{value}{found[3]}{lines[number][len(line) :]}"
            return
        if line.strip() and not line.lstrip().startswith("#"):
            last = number
    if setting is not None:
        lines.insert(last + 1, setting + end)


def _header_of(lines: list[str], section: str) -> int | None:
    for number, line in enumerate(lines):
        found = HEADER.fullmatch(line.rstrip("\r\n").removeprefix("\ufeff"))
        if found is not None and found[1] == section:
            return number
    return None


def _in_toml(value: Value) -> str:
    if isinstance(value, int):
        return str(value)
    # Control characters would be a mistake in the file, not in this key.
    return json.dumps("".join(c if c.isprintable() else "?" for c in value), ensure_ascii=False)


def _check(before: str, after: str, settings: Settings) -> None:
    """Compare what the edited file means with what it should mean."""
    expected = tomllib.loads(before.removeprefix("\ufeff"))
    try:
        _set(expected, settings)
        is_right = tomllib.loads(after.removeprefix("\ufeff")) == expected
    except (ValueError, AttributeError, TypeError):  # Not TOML any more, or not a section.
        is_right = False
    if not is_right:
        sections = " and ".join(sorted({f"[{section}]" for section, _ in settings}))
        raise AgentError(
            "The configuration is written in a form that cannot be changed line by line. Edit "
            f"{sections} yourself, then run sensor-agent setup without these options."
        )


def _set(sections: dict[str, Any], settings: Settings) -> None:
    for (section, key), value in settings.items():
        if value is not None:
            shown = value if isinstance(value, int) else json.loads(_in_toml(value))
            sections.setdefault(section, {})[key] = shown
        elif section in sections:
            sections[section].pop(key, None)
