"""Identifies the machine, so that a copied memory card is recognised as a copy."""

from pathlib import Path

# The serial number comes from the firmware of the Raspberry Pi. A board without one has the machine
# id of its installation: https://www.freedesktop.org/software/systemd/man/machine-id.html
SERIAL_NUMBER = Path("proc/device-tree/serial-number")
CPUINFO = Path("proc/cpuinfo")
MACHINE_ID = Path("etc/machine-id")


def board_id(root: Path = Path("/")) -> str | None:
    """Return the board's serial number, or else the machine id. None if there is neither."""
    serial = _read(root / SERIAL_NUMBER) or _serial_of_cpuinfo(_read(root / CPUINFO))
    if serial.strip("0"):
        return f"serial {serial}"
    machine = _read(root / MACHINE_ID)
    # The file contains "uninitialized" until the end of the first boot.
    return f"machine {machine}" if len(machine) == 32 else None  # noqa: PLR2004 - hexadecimal digits.


def _serial_of_cpuinfo(text: str) -> str:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "Serial":
            return value.strip()
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip("\0\n ")
    except OSError:
        return ""  # Not every machine has it.
