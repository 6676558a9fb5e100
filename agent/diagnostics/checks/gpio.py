"""The GPIO lines: access to them, their holders, and the kernel's sensor driver."""

import importlib
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.diagnostics.examination import SENSOR_PIN, Examination
from agent.diagnostics.finding import NO_BOARD, Finding, failed, ok, skipped, warning
from agent.diagnostics.line_users import described, how_to_free
from agent.diagnostics.registry import check
from agent.diagnostics.service_advice import service_is_installed
from agent.errors import in_words, phrase
from hw import boot_config, device_tree
from hw.boot_config import BootConfig
from hw.boot_overlays import DRIVER
from hw.errors import BootConfigError

HEADER = "pinctrl-"  # The label of the header's chip begins so on every Raspberry Pi.

TAKEN = "Stop that program, or set another pin. To find it: sudo lsof /dev/gpiochip*"
TAKEN_BY_KERNEL = (
    'The kernel\'s driver holds the line. Set driver = "kernel" in [sensor] to use it, or remove '
    "its dtoverlay line from /boot/firmware/config.txt and restart."
)


class NoBindingError(Exception):
    """The package gpiod, which reads the state of GPIO lines, is not installed."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A GPIO chip. `holders` has those of the requested lines that are in use."""

    name: str
    label: str
    holders: Mapping[int, str]


@check("gpio-access", needs=("configuration",))
def access(examination: Examination) -> Finding:
    lines = examination.lines()
    if not lines:
        return skipped("no configured driver claims a GPIO line")
    if examination.lacks_board:
        return failed(
            f"This machine is not a Raspberry Pi, so {' and '.join(lines)} cannot be used.",
            'Use --fake-hw, or set driver = "fake" in [sensor] and [led].',
        )
    chips = sorted((examination.root / "dev").glob("gpiochip*"))
    if not chips:
        return failed(
            "The kernel offers no GPIO lines: there is no /dev/gpiochip0.",
            "Use the kernel of Raspberry Pi OS, or one that is built with CONFIG_GPIO_CDEV.",
        )
    details = [_described(chip) for chip in chips]
    closed = [chip for chip in chips if not examination.may_use(chip)]
    if closed:
        return failed(
            f"This user has no access to {closed[0].name}.",
            "Join its group, gpio on Raspberry Pi OS, and log in again: sudo usermod -aG gpio "
            "$USER. The service has the group from its unit.",
            *details,
        )
    if examination.is_root:
        return ok("Root has access to the GPIO lines, as always.", *details)
    return ok("This user has access to the GPIO lines.", *details)


def _described(chip: Path) -> str:
    found = chip.stat()
    mode = stat.S_IMODE(found.st_mode)
    return f"{chip.name}: mode {mode:04o}, owner {found.st_uid}:{found.st_gid}"


def read_chips(dev: Path, lines: Sequence[int]) -> list[Chip]:
    """Read every chip in `dev`. Raises NoBindingError, or OSError without access."""
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


@check("gpio-lines", needs=("configuration",))
def holders(examination: Examination) -> Finding:
    """Check that each line is free, or held by the running daemon or the right kernel driver."""
    lines = examination.lines(with_kernel=True)
    if not lines:
        return skipped("no configured driver uses a GPIO line")
    if examination.lacks_board:
        return NO_BOARD
    try:
        found = read_chips(examination.root / "dev", list(lines.values()))
    except NoBindingError:
        return skipped("the package gpiod is not installed")
    except OSError as error:
        return skipped(f"the lines cannot be read: {in_words(error)} (gpio-access)")
    if not found:
        return skipped("there are no GPIO chips (gpio-access)")
    return _judge(
        found,
        lines,
        by_kernel=examination.config.sensor.driver == "kernel",
        daemon_runs=examination.daemon_runs,
    )


def _judge(
    found: Sequence[Chip], lines: Mapping[str, int], *, by_kernel: bool, daemon_runs: bool
) -> Finding:
    # A Raspberry Pi 5 has several chips, but only the header's has this label.
    chip = next((one for one in found if one.label.startswith(HEADER)), found[0])
    details = [f"{one.name}: {one.label}" for one in found]
    details += [f"GPIO {line}: held by {holder}" for line, holder in chip.holders.items()]
    for name, line in lines.items():
        holder = chip.holders.get(line)
        expected = by_kernel and name == SENSOR_PIN
        if holder is None or (DRIVER in holder and expected):
            continue
        if DRIVER in holder:
            return failed(f"GPIO {line} ({name}) is held by {holder}.", TAKEN_BY_KERNEL, *details)
        if not daemon_runs:  # A running daemon is the holder.
            return failed(f"GPIO {line} ({name}) is held by {holder}.", TAKEN, *details)
    if not chip.label.startswith(HEADER):
        return warning(
            f"{chip.name} is {chip.label}, not the header of a Raspberry Pi.",
            "Make sure that the configured pins are those of this board.",
            *details,
        )
    return ok(
        f"The lines of {chip.name} ({chip.label}) are free, or held by this program.", *details
    )


