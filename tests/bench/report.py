"""From samples to the one table, and from there into README.md."""

import os
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from statistics import median

NOT_MEASURED = "not measured"
BEGIN, END = "<!-- written by make bench: begin -->", "<!-- written by make bench: end -->"
MEGABYTE = 1_000_000
WRITTEN_AT_MOST, SYNCED_AT_MOST = 31, 7  # Megabytes a day.
INSTRUCTIONS_AT_MOST = {2.0: 2.6, 60.0: 1.6}  # Times those of the plain program, by interval.


@dataclass(frozen=True)
class Row:
    """A line of the table; `ratio` is ours to the plain program's, said in words."""

    what: str
    ours: str
    theirs: str = "-"
    ratio: str = "-"
    goal: str = "-"
    met: bool | None = None

    def cells(self):
        verdict = {None: "", True: "met", False: "MISSED"}[self.met]
        return [self.what, self.ours, self.theirs, self.ratio, self.goal, verdict]


HEADINGS = ["what", "sensor-agent", "plain program", "ratio", "goal", ""]


def start_rows(cold, warm):
    return [
        _times("Cold start to the first reading accepted", cold),
        _times("Warm start (hub known) to the first reading accepted", warm, at_most=0.5),
    ]


def catch_up_rows(one_by_one, in_flight, at_once, at_default_rate, sizes):
    what = f"Catch-up of {sizes.backlog:,} readings"
    beside = f"beside {sizes.in_flight} in flight"
    many = f"Catch-up of {sizes.many:,} readings {beside}"
    faster = _ratio(one_by_one.theirs, one_by_one.ours)
    return [
        Row(
            f"{what}, max_rate lifted",
            _seconds(one_by_one.ours),
            f"{_seconds(one_by_one.theirs)} one by one",
            f"{faster:.1f} times as fast",
            "at least 15 times",
            faster >= 15,
        ),
        _times(f"The same, {beside}", in_flight, at_most=1.0),
        # 0.85 times as fast.
        _times(f"{many}, acknowledged at once", at_once, at_most=1.18),
        Row(f"{what}, max_rate as it comes (10)", _seconds([at_default_rate])),
    ]


def command_rows(idle, at_default_rate, lifted):
    rows = [
        Row("Command, idle, p50", _ms(idle.ours, 50), _ms(idle.theirs, 50)),
        Row("Command, idle, p99", _ms(idle.ours, 99), _ms(idle.theirs, 99)),
    ]
    for what, busy in (
        ("catch-up as it comes", at_default_rate.ours),
        ("catch-up, max_rate lifted", lifted.ours),
    ):
        ratio = _quotient(percentile(busy, 99), percentile(idle.theirs, 99))
        rows += [
            Row(f"Command during {what}, p50", _ms(busy, 50), f"{_ms(idle.theirs, 50)} idle"),
            Row(
                f"Command during {what}, p99",
                _ms(busy, 99),
                f"{_ms(idle.theirs, 99)} idle",
                f"{ratio:.1f}",
                "at most 5",
                ratio <= 5,
            ),
        ]
    theirs = f"{_ms(lifted.theirs, 50)} and {_ms(lifted.theirs, 99)}"
    rows.append(Row("Plain program catching up, p50 and p99", "-", theirs))
    return rows


