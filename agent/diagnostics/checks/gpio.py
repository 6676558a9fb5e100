"""The GPIO lines: may they be used, who holds them, is the kernel's driver there."""

import importlib
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.diagnostics.checks.finding import Finding, failed, ok, skipped, warning

HEADER = "pinctrl-"  # How the chip of the header is labelled on every Raspberry Pi.
CONFIG_FILES = ("boot/firmware/config.txt", "boot/config.txt")  # The second up to bullseye.
KERNEL_DRIVER = "dht11"
SENSOR_PIN = "[sensor] pin"

TAKEN = "Stop that program, or choose another pin. Which it is: sudo lsof /dev/gpiochip*."
TAKEN_BY_KERNEL = (
    'That is the kernel\'s driver: read the sensor through it, with driver = "kernel" in [sensor]; '
    "or take its dtoverlay line out of /boot/firmware/config.txt and restart."
)


class NoBindingError(Exception):
    """The package gpiod, which asks the kernel about lines, is not installed."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A GPIO chip: its file's name, its label, and, of the lines asked for, who holds them."""

    name: str
    label: str
    holders: Mapping[int, str]


def access(
    dev: Path,
    *,
    is_raspberry_pi: bool,
    lines: Mapping[str, int],
    may_use: Callable[[Path], bool],
    is_root: bool,
) -> Finding:
    """`lines` are the lines that drivers here claim, by what the configuration calls them."""
    if not lines:
        return skipped("no driver that is configured claims a GPIO line")
    if not is_raspberry_pi:
        return failed(
            f"This machine is not a Raspberry Pi, and {' and '.join(lines)} need one.",
            'Use --fake-hw, or set driver = "fake" in [sensor] and [led].',
        )
    chips = sorted(dev.glob("gpiochip*"))
    if not chips:
        return failed(
            "The kernel offers no GPIO lines: there is no /dev/gpiochip0.",
            "Use the kernel of Raspberry Pi OS, or one that is built with CONFIG_GPIO_CDEV.",
        )
    details = [_described(chip) for chip in chips]
    closed = [chip for chip in chips if not may_use(chip)]
    if closed:
        return failed(
            f"This user may not use {closed[0].name}.",
            "Join its group, gpio on Raspberry Pi OS, and log in again: sudo usermod -aG gpio "
            "$USER. The service gets the group from its unit.",
            *details,
        )
    who = " (as root may everything; the running daemon is asked for itself)" if is_root else ""
    return ok(f"The GPIO lines may be used{who}.", *details)


def _described(chip: Path) -> str:
    found = chip.stat()
    mode = stat.S_IMODE(found.st_mode)
    return f"{chip.name}: mode {mode:04o}, owner {found.st_uid}:{found.st_gid}"


def read_chips(dev: Path, lines: Sequence[int]) -> list[Chip]:
    """Ask the kernel about every chip. Raises NoBindingError, or OSError where it may not."""
    try:
        gpiod = importlib.import_module("gpiod")
    except ImportError as error:
        raise NoBindingError from error
    chips = []
    for path in sorted(dev.glob("gpiochip*")):
        with gpiod.Chip(str(path)) as chip:
            info = chip.get_info()
            held = {}
            for line in lines:
                if line < info.num_lines and (found := chip.get_line_info(line)).used:
                    held[line] = found.consumer or "the kernel"
            chips.append(Chip(info.name, info.label, held))
    return chips


def holders(
    chips: Callable[[], Sequence[Chip]],
    *,
    lines: Mapping[str, int],
    by_kernel: bool,
    daemon_runs: bool,
) -> Finding:
    """`by_kernel` where the sensor is read by the kernel's driver, which then must hold its line.

    What else holds a line is the running daemon, or somebody who should not.
    """
    if not lines:
        return skipped("no driver that is configured uses a GPIO line")
    try:
        found = chips()
    except NoBindingError:
        return skipped("the package gpiod is not installed")
    except OSError as error:
        return skipped(f"the lines cannot be asked for: {error.strerror} (gpio-access)")
    if not found:
        return skipped("there are no GPIO chips (gpio-access)")
    return _judge(found, lines, by_kernel=by_kernel, daemon_runs=daemon_runs)