@check("gpio-overlay", needs=("configuration",))
def overlay(examination: Examination) -> Finding:
    """Check what the firmware loads for the lines, and the kernel's dht11 driver if configured."""
    try:
        boot = boot_config.load(examination.root)
    except BootConfigError as error:
        return skipped(f"it is unknown which overlays the firmware loads: {phrase(error)}")
    if boot is not None and (taken := _taken_at_start(examination, boot)) is not None:
        return taken
    if examination.config.sensor.driver != "kernel":
        return skipped("the kernel's driver is not configured")
    if examination.reads_i2c:
        return skipped("the sensor is on I2C (sensor)")
    return _judge_driver(examination, boot)


def _taken_at_start(examination: Examination, boot: BootConfig) -> Finding | None:
    """Return the finding about a line that the firmware gives to something else, if there is one.

    Several programs can use a line that is not driven as GPIO, but to the damage of one of them.
    """
    by_kernel = examination.config.sensor.driver == "kernel"
    for name, pin in examination.lines(with_kernel=True).items():
        for user in boot.users(pin):
            is_driver = user.name == DRIVER
            if is_driver and by_kernel and name == SENSOR_PIN:
                continue
            condition = f" if the filter {user.filter} holds" if user.filter else ""
            line = (
                f"After a restart{condition}, GPIO {pin} ({name}) is used by {described(user)}: "
                f"{boot.file} has the line {user.text}."
            )
            if is_driver and name == SENSOR_PIN:
                return warning(line, 'Set driver = "kernel" in [sensor]: it reads more reliably.')
            advice = f"{how_to_free(user, boot.file)}, or set another pin."
            return (failed if not user.filter else warning)(line, advice)
    return None


def _judge_driver(examination: Examination, boot: BootConfig | None) -> Finding:
    root, pin = examination.root, examination.config.sensor.pin
    device = kernel_device(root)
    lines = driver_lines(root)
    written = boot is not None and boot.loads_driver(pin)
    if device is not None and lines and pin not in lines:
        listed = ", ".join(f"GPIO {line}" for line in lines)
        return failed(
            f"The kernel's dht11 driver is loaded for {listed}, not for GPIO {pin}.",
            "Restart the machine." if written else _how_to_load(root, pin, boot),
        )
    if device is not None and (written or boot is None):
        return ok(f"The kernel's dht11 driver is loaded: {device}.")
    if device is not None:
        return warning(
            f"The kernel's dht11 driver is loaded, but not after a restart: {_file(boot)} does not "
            f"load it for GPIO {pin}{_condition(boot, pin)}.",
            _how_to_load(root, pin, boot),
        )
    if boot is not None and not boot.offers_driver:
        return failed(
            f"The firmware has no overlay for the kernel's dht11 driver beside {boot.file}.",
            "Install Raspberry Pi's own firmware and kernel, or set another driver in [sensor], "
            'such as "dht22".',
        )
    if written:
        return failed(
            f"{_file(boot)} loads the kernel's dht11 driver, but it is not loaded now.",
            f"Restart the machine, or until then: sudo dtoverlay dht11 gpiopin={pin}. For the "
            "reason: dmesg | grep dht11",
        )
    return failed(
        f"The kernel's dht11 driver is not loaded: {_file(boot)} does not load it for "
        f"GPIO {pin}{_condition(boot, pin)}.",
        _how_to_load(root, pin, boot),
    )


def _file(boot: BootConfig | None) -> str:
    return "the boot partition" if boot is None else str(boot.file)


def _condition(boot: BootConfig | None, pin: int) -> str:
    """Return ", unless the filter ... holds" if the driver's overlay is under one."""
    users = [] if boot is None else boot.users(pin)
    filters = [user.filter for user in users if user.name == DRIVER and user.filter]
    return f" unless the filter {filters[0]} holds" if filters else ""


def _how_to_load(root: Path, pin: int, boot: BootConfig | None) -> str:
    if service_is_installed(root):
        return "To load it now and at each start: sudo sensor-agent setup"
    file = boot.file if boot is not None else "/boot/firmware/config.txt"
    return (
        f"Without the service, setup cannot do it: add the line {boot_config.overlay_line(pin)} to "
        f"{file} and restart. Until then: sudo dtoverlay dht11 gpiopin={pin}"
    )


def driver_lines(root: Path) -> list[int]:
    """Return the lines that the device tree has for the kernel's dht11 driver now."""
    found = device_tree.devices(root)
    return [line for device in found if device.compatible == DRIVER for line in device.lines]


def kernel_device(root: Path) -> str | None:
    """Return the name of the device of the kernel's dht11 driver. None if it is not loaded."""
    for name in sorted((root / "sys/bus/iio/devices").glob("iio:device*/name")):
        try:
            text = name.read_text(encoding="ascii", errors="replace").strip()
        except OSError:  # The device has been removed.
            continue
        if text.startswith(DRIVER):
            return text
    return None