def cost_rows(lives, sizes):
    """Return rows for the run that is the middle one by its ratio of private memory."""
    by_ratio = sorted(lives, key=lambda live: _private_ratio(*live))
    ours, theirs = by_ratio[len(lives) // 2]
    whats = [
        f"Private memory after {sizes.warm_up + sizes.live:,} readings",
        "Resident memory then",
        f"Its growth over the last {sizes.live:,} readings",
        "Threads",
        "CPU for 1,000 readings",
    ]
    if ours[0][0] is None:
        return [Row(what, NOT_MEASURED, NOT_MEASURED) for what in whats]
    growth, their_growth = (b[0].rss - a[0].rss for a, b in (ours, theirs))
    cpu, their_cpu = (_quotient(b[0].cpu - a[0].cpu, b[1] - a[1]) * 1000 for a, b in (ours, theirs))
    return [
        _amounts(whats[0], ours[1][0].private, theirs[1][0].private, "MB", at_most=1.0),
        _amounts(whats[1], ours[1][0].rss, theirs[1][0].rss, "MB", at_most=1.02),
        Row(whats[2], f"{growth / 1000:.0f} kB", f"{their_growth / 1000:.0f} kB"),
        Row(whats[3], str(ours[1][0].threads), str(theirs[1][0].threads)),
        Row(whats[4], f"{cpu:.2f} s", f"{their_cpu:.2f} s", f"{_quotient(cpu, their_cpu):.2f}"),
    ]


def _private_ratio(ours, theirs):
    if ours[1][0] is None:
        return nan
    return _quotient(ours[1][0].private, theirs[1][0].private)


def instruction_rows(counted, sizes):
    """Return a row for each interval; `counted` has the instructions in a minute of both."""
    rows = []
    for interval in sizes.counted_for:
        goal = INSTRUCTIONS_AT_MOST[interval]
        what = f"Instructions in a minute, a reading each {interval:g} s"
        if counted is None:
            rows.append(Row(what, NOT_MEASURED, NOT_MEASURED, goal=f"at most {goal:.2f}"))
        else:
            ours, theirs = counted[interval]
            rows.append(_amounts(what, ours, theirs, "million", at_most=goal))
    return rows


def board_rows(led, sensor):
    """Return rows for what a Raspberry Pi's libraries take, in bytes; None where unknown."""
    whats = {
        "Private memory for gpiozero and lgpio, on this machine": led,
        "Private memory of Adafruit's process, its board forced": sensor,
    }
    return [
        Row(what, NOT_MEASURED if size is None else f"{size / MEGABYTE:.1f} MB")
        for what, size in whats.items()
    ]


def growth_rows(growth, sizes):
    """Return rows for `growth`: starts with few and with many readings waiting, None if unknown."""
    few, many = (f"{count:,}" for count in sizes.waiting)
    with_many = f"with {many} readings waiting"
    whats = [
        (f"CPU of a start {with_many}", "s", 1, 0.1),
        (f"Private memory after a start {with_many}", "MB", MEGABYTE, 1.0),
        (f"CPU of a status {with_many}", "ms", 0.001, None),
    ]
    if growth is None:
        return [Row(what, NOT_MEASURED) for what, *_ in whats]
    amounts = [
        [
            median(start.cpu for start, _ in starts),
            median(start.private for start, _ in starts),
            median(status for _, status in starts),
        ]
        for starts in growth
    ]
    return [
        Row(
            what,
            f"{ours / unit:.2f} {name}",
            f"-; with {few}: {fewer / unit:.2f} {name}",
            f"{(ours - fewer) / unit:+.2f} {name}",
            "-" if goal is None else f"at most +{goal:.2f} {name}",
            None if goal is None else (ours - fewer) / unit <= goal,
        )
        for (what, name, unit, goal), fewer, ours in zip(whats, *amounts, strict=True)
    ]


def written_rows(written, sizes):
    whats = [
        ("Written to disk in a day, a reading a minute", WRITTEN_AT_MOST),
        ("Of that, without what the file system adds later", SYNCED_AT_MOST),
    ]
    rows = []
    for place, (what, limit) in enumerate(whats):
        goal = f"at most {limit} MB"
        if written is None:
            rows.append(Row(what, NOT_MEASURED, "0 MB: it keeps nothing", goal=goal))
        else:
            day = written[place] / sizes.written * 24 * 60 / MEGABYTE
            nothing = "0 MB: it keeps nothing"
            rows.append(Row(what, f"{day:.1f} MB", nothing, "-", goal, day <= limit))
    return rows


def table(rows):
    """Return the table in Markdown."""
    return aligned([HEADINGS, *(row.cells() for row in rows)])


def aligned(lines):
    """Return lines of cells, the first with the headings, as a table that suits a terminal too."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def machine(load):
    """Say what this ran on; `load` is the machine's load average before it began."""
    return (
        f"{_cpu()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}; "
        f"load average before the run {load:.2f}."
    )


def write(readme, text, *, begin=BEGIN, end=END):
    """Put `text` between the marks in a README. Raises ValueError if they are not there."""
    before = readme.read_text()
    after, found = re.subn(
        f"{re.escape(begin)}.*{re.escape(end)}",
        lambda _: f"{begin}\n\n{text}\n\n{end}",
        before,
        flags=re.DOTALL,
    )
    if not found:
        raise ValueError(f"{readme} has no place for the figures: {begin} ... {end}")
    readme.write_text(after)


def percentile(samples: Iterable[float], percent: int) -> float:
    """Return the smallest sample that `percent` of them do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _cpu():
    for path, name in (
        (Path("/proc/device-tree/model"), None),
        (Path("/proc/cpuinfo"), "model name"),
    ):
        if path.exists():
            text = path.read_text(errors="replace").strip("\0\n")
            if name is None:
                return text
            found = re.search(rf"{name}\s*: (.*)", text)
            if found:
                return found[1]
    return platform.processor() or platform.machine()


def _ratio(these, those):
    # Pair by pair: both of a pair met the machine in the same mood.
    return median(_quotient(this, that) for this, that in zip(these, those, strict=True))


def _quotient(this, that):
    """Return this / that; NaN, which meets no goal, if `that` is too small to be measured."""
    return this / that if that else nan


def _times(what, samples, *, at_most=None, places=2):
    ratio = _ratio(samples.ours, samples.theirs)
    goal, met = (
        ("-", None) if at_most is None else (f"at most {at_most:.{places}f}", ratio <= at_most)
    )
    return Row(what, _seconds(samples.ours), _seconds(samples.theirs), f"{ratio:.2f}", goal, met)


def _amounts(what, ours, theirs, unit, *, at_most):
    """Return a row for amounts given in millionths of `unit`."""
    ratio = _quotient(ours, theirs)
    our_cell, their_cell = (f"{amount / MEGABYTE:.1f} {unit}" for amount in (ours, theirs))
    goal = f"at most {at_most:.2f}"
    return Row(what, our_cell, their_cell, f"{ratio:.2f}", goal, ratio <= at_most)


def _seconds(samples):
    if len(samples) == 1:
        return f"{samples[0]:.2f} s"
    return f"{median(samples):.2f} s ({min(samples):.2f}..{max(samples):.2f})"


def _ms(samples, percent):
    return f"{percentile(samples, percent) * 1000:.1f} ms"
