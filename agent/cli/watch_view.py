"""The picture of `sensor-agent read --watch`, as lines of text."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.cli.terminal import PLAIN
from agent.device.limits import LIMITS, Quantity
from agent.device.units import SYMBOLS, in_unit
from agent.diagnostics.finding import plural
from agent.diagnostics.status_text import in_units, limit_text, seconds_between
from agent.logs.local_time import in_local_time
from hw import Fault

BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN_BLOCKS = "  ..::||#"
LABEL = 8  # Columns of a scale, as "  -12.3 ".
NARROW = 40  # Columns; a narrower terminal has no scales.
TALLEST = 6  # Lines of a chart.
TEXT_LINES = 6  # Title, two lines of values, the line of faults, the last fault, the hint.
GAP = "   "
OLD = 60.0  # Seconds; the age of such a reading is shown.
LEAST_SPAN = 1.0  # Degrees or %; noise of a tenth is not drawn as a mountain.
RED, BOLD, OFF = "\x1b[31m", "\x1b[1m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Sample:
    """A reading, in degrees Celsius and %, or the fault in its place. `time` is ISO 8601 in UTC."""

    time: str
    temperature: float | None = None
    humidity: float | None = None
    fault: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is shown: the samples, oldest first, and how often each fault occurred.

    `unit` is that of temperatures. `limits` has those that are set, by property, in degrees Celsius
    and %.
    """

    title: str
    now: str
    unit: str
    samples: Sequence[Sample] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)


def frame(view: View, *, size: os.terminal_size, is_plain: bool, has_colour: bool) -> list[str]:
    """Return the lines of the picture: at most `size.lines`, each of at most `size.columns`.

    Escape sequences for colours do not count. `is_plain` uses only ASCII.
    """
    width, height = size
    scale = LABEL if width >= NARROW else 0
    shown = view.samples[-max(1, width - scale) :]
    rows = max(0, min(TALLEST, (height - TEXT_LINES) // 2))
    temperatures = [
        None if one.temperature is None else in_unit(one.temperature, view.unit) for one in shown
    ]
    humidities = [one.humidity for one in shown]
    blocks = PLAIN_BLOCKS if is_plain else BLOCKS
    symbol = SYMBOLS.get(view.unit, SYMBOLS["celsius"])
    warm, humid = _limits(view, Quantity.TEMPERATURE), _limits(view, Quantity.HUMIDITY)
    age = _age(view)
    lines = [
        (_title(view, width), BOLD),
        (_values("Temperature", temperatures, symbol, [age, warm.text], width), warm.colour),
        *((line, "") for line in _chart(temperatures, rows, scale, blocks)),
        (_values("Humidity", humidities, "%", [age, humid.text], width), humid.colour),
        *((line, "") for line in _chart(humidities, rows, scale, blocks)),
        (" " * scale + "".join("x" if one.fault else " " for one in shown), RED),
        (_faults(view), ""),
        ("Ctrl-C ends this.", ""),
    ]
    return [
        _coloured(_in_ascii(text)[:width] if is_plain else text[:width], colour * has_colour)
        for text, colour in lines[:height]
    ]


def _in_ascii(text: str) -> str:
    for character, plain in PLAIN.items():
        text = text.replace(character, plain)
    return text.encode("ascii", "replace").decode("ascii")


def _coloured(text: str, colour: str) -> str:
    return f"{colour}{text}{OFF}" if colour and text.strip() else text


def _title(view: View, width: int) -> str:
    when = in_local_time(view.now, now=view.now)
    return f"{view.title:<{max(0, width - len(when) - 1)}} {when}"


def _age(view: View) -> str:
    """Return the age of the last reading if it is not a current one, such as "8 h 5 min ago"."""
    last = view.samples[-1] if view.samples else None
    if last is None or last.temperature is None:
        return ""
    age = seconds_between(last.time, view.now)
    return f"{in_units(age)} ago" if age is not None and age >= OLD else ""


def _values(
    name: str, values: Sequence[float | None], unit: str, remarks: Sequence[str], width: int
) -> str:
    """Return the last value, the remarks, and the lowest and highest value, as far as they fit."""
    known = [value for value in values if value is not None]
    if not known:
        return f"{name}: no reading yet"
    now = "-" if values[-1] is None else f"{known[-1]:.1f} {unit}"
    line = f"{name}: {now}"
    for part in (*remarks, f"from {min(known):.1f} to {max(known):.1f}"):
        if part and len(line) + len(part) + len(GAP) <= width:
            line += GAP + part
    return line


@dataclass(frozen=True, slots=True)
class _Limits:
    """The limits of a quantity in words. `colour` is set if the last reading is outside."""

    text: str
    colour: str


def _limits(view: View, quantity: Quantity) -> _Limits:
    last = view.samples[-1] if view.samples else Sample("")
    now = last.temperature if quantity is Quantity.TEMPERATURE else last.humidity
    words, colour = [], ""
    for name, value in view.limits.items():
        limit = LIMITS.get(name)
        if limit is None or limit.quantity is not quantity:
            continue
        text = f"{'at least' if limit.is_low else 'at most'} {limit_text(name, value, view.unit)}"
        if now is not None and (now < value if limit.is_low else now > value):
            text, colour = f"{text} ({limit.status.replace('_', ' ')})", RED
        words.append(text)
    return _Limits(", ".join(words), colour)


def _chart(values: Sequence[float | None], rows: int, scale: int, blocks: str) -> list[str]:
    """Return a bar for each value, in `rows` lines, with the ends of the scale before them."""
    known = [value for value in values if value is not None]
    if not known or not rows:
        return []
    middle, span = (min(known) + max(known)) / 2, max(max(known) - min(known), LEAST_SPAN)
    low = middle - span / 2
    steps = len(blocks) - 1
    # The lowest value has the smallest block, which is not empty.
    heights = [
        None if value is None else 1 + round((value - low) / span * (rows * steps - 1))
        for value in values
    ]
    lines = []
    for row in reversed(range(rows)):
        label = ""
        if row in {0, rows - 1} and scale:
            label = f"{low + span if row else low:.1f}"
        bars = "".join(
            " " if height is None else blocks[min(steps, max(0, height - row * steps))]
            for height in heights
        )
        lines.append(f"{label:>{scale - 1}} {bars}" if scale else bars)
    return lines


def _faults(view: View) -> str:
    counts = {fault.value: view.counters.get(fault, 0) for fault in Fault}
    counted = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    readings = plural(sum(one.fault is None for one in view.samples), "reading")
    last = next((one for one in reversed(view.samples) if one.fault), None)
    text = f"{readings}{_span(view.samples)}; faults: {counted or 'none'}"
    if last is None:
        return text
    return f"{text}; last {in_local_time(last.time, now=view.now)}: {last.error or last.fault}"


def _span(samples: Sequence[Sample]) -> str:
    """Return the time from the first sample to the last, such as " in 3 min"."""
    seconds = seconds_between(samples[0].time, samples[-1].time) if len(samples) > 1 else None
    return "" if seconds is None else f" in {in_units(seconds)}"
