"""What uses a GPIO of the header, now or after a restart of the Pi, and how to free it."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from agent.diagnostics.line_processes import OWN_UNIT, Process, Processes
from hw.boot_config import BootConfig
from hw.boot_overlays import BOARD, DRIVER, I2C, I2S, SPI, UART, Overlay
from hw.device_tree import Device
from hw.gpio_lines import Chip

DHT_DRIVER = f"kernel driver {DRIVER} (also for the DHT22)"

NAMES = {
    DRIVER: f"the {DHT_DRIVER}",
    "gpio-fan": "a fan",
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
OF_BOARD = {I2C: "I2C", SPI: "SPI", I2S: "I2S (digital audio)", UART: "the serial port"}

IN_RASPI_CONFIG = {
    "gpio-fan": "Performance Options, Fan",
    "w1-gpio": "Interface Options, 1-Wire",
    "w1-gpio-pi5": "Interface Options, 1-Wire",
    "w1-gpio-pullup": "Interface Options, 1-Wire",
    I2C: "Interface Options, I2C",
    SPI: "Interface Options, SPI",
    UART: "Interface Options, Serial Port",
}
"""Where raspi-config turns off an overlay, or a parameter of the board."""

OF_KERNEL = {
    "gpio-ir-receiver": "an infrared receiver",
    "gpio-keys": "a button",
    "gpio-leds": "an LED of its own",
    "i2c-gpio": "an I2C bus",
}
"""More names, by the `compatible` of a device."""

OWN_CONSUMERS = {"lg", "libgpiod_pulsein", "PulseIn"}
"""The labels under which lgpio and Blinka's helper request GPIOs."""


@dataclass(frozen=True, slots=True)
class Off:
    """How to turn a user of a GPIO off.

    `unused` completes "if", `how` is the advice for that case. Neither has a capital or a full
    stop.
    """

    unused: str
    how: str


@dataclass(frozen=True, slots=True)
class Holder:
    """What holds a GPIO. `how` completes "is in use".

    `only` is advice that needs no other. If it is empty, `before` comes before the advice to use
    another GPIO, and `off` is the other way. `is_own` is whether the holder is this program,
    `is_dht` whether it is the kernel driver of the sensor.
    """

    how: str
    only: str = ""
    before: str = ""
    off: Off | None = None
    is_own: bool = False
    is_dht: bool = False


def described(overlay: Overlay) -> str:
    """Return what an overlay is for, such as "1-Wire"."""
    if overlay.name == BOARD:
        return " and ".join(OF_BOARD[name] for name in overlay.parameters)
    return NAMES.get(overlay.name, f"the overlay {overlay.name}")


def how_to_turn_off(overlay: Overlay, file: Path, pin: int) -> Off:
    """Return how to make the firmware leave GPIO `pin` to others. `file` is config.txt."""
    name = described(overlay)
    unused = f"nothing uses {name}"
    if overlay.name == DRIVER:
        unused = f"no sensor is wired to GPIO {pin}"
    elif name == "a fan":
        unused = f"there is no fan on GPIO {pin}"
    part = overlay.name
    delete = f"delete the line {overlay.text} from {file}"
    if overlay.name == BOARD:
        [part] = overlay.parameters
        if "," in overlay.text:  # The rest of the line is for something else.
            delete = f"set {part}=off in the line {overlay.text} of {file}"
    menu = IN_RASPI_CONFIG.get(part)
    if menu is None:
        return Off(unused, f"{delete}, then: sudo reboot")
    return Off(
        unused, f"turn it off: sudo raspi-config, {menu}, No (or {delete}), then: sudo reboot"
    )


def holder(
    chip: Chip,
    pin: int,
    processes: Processes,
    device: Device | None,
    boot: BootConfig | None,
    root: Path,
    *,
    sees_own: bool,
) -> Holder:
    """Return what holds a GPIO of `chip` that is in use.

    `device` is the device that has it in the device tree, `boot` is config.txt, and `sees_own` is
    whether `processes` has every process of this program that holds GPIOs.
    """
    consumer = chip.holders[pin]
    if (process := processes.holder(chip.name, pin)) is not None:
        return _program(process)
    if consumer == "sysfs":
        return _export(_sysfs_base(root, chip) + pin, pin)
    # The kernel's label for it is the name of its node, such as dht11@4.
    is_dht = consumer.startswith(DRIVER)
    # Beside something else, the line of the sensor's driver is not the cause.
    users = [] if boot is None else boot.users(pin)
    users = [one for one in users if (one.name == DRIVER) == is_dht]
    if is_dht:
        return replace(_kernel(f"by the {DHT_DRIVER}", pin, boot, users), is_dht=True)
    if purpose := _purpose(consumer, device):
        return _kernel(purpose, pin, boot, users)
    return _by_label(consumer, processes, sees_own=sees_own) or _kernel(
        f"by a kernel driver{_labelled(consumer)}", pin, boot, users
    )


