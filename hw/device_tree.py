"""The device tree of the running kernel: which board this is, and what uses its GPIO lines now."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hw.boot_overlays import Board

TREE = "proc/device-tree"
CELL = 4  # Bytes. A reference to a line has three cells: controller, line and flags.
NO_USERS = {
    "__overrides__",
    "__symbols__",
    "aliases",
    "axi",
    "chosen",
    "cpus",
    "soc",
    "soc@107c000000",
}

FILTERS = {
    "Model A": "pi1",
    "Model B": "pi1",
    "Compute Module Rev": "pi1 cm1",
    "2 Model": "pi2",
    "3 Model B Rev": "pi3",
    "3 Model B Plus": "pi3 pi3+",
    "3 Model A Plus": "pi3 pi3+",
    "Compute Module 3 Rev": "pi3 cm3",
    "Compute Module 3 Plus": "pi3 pi3+ cm3+",
    "4 Model": "pi4",
    "400": "pi4 pi400",
    "Compute Module 4 Rev": "pi4 cm4",
    "Compute Module 4S": "pi4 cm4s",
    "5 Model": "pi5",
    "500": "pi5 pi500",
    "Compute Module 5": "pi5 cm5",
    "Zero Rev": "pi0",
    "Zero W": "pi0 pi0w",
    "Zero 2": "pi0 pi0w pi02",
    "Compute Module 0": "pi0 pi0w pi02 cm0",
}
"""The model filters of config.txt that hold for each board, by the beginning of its name:
https://www.raspberrypi.com/documentation/computers/config_txt.html#model-filters"""


@dataclass(frozen=True, slots=True)
class Device:
    """A device in the tree that uses lines of the header: its node, kind and lines (BCM)."""

    node: str
    compatible: str
    lines: tuple[int, ...]


def board(root: Path = Path("/")) -> Board:
    """Return this board; `root` is the root directory."""
    tree = root / TREE
    model = _text(tree / "model").removeprefix("Raspberry Pi ")
    names = [filters for begin, filters in FILTERS.items() if model.startswith(begin)]
    revision = _bytes(tree / "system/linux,revision")
    serial = _text(tree / "serial-number")
    return Board(
        names=frozenset(names[0].split()) if names else None,
        type=(int.from_bytes(revision, "big") >> 4) & 0xFF if revision else None,
        serial=int(serial, 16) if re.fullmatch("[0-9a-fA-F]{1,16}", serial) else None,
    )


def devices(root: Path = Path("/")) -> list[Device]:
    """Return the enabled devices that use lines of the header.

    Those on buses are missing: only overlays for a line itself have their nodes at the top.
    """
    tree = root / TREE
    header = _header(tree)
    found = []
    for node in _nodes(tree):
        lines = _lines(node, header)
        if lines and _text(node / "status") not in {"disabled", "fail"}:
            kind = _text(node / "compatible") or _text(node.parent / "compatible")
            found.append(Device(node.name, kind, lines))
    return found


def _nodes(tree: Path) -> Iterator[Path]:
    for node in _directories(tree):
        if node.name.partition("@")[0] not in NO_USERS:
            yield node
            yield from _directories(node)


def _directories(place: Path) -> list[Path]:
    try:
        return sorted(one for one in place.iterdir() if one.is_dir() and not one.is_symlink())
    except OSError:  # It has been removed, or there is no device tree.
        return []


def _header(tree: Path) -> bytes:
    """Return the handle of the header's GPIO controller; empty if it is not known."""
    path = _text(tree / "__symbols__" / "gpio").lstrip("/")
    return _bytes(tree / path / "phandle") if path else b""


def _lines(node: Path, header: bytes) -> tuple[int, ...]:
    found: list[int] = []
    for name in ("gpios", "gpio", "ext-pullup-enable-gpio"):
        content = _bytes(node / name)
        cells = [content[at : at + CELL] for at in range(0, len(content), CELL)]
        references = zip(cells[0::3], cells[1::3], strict=False)  # A broken one may be cut.
        found += [int.from_bytes(line, "big") for chip, line in references if header in {b"", chip}]
    return tuple(found)


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _text(file: Path) -> str:
    """Return the first string of a property."""
    return _bytes(file).partition(b"\0")[0].decode("ascii", "replace").strip()