def _judge(
    found: Sequence[Chip], lines: Mapping[str, int], *, by_kernel: bool, daemon_runs: bool
) -> Finding:
    # Raspberry Pi 5 has several; the header's is the only one of these.
    chip = next((one for one in found if one.label.startswith(HEADER)), found[0])
    details = [f"{one.name}: {one.label}" for one in found]
    details += [f"GPIO {line}: held by {holder}" for line, holder in chip.holders.items()]
    for name, line in lines.items():
        holder = chip.holders.get(line)
        expected = by_kernel and name == SENSOR_PIN
        if holder is None or (KERNEL_DRIVER in holder and expected):
            continue
        if KERNEL_DRIVER in holder:
            return failed(f"GPIO {line} ({name}) is held by {holder}.", TAKEN_BY_KERNEL, *details)
        if not daemon_runs:  # Else it is the daemon's own.
            return failed(f"GPIO {line} ({name}) is held by {holder}.", TAKEN, *details)
    if not chip.label.startswith(HEADER):
        return warning(
            f"{chip.name} is {chip.label}, not a Raspberry Pi's header.",
            "Make sure that the pins are this board's.",
            *details,
        )
    return ok(
        f"{chip.name} is {chip.label}; its lines are free, or held by this service.", *details
    )


def overlay(root: Path, *, by_kernel: bool, pin: int) -> Finding:
    """Is the kernel's dht11 driver where it should be, and only there."""
    device = _kernel_device(root)
    file, written = _written(root, pin)
    line = f"dtoverlay=dht11,gpiopin={pin}"
    if not by_kernel:
        if device is not None and written:
            return warning(
                f"The kernel's dht11 driver is loaded, and {file} has it for GPIO {pin}.",
                'Use it: driver = "kernel" in [sensor]. It is the better one.',
            )
        return skipped("the sensor is not read by the kernel's driver")
    if device is not None and (written or file is None):
        return ok(f"The kernel's dht11 driver is loaded: {device}.")
    if device is not None:
        return warning(
            f"The kernel's dht11 driver is loaded, and {file} does not have it for GPIO {pin}: it "
            "will be gone after a restart.",
            f"Add the line {line} to {file}.",
        )
    if written:
        return failed(
            f"{file} has the kernel's dht11 driver, and it is not loaded.",
            f"Restart; until then: sudo dtoverlay dht11 gpiopin={pin}. If that does not help: "
            "dmesg | grep dht11.",
        )
    return failed(
        "The kernel's dht11 driver is not loaded.",
        f"Add the line {line} to {file or '/boot/firmware/config.txt'} and restart; until then: "
        f"sudo dtoverlay dht11 gpiopin={pin}.",
    )


def _kernel_device(root: Path) -> str | None:
    for name in sorted((root / "sys/bus/iio/devices").glob("iio:device*/name")):
        try:
            text = name.read_text(encoding="ascii", errors="replace").strip()
        except OSError:  # It went away meanwhile.
            continue
        if text.startswith(KERNEL_DRIVER):
            return text
    return None


def _written(root: Path, pin: int) -> tuple[Path | None, bool]:
    """Return the firmware's configuration and whether it loads the driver for this pin."""
    for name in CONFIG_FILES:
        try:
            text = (root / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            found = re.fullmatch(r"\s*dtoverlay\s*=\s*dht11(-sensor)?\b(.*)", line)
            # Without gpiopin it is GPIO 4.
            if found and (re.search(rf"gpiopin={pin}\b", found[2]) or _is_default(found[2], pin)):
                return Path("/", name), True
        return Path("/", name), False
    return None, False


def _is_default(parameters: str, pin: int) -> bool:
    return "gpiopin" not in parameters and pin == 4  # noqa: PLR2004 - the overlay's own default.
