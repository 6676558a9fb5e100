"""The configuration in words: the commented example, and the table for the documentation."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from agent.config.schema import KEYS, SECTIONS, Key

OPTIONAL = "cloud"  # the only section that has an effect even if it is empty
LONGEST = 60  # characters shown of a value

BEGIN = "<!-- configuration: begin (written by docs/generate.py) -->"
END = "<!-- configuration: end -->"


def example() -> str:
    """Return a file to edit, with every key, its help, range and default.

    A line that starts with `#` and no blank is a setting that is commented out.
    """
    return "\n".join(_example_lines()) + "\n"


def _example_lines() -> Iterator[str]:
    yield "# The configuration of sensor-agent. Lines that start with # have no effect."
    for section, keys in KEYS.items():
        off = "#" if section == OPTIONAL else ""
        yield ""
        yield f"# {_about(section)}"
        yield f"{off}[{section}]"
        for key in keys.values():
            yield ""
            yield f"# {key.rule.help}"
            yield from _wrapped(f"Allowed: {key.allowed}.{_default(key)}")
            if key.rule.example is not None:
                shown = show(key.rule.example)
                yield f"#{key.name} = {hex(int(shown)) if key.rule.is_hex else shown}"
            else:
                yield f"{off}{key.name} = {show(key.default)}"


def _default(key: Key) -> str:
    return "" if key.default in (None, MISSING) else f" Default: {show(key.default)}."


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, 98, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False
    )


def reference() -> str:
    """Return a table of keys in Markdown for each section, between two marks to find them by."""
    lines = [BEGIN]
    for section, keys in KEYS.items():
        lines += ["", f"### [{section}]", "", _about(section), ""]
        lines += [
            "| key | meaning | values | default | a change applies |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(key) for key in keys.values()]
    return "\n".join([*lines, "", END]) + "\n"


def _row(key: Key) -> str:
    standard = "" if key.default in (None, MISSING) else f"`{show(key.default)}`"
    applies = "on reload" if key.rule.is_live else "on restart"
    cells = (f"`{key.name}`", key.rule.help, key.allowed, standard, applies)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _about(section: str) -> str:
    return SECTIONS[section].__doc__ or section


def show(value: Any) -> str:
    """Return a value as in TOML, on one line and shortened. Tables and lists are only named."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | Path():
            quoted = json.dumps(str(value), ensure_ascii=False)
            text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in quoted)
        case dict():
            return "a section"
        case list():
            return "a list"
        case int() if abs(value) >= 10**LONGEST:
            return "a very large number"  # Python refuses to convert the largest.
        case _:
            text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
