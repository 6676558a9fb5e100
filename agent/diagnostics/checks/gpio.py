"""The GPIO lines: access to them, their holders, and the kernel's sensor driver."""

import re
import stat
from collections.abc import Mapping
from pathlib import Path

from agent.diagnostics.examination import SENSOR_PIN, Examination
from agent.diagnostics.finding import NO_BOARD, Finding, failed, ok, skipped, warning
from agent.diagnostics.line_processes import Processes
from agent.diagnostics.line_users import Holder, described, holder, how_to_free
from agent.diagnostics.registry import check
from agent.diagnostics.service_advice import group_of, service_is_installed
from agent.errors import in_words, phrase
from hw import boot_config, device_tree, gpio_lines
from hw.boot_config import BootConfig
from hw.boot_overlays import DRIVER
from hw.errors import BootConfigError
from hw.gpio_lines import Chip

GROUP = "gpio"  # The service's unit gives it this group.


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
    paths = gpio_lines.paths(examination.root / "dev")
    if not paths:
        return failed(
            "The kernel offers no GPIO lines: there is no /dev/gpiochip0.",
            "Use the kernel of Raspberry Pi OS, or one that is built with CONFIG_GPIO_CDEV.",
        )
    chips, _ = _read_chips(examination, {})
    # Other chips, which a Raspberry Pi 5 has, may be closed.
    header = [path for path, chip in chips.items() if chip.is_header] or paths
    details = [_described(path) for path in header]
    if examination.is_root and service_is_installed(examination.root):
        return _access_of_service(header, details)
    closed = [path for path in header if not examination.may_use(path)]
    if closed:
        return failed(
            f"This user has no access to {closed[0].name}.",
            "Join its group, gpio on Raspberry Pi OS, and log in again: sudo usermod -aG gpio "
            "$USER. The service has the group from its unit.",
            *details,
        )
    return ok("This user has access to the GPIO lines.", *details)


def _access_of_service(header: list[Path], details: list[str]) -> Finding:
    """Judge the access of the service: root has it always, and the service is not root."""
    for path in header:
        found = path.stat()
        wanted = 0o060 if group_of(path) == GROUP else 0o006
        if found.st_mode & wanted != wanted:
            return failed(
                f"The service has no access to {path.name}, which belongs to group "
                f"{group_of(path)}: its user is in the group {GROUP}.",
                "Install the package sensor-agent again, which brings the udev rule for it. Then: "
                "sudo udevadm trigger",
                *details,
            )
    return ok("The service has access to the GPIO lines.", *details)


def _described(chip: Path) -> str:
    found = chip.stat()
    mode = stat.S_IMODE(found.st_mode)
    return f"{chip.name}: mode {mode:04o}, owner {found.st_uid}:{found.st_gid}"


def _read_chips(
    examination: Examination, lines: Mapping[str, int]
) -> tuple[dict[Path, Chip], OSError | None]:
    """Return the chips that can be read, each once, and why another one cannot.

    With clock.conf, the service has two files of a Pi 5's chip.
    """
    found: dict[Path, Chip] = {}
    reason = None
    for path in gpio_lines.paths(examination.root / "dev"):
        try:
            chip = examination.read_chip(path, list(lines.values()))
        except OSError as error:
            reason = error
        else:
            if chip not in found.values():
                found[path] = chip
    return found, reason


@check("gpio-lines", needs=("configuration",))
def holders(examination: Examination) -> Finding:
    """Check that each line is free, or held by the running daemon or the right kernel driver."""
    lines = examination.lines(with_kernel=True)
    if not lines:
        return skipped("no configured driver uses a GPIO line")
    if examination.lacks_board:
        return NO_BOARD
    chips, reason = _read_chips(examination, lines)
    header = next((chip for chip in chips.values() if chip.is_header), None)
    if header is not None:
        return _judge(header, lines, examination)
    if reason is not None:
        return skipped(f"the lines cannot be read: {in_words(reason)}")
    if not chips:
        return skipped("there are no GPIO chips (gpio-access)")
    return warning(
        f"No GPIO chip is the header of a Raspberry Pi: "
        f"{', '.join(f'{chip.name} is {chip.label}' for chip in chips.values())}.",
        "Make sure that the configured pins are those of this board.",
    )


def _judge(chip: Chip, lines: Mapping[str, int], examination: Examination) -> Finding:
    if not chip.holders:
        return ok(f"The lines of {chip.name} ({chip.label}) are free.")
    by_kernel = examination.config.sensor.driver == "kernel"
    found = examination.processes(examination.root / "proc")
    details = [f"GPIO {line}: held by {name or 'a driver'}" for line, name in chip.holders.items()]
    for name, line in lines.items():
        consumer = chip.holders.get(line)
        if consumer is None or (by_kernel and name == SENSOR_PIN and consumer.startswith(DRIVER)):
            continue
        holds = _holder(chip, line, found, examination)
        if not (holds.is_own and examination.daemon_runs):
            return failed(f"GPIO {line} ({name}) is held by {holds.name}.", holds.advice, *details)
    return ok(
        f"The lines of {chip.name} ({chip.label}) are free, or held by the right holder.", *details
    )


def _holder(chip: Chip, line: int, found: Processes, examination: Examination) -> Holder:
    root = examination.root
    try:
        boot = boot_config.load(root)
    except BootConfigError:  # The check gpio-overlay reports it.
        boot = None
    devices = [one for one in device_tree.devices(root) if line in one.lines]
    return holder(chip, line, found, devices[0] if devices else None, boot, root)


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
            condition = f" if the filter {user.filter} holds," if user.filter else ""
            line = (
                f"At each start,{condition} the firmware gives GPIO {pin} ({name}) to "
                f"{described(user)}: {boot.file} has the line {user.text}."
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
            f"If the sensor is on GPIO {lines[0]}, set that pin in [sensor]. If not: "
            f"{'sudo reboot' if written else 'sudo sensor-agent setup'}",
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
        note = ""
        if boot is not None and re.search(rb"^\s*dtoverlay=dht11", boot.content, re.MULTILINE):
            note = "The line for it in that file is for another pin, board or condition. "
        return f"{note}To load it now and at each start: sudo sensor-agent setup"
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
