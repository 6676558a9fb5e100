"""What uses a GPIO line, now or after a restart, and how to free it."""

import re
from dataclasses import dataclass
from pathlib import Path

from agent.diagnostics.line_processes import Process, Processes
from hw.boot_config import BootConfig
from hw.boot_overlays import BOARD, DRIVER, I2C, I2S, SPI, Overlay
from hw.device_tree import Device
from hw.gpio_lines import Chip

NAMES = {
    DRIVER: "the kernel's dht11 driver",
    "gpio-fan": "a fan",
    "i2c-gpio": "an I2C bus",
    "pwm-gpio-fan": "a fan",
    "spi0-1cs": "SPI",
    "spi0-2cs": "SPI",
    "spi1-1cs": "the second SPI bus",
    "spi1-2cs": "the second SPI bus",
    "spi1-3cs": "the second SPI bus",
    "w1-gpio": "1-Wire",
    "w1-gpio-pi5": "1-Wire",
    "w1-gpio-pullup": "1-Wire",
}
OF_BOARD = {I2C: "I2C", SPI: "SPI", I2S: "I2S (digital audio)"}

IN_RASPI_CONFIG = {
    "1-Wire": "Interface Options, 1-Wire",
    "I2C": "Interface Options, I2C",
    "SPI": "Interface Options, SPI",
    "a fan": "Performance Options, Fan",
}
"""Where raspi-config switches them off."""

OF_KERNEL = {
    "gpio-ir-receiver": "an infrared receiver",
    "gpio-keys": "a button",
    "gpio-leds": "an LED of its own",
}
"""More names, by the `compatible` of a device."""

OWN_DRIVER = "its dht11 driver"
OWN_CONSUMERS = {"lg", "libgpiod_pulsein", "PulseIn"}
"""The names under which lgpio and Blinka's helper request lines."""


def described(overlay: Overlay) -> str:
    """Return what an overlay is for, such as "1-Wire"."""
    if overlay.name == BOARD:
        return " and ".join(OF_BOARD[name] for name in overlay.parameters)
    return NAMES.get(overlay.name, f"the overlay {overlay.name}")


def how_to_free(overlay: Overlay, file: Path) -> str:
    """Return how to make the firmware leave the lines of `overlay` free, without a full stop."""
    return f"Remove that line from {file}{_switch(overlay)} and restart"


def _switch(overlay: Overlay) -> str:
    menu = IN_RASPI_CONFIG.get(described(overlay))
    return f" (in raspi-config: {menu})" if menu else ""


@dataclass(frozen=True, slots=True)
class Holder:
    """What holds a line. `name` completes "is held by", `is_own` is whether it is this program."""

    name: str
    advice: str
    is_own: bool = False


def holder(
    chip: Chip,
    line: int,
    processes: Processes,
    device: Device | None,
    boot: BootConfig | None,
    root: Path,
) -> Holder:
    """Return what holds a line of `chip` that is in use.

    `device` is the device that has the line in the device tree, `boot` is config.txt.
    """
    consumer = chip.holders[line]
    if (process := processes.holder(chip.name, line)) is not None:
        return _program(process)
    if consumer == "sysfs":
        number = _sysfs_base(root, chip) + line
        return Holder(
            "an export in /sys/class/gpio",
            f"To release it: echo {number} | sudo tee /sys/class/gpio/unexport. Then find the "
            "program or script that exports it, or set another pin.",
        )
    if purpose := _purpose(consumer, device):
        return Holder(f"the kernel for {purpose} ({consumer})", _how_to_release(line, boot))
    return _by_name(consumer, processes) or Holder(
        f"a driver of the kernel ({consumer})", _how_to_release(line, boot)
    )


def _by_name(consumer: str, processes: Processes) -> Holder | None:
    """Return the holder by its name and what is known of processes; None if it is the kernel."""
    candidates = processes.candidates()
    if consumer in OWN_CONSUMERS and (
        not processes.are_all or any(one.is_own for one in candidates)
    ):
        return Holder("this program", "Stop it, or set another pin.", is_own=True)
    if candidates:
        names = " or ".join(f"{one.name} (process {one.pid})" for one in candidates)
        return Holder(
            f"{consumer}, most likely the program {names}", "Stop it, or set another pin."
        )
    if processes.are_all:
        return None
    return Holder(
        f"{consumer or 'an unnamed holder'}, a program of another user or a driver of the kernel",
        "To see the programs that use lines: sudo fuser -v /dev/gpiochip*. Stop the right one, or "
        "set another pin.",
    )


def _program(process: Process) -> Holder:
    if process.is_own:
        name = f"sensor-agent itself (process {process.pid})"
        return Holder(name, f"Stop that one first: sudo kill {process.pid}", is_own=True)
    if process.unit:
        return Holder(
            f"the program {process.name} of the service {process.unit}",
            f"Stop that service (sudo systemctl disable --now {process.unit}), or set another pin.",
        )
    return Holder(
        f"the program {process.name} (process {process.pid})",
        f"Stop that program (sudo kill {process.pid}), or set another pin.",
    )


def _purpose(consumer: str, device: Device | None) -> str:
    """Return what the kernel uses a line for, or "" if the kernel may not be its holder."""
    if re.fullmatch(r"spi[0-9]+ CS[0-9]+", consumer):
        return "SPI"
    if device is not None:
        kind = device.compatible
        if kind == DRIVER:
            return OWN_DRIVER
        return NAMES.get(kind) or OF_KERNEL.get(kind) or f"its driver {kind or device.node}"
    if consumer.startswith("onewire"):
        return "1-Wire"
    return OWN_DRIVER if consumer.startswith(DRIVER) else ""


def _how_to_release(line: int, boot: BootConfig | None) -> str:
    users = [] if boot is None else boot.users(line)
    if boot is None:
        return "Disable it in the configuration of the firmware and restart, or set another pin."
    if not users:
        return (
            f"{boot.file} does not ask for it, so a restart may release the line; if not, a HAT or "
            "another device needs it: set another pin."
        )
    user = users[0]
    if user.name == DRIVER:
        return (
            f'If it is for the sensor, set driver = "kernel" in [sensor]. If not, remove the line '
            f"{user.text} from {boot.file} and restart."
        )
    return (
        f"Remove the line {user.text} from {boot.file}{_switch(user)} and restart, or set another "
        "pin."
    )


def _sysfs_base(root: Path, chip: Chip) -> int:
    """Return the number of the chip's first line in /sys/class/gpio, which differs by kernel."""
    for place in sorted((root / "sys/class/gpio").glob("gpiochip*")):
        try:
            if (place / "label").read_text().strip() == chip.label:
                return int((place / "base").read_text())
        except (OSError, ValueError):  # It has been removed.
            continue
    return 0
