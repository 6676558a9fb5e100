"""The kernel's GPIO chips and what holds their lines, by the ioctls of the character device.

Asking changes nothing, and needs read access to /dev/gpiochip*. It works from Linux 5.10 on:
https://docs.kernel.org/userspace-api/gpio/chardev.html
"""

import fcntl
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HEADER = "pinctrl-"  # The label of the header's chip begins so on every Raspberry Pi.

# From linux/gpio.h.
GET_CHIPINFO = 0x8044B401
CHIPINFO = struct.Struct("=32s32sI")  # Name, label, number of lines.
GET_LINEINFO = 0xC100B405
LINEINFO = struct.Struct("=32s32sIIQ")  # Name, consumer, offset, number of attributes, flags.
LINEINFO_SIZE = 256  # With its attributes.
USED = 1

Ioctl = Callable[[int, int, bytearray], object]


@dataclass(frozen=True, slots=True)
class Chip:
    """A GPIO chip. `holders` has the consumer of each asked line that is in use, "" if unnamed."""

    name: str
    label: str
    holders: Mapping[int, str]

    @property
    def is_header(self) -> bool:
        """Whether its lines are those of a Raspberry Pi's header."""
        return self.label.startswith(HEADER)


def paths(dev: Path) -> list[Path]:
    """Return the chips' files in `dev`, without links: on a Pi 5, gpiochip4 is one to gpiochip0."""
    return sorted({path.resolve() for path in dev.glob("gpiochip*")})


def read_chip(path: Path, lines: Sequence[int], ioctl: Ioctl = fcntl.ioctl) -> Chip:
    """Read a chip, and which of these lines are in use. Raises OSError, as without access."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        info = bytearray(CHIPINFO.size)
        ioctl(descriptor, GET_CHIPINFO, info)
        name, label, count = CHIPINFO.unpack(info)
        held = {}
        for line in lines:
            if line < count and (consumer := _consumer(descriptor, line, ioctl)) is not None:
                held[line] = consumer
        return Chip(_text(name), _text(label), held)
    finally:
        os.close(descriptor)


def _consumer(descriptor: int, line: int, ioctl: Ioctl) -> str | None:
    """Return the name under which a line is in use, or None if it is free."""
    info = bytearray(LINEINFO_SIZE)
    LINEINFO.pack_into(info, 0, b"", b"", line, 0, 0)
    ioctl(descriptor, GET_LINEINFO, info)
    _, consumer, _, _, flags = LINEINFO.unpack_from(info)
    return _text(consumer) if flags & USED else None


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
