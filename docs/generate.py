"""Writes the parts of the documentation that follow from the code.

These are the table of configuration keys, the picture of the packages and the picture of a
reading's way. `make docs` runs this file, and a unit test checks that the results are current.
"""

import ast
import sys
import textwrap
from configparser import ConfigParser
from html import escape
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from agent.config.reference import BEGIN, END, reference  # noqa: E402 - found by the line above.

WIDTH = 720
ROW = 34
GAP = 8
LINE = 19  # Pixels from one line of text to the next, at 15 pixels a letter's height.

STYLE = """\
<style>
text { font: 15px "DejaVu Sans", Verdana, sans-serif; fill: #1a2027 }
.name { font-weight: bold }
.quiet { fill: #57606a; font-size: 13px }
.group { fill: #f3f5f7; stroke: #c3cad2 }
.box { fill: #ffffff; stroke: #0b7285 }
.disk { fill: #e3f2f5; stroke: #0b7285 }
.arrow { stroke: #0b7285; stroke-width: 2; fill: none; marker-end: url(#head) }
</style>
<defs><marker id="head" markerWidth="8" markerHeight="8" refX="6" refY="4" orient="auto">
<path d="M0,0 L8,4 L0,8 z" fill="#0b7285"/></marker></defs>
"""


class Step(NamedTuple):
    """A station on the way of a reading."""

    place: str  # What of the code does it: a module, a colon and a name in it.
    text: str
    is_on_disk: bool = False


WAY = (
    Step(
        "hw/contracts.py:ClimateSensor",
        "A driver makes one attempt. It returns a value or raises a named fault.",
    ),
    Step(
        "hw/sensors/policy.py:Policy",
        "Decides when to try again, and whether the value is believable.",
    ),
    Step(
        "agent/readings/sampler.py:Sampler",
        "Keeps the schedule, and stamps each reading.",
    ),
    Step(
        "agent/cloud/uplink.py:Uplink",
        "Is the sampler's sink: it hands each reading to the outbox.",
    ),
    Step(
        "agent/readings/outbox.py:Outbox",
        "Writes the reading to disk and waits until it is there. It is now safe.",
        is_on_disk=True,
    ),
    Step(
        "agent/cloud/publisher.py:publish_readings",
        "Chooses what is sent next: new readings at once, older ones beside them, each in order.",
    ),
    Step("agent/cloud/session.py:AzureSession", "Sends the message to the hub over MQTT and TLS."),
    Step("", "The hub acknowledges the message."),
    Step(
        "agent/readings/outbox.py:Outbox",
        "Only now removes the reading from the disk.",
        is_on_disk=True,
    ),
)


def outputs() -> dict[Path, str]:
    """Return the text of every generated file by its path."""
    page = DOCS / "configuration.md"
    text = page.read_text(encoding="utf-8")
    before, after = text[: text.index(BEGIN)], text[text.index(END) + len(END) :].lstrip("\n")
    return {
        page: before + reference() + after,
        DOCS / "pictures" / "packages.svg": packages(),
        DOCS / "pictures" / "reading.svg": way_of_a_reading(),
    }


def layers(package: str) -> list[list[str]]:
    """Return the layers that import-linter checks, the highest first, as in setup.cfg."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup[f"importlinter:contract:{package}"]["layers"].split("\n")
    return [[name.strip() for name in line.split("|")] for line in lines if line.strip()]


def packages() -> str:
    """Draw the layers of agent, and under them those of hw and central."""
    half = (WIDTH - 2 * GAP) // 2
    top, agent_height = _package("agent", x=0, y=0, width=WIDTH)
    y = agent_height + 56
    left, left_height = _package("hw", x=0, y=y, width=half)
    right, right_height = _package("central", x=half + 2 * GAP, y=y, width=half)
    words = [
        _text(half // 2 + 14, agent_height + 32, "agent imports hw", "quiet"),
        _text(
            half + 2 * GAP + half // 2 + 14, agent_height + 32, "agent.cli imports central", "quiet"
        ),
    ]
    arrows = [
        f'<path class="arrow" d="M{x},{agent_height + 4} V{y - 4}"/>'
        for x in (half // 2, half + 2 * GAP + half // 2)
    ]
    height = y + max(left_height, right_height)
    title = "The packages and their layers: each imports only from layers below its own"
    return _svg(height, title, [*top, *arrows, *words, *left, *right])


def _package(package: str, *, x: int, y: int, width: int) -> tuple[list[str], int]:
    """Return the drawing of one package, and its height."""
    rows = layers(package)
    height = 36 + len(rows) * (ROW + GAP) + GAP
    drawn = [
        _box("group", x + 1, y + 1, width - 2, height - 2),
        _text(x + 2 * GAP, y + 25, f"{package}/", "name"),
    ]
    for number, names in enumerate(rows):
        row_y = y + 36 + number * (ROW + GAP)
        box = (width - 2 * GAP - (len(names) - 1) * GAP) // len(names)
        for column, name in enumerate(names):
            box_x = x + GAP + column * (box + GAP)
            drawn += [
                _box("box", box_x, row_y, box, ROW),
                _text(box_x + box // 2, row_y + 22, name, "middle"),
            ]
    return drawn, height


def way_of_a_reading() -> str:
    """Draw the stations of WAY under each other."""
    drawn: list[str] = []
    y = 0
    for number, step in enumerate(WAY):
        if number:
            drawn.append(f'<path class="arrow" d="M{WIDTH // 2},{y + 2} V{y + 26}"/>')
            y += 30
        lines = textwrap.wrap(step.text, 78)
        name = step.place.partition(":")[0]
        height = 16 + LINE * (len(lines) + bool(name))
        kind = "disk" if step.is_on_disk else "box"
        drawn.append(_box(kind, 1, y + 1, WIDTH - 2, height - 2))
        if name:
            drawn.append(_text(16, y + 23, name, "name"))
        drawn += [
            _text(16, y + 23 + LINE * (index + bool(name)), line)
            for index, line in enumerate(lines)
        ]
        y += height
    return _svg(y, "The way of a reading from the sensor to the hub", drawn)


def missing_places() -> list[str]:
    """Return the places of WAY that are not in the code."""
    return [step.place for step in WAY if step.place and not _exists(step.place)]


def _exists(place: str) -> bool:
    path, _, name = place.partition(":")
    if not (ROOT / path).exists():
        return False
    definitions = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return name in {getattr(node, "name", None) for node in definitions}


def _box(kind: str, x: int, y: int, width: int, height: int) -> str:
    place = f'x="{x}" y="{y}" width="{width}" height="{height}"'
    return f'<rect class="{kind}" {place} rx="5"/>'


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    middle = ' text-anchor="middle"' if kind == "middle" else ""
    return f'<text x="{x}" y="{y}" class="{kind}"{middle}>{escape(text)}</text>'


def _svg(height: int, title: str, drawn: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    background = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, f"<title>{title}</title>", STYLE + background, *drawn, "</svg>"]) + "\n"


if __name__ == "__main__":
    for path, text in outputs().items():
        path.write_text(text, encoding="utf-8")