def _export(number: int, pin: int) -> Holder:
    return Holder(
        "by a script or program that has exported it in /sys/class/gpio",
        off=Off(
            "you do not need that",
            "find the script: sudo grep -rl gpio/export /etc /home. Delete the export from it, "
            f"then: echo {number} | sudo tee /sys/class/gpio/unexport ({number} is the kernel's "
            f"number of GPIO {pin})",
        ),
    )


def _by_label(consumer: str, processes: Processes, *, sees_own: bool) -> Holder | None:
    """Return the holder by its label and what is known of processes; None if it is the kernel."""
    candidates = processes.candidates()
    label = f'under the label "{consumer}"' if consumer else "under no label"
    if consumer in OWN_CONSUMERS:
        own = [one for one in candidates if one.is_own]
        if own:
            return _program(own[0])
        if not (processes.are_all or sees_own):
            return Holder(
                f"{label}, most likely by another sensor-agent",
                only="Only one can run at a time. To see which program it is, and how to stop it: "
                "sudo sensor-agent check",
                is_own=True,
            )
    if candidates:
        names = " or ".join(f"{one.name} (process {one.pid})" for one in candidates)
        return Holder(f"{label}, most likely by {names}", off=_stop(candidates))
    if processes.are_all:
        return None
    return Holder(
        label,
        before="To see which program it is, and how to stop it: sudo sensor-agent check. If that "
        "names none, it is a kernel driver.",
    )


def _program(process: Process) -> Holder:
    if process.is_own:
        if process.unit == OWN_UNIT:
            return Holder(
                "by the service sensor-agent, which does not answer this command",
                only="Restart the service: sudo systemctl restart sensor-agent. To run "
                "sensor-agent by hand in its place, stop it: sudo systemctl stop sensor-agent",
                is_own=True,
            )
        return Holder(
            "by another sensor-agent, started by hand and not by the service (process "
            f"{process.pid}). Only one can run at a time",
            only=f"To stop the other one: sudo kill {process.pid}",
            is_own=True,
        )
    place = f"service {process.unit}" if process.unit else f"process {process.pid}"
    return Holder(f"by the program {process.name} ({place})", off=_stop([process]))


def _stop(programs: list[Process]) -> Off:
    """Return how to stop the program that holds a GPIO, one of these."""
    if len(programs) > 1:
        numbers = [str(one.pid) for one in programs]
        return Off(
            f"you do not need that program (ps -fp {','.join(numbers)} shows them)",
            f"stop the right one: sudo kill {' or '.join(numbers)}. It may come back at the next "
            "start of the Pi",
        )
    [one] = programs
    if one.unit:
        return Off(
            f"you do not need {one.unit} (systemctl status {one.unit} shows it)",
            f"turn it off for good: sudo systemctl disable --now {one.unit}",
        )
    return Off(
        f"you do not need {one.name} (ps -fp {one.pid} shows it)",
        f"stop it: sudo kill {one.pid}. It may come back at the next start of the Pi",
    )


def _purpose(consumer: str, device: Device | None) -> str:
    """Return what uses a GPIO in the kernel, or "" if the kernel may not be its holder."""
    label = _labelled(consumer)
    if re.fullmatch(r"spi[0-9]+ CS[0-9]+", consumer):
        return f"by the kernel, for SPI{label}"
    if device is not None and device.compatible != DRIVER:
        kind = device.compatible
        name = NAMES.get(kind) or OF_KERNEL.get(kind)
        purpose = f", for {name}" if name else f" driver {kind or device.node}"
        return f"by the kernel{purpose}{label}"
    return f"by the kernel, for 1-Wire{label}" if consumer.startswith("onewire") else ""


def _kernel(how: str, pin: int, boot: BootConfig | None, users: list[Overlay]) -> Holder:
    """Return a holder in the kernel. `users` are the overlays that may be the cause."""
    if boot is None:
        off = Off(
            "nothing needs that", "turn it off in the firmware's configuration, then: sudo reboot"
        )
        return Holder(how, off=off)
    if users:
        return Holder(how, off=how_to_turn_off(users[0], boot.file, pin))
    return Holder(
        how,
        before=f"No line in {boot.file} causes this.",
        off=Off("you have deleted its line since the Pi started", "restart the Pi: sudo reboot"),
    )


def _labelled(consumer: str) -> str:
    return f' (label "{consumer}")' if consumer else ""


def _sysfs_base(root: Path, chip: Chip) -> int:
    """Return the number of the chip's first line in /sys/class/gpio, which differs by kernel."""
    for place in sorted((root / "sys/class/gpio").glob("gpiochip*")):
        try:
            if (place / "label").read_text().strip() == chip.label:
                return int((place / "base").read_text())
        except (OSError, ValueError):  # It has been removed.
            continue
    return 0
