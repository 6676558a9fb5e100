"""The GPIOs: access to them, their holders, and the kernel's sensor driver."""

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.diagnostics.another_pin import both_ways, free_pin, how_to_move, how_to_set, setting
from agent.diagnostics.chip_overlay import judge_chip
from agent.diagnostics.examination import SENSOR_PIN, Examination
from agent.diagnostics.finding import NO_BOARD, Finding, failed, ok, skipped, warning
from agent.diagnostics.line_users import (
    DHT_DRIVER,
    Holder,
    described,
    holder,
    how_to_turn_off,
)
from agent.diagnostics.registry import check
from agent.diagnostics.service_advice import service_is_installed
from agent.errors import in_words, phrase
from hw import boot_config, device_tree, gpio_lines
from hw.boot_config import BootConfig
from hw.boot_overlays import DRIVER, Overlay
from hw.errors import BootConfigError
from hw.gpio import LINES
from hw.gpio_lines import Chip

DRIVER_KEY, KERNEL = "[sensor] driver", '"kernel"'
GROUP = "gpio"  # The service's unit gives it this group.
REINSTALL = (
    "Install the package sensor-agent again as you did at first (apt needs --reinstall): it brings "
    "the udev rule for that group. Then: sudo udevadm trigger"
)


@check("gpio-access", needs=("configuration",))
def access(examination: Examination) -> Finding:
    lines = examination.lines()
    if not lines:
        return skipped("no configured driver uses a GPIO pin")
    if examination.lacks_board:
        return failed(
            f"This machine is not a Raspberry Pi, so {' and '.join(lines)} cannot be used.",
            'Use --fake-hw, or set driver = "fake" in [sensor] and [led].',
        )
    paths = gpio_lines.paths(examination.root / "dev")
    if not paths:
        return failed(
            "The kernel offers no GPIO pins: there is no /dev/gpiochip0.",
            "Use the kernel of Raspberry Pi OS, or one that is built with CONFIG_GPIO_CDEV.",
        )
    chips, _ = _read_chips(examination, ())
    # Other chips, which a Raspberry Pi 5 has, may be closed.
    return _judge_access(
        [path for path, chip in chips.items() if chip.is_header] or paths, examination
    )


def _judge_access(header: list[Path], examination: Examination) -> Finding:
    details = [_described(path) for path in header]
    has_service = service_is_installed(examination.root) and not examination.is_in_daemon
    if has_service and (refusal := _refusal_of_service(header, examination)) is not None:
        return failed(refusal, REINSTALL, *details)
    if has_service and examination.is_root:
        return ok("The service may use the GPIO pins.", *details)
    closed = [path for path in header if not examination.may_use(path)]
    if not closed:
        return ok("This user may use the GPIO pins.", *details)
    return _closed(closed[0], examination, details)


def _refusal_of_service(header: list[Path], examination: Examination) -> str | None:
    """Return why the service, whose user is not this one, may not use the GPIOs; None if it may."""
    for path in header:
        group = examination.group_of(path)
        wanted = 0o060 if group == GROUP else 0o006
        if path.stat().st_mode & wanted != wanted:
            return (
                f"The service may not use {path.name}: that belongs to the group {group}, and the "
                f"service's user is in the group {GROUP}."
            )
    return None


def _closed(path: Path, examination: Examination, details: list[str]) -> Finding:
    """Return the finding about a chip that this user may not use."""
    user = examination.user_name()
    line = f"User {user} may not use the GPIO pins ({path.name})."
    if examination.is_in_daemon and examination.is_of_service:
        return failed(line, REINSTALL, *details)
    group = examination.group_of(path)
    if group == "root":  # As on a system without Raspberry Pi's udev rules.
        return failed(line, "Only root may use them: use sudo.", *details)
    join = f"sudo usermod -aG {group} {user}, then log out and log in again"
    if examination.is_of_service and not examination.is_in_daemon:
        return warning(
            line,
            f"To join their group: {join}. This matters only for commands that {user} types: the "
            "service may use the pins already.",
            *details,
        )
    return failed(line, f"To join their group: {join}", *details)


def _described(chip: Path) -> str:
    found = chip.stat()
    mode = stat.S_IMODE(found.st_mode)
    return f"{chip.name}: mode {mode:04o}, owner {found.st_uid}:{found.st_gid}"


def _read_chips(
    examination: Examination, lines: Sequence[int]
) -> tuple[dict[Path, Chip], OSError | None]:
    """Return the chips that can be read, each once, and why another one cannot.

    With clock.conf, the service has two files of a Pi 5's chip.
    """
    found: dict[Path, Chip] = {}
    reason = None
    for path in gpio_lines.paths(examination.root / "dev"):
        try:
            chip = examination.read_chip(path, lines)
        except OSError as error:
            reason = error
        else:
            if chip not in found.values():
                found[path] = chip
    return found, reason


@check("gpio-lines", needs=("configuration",))
def holders(examination: Examination) -> Finding:
    """Check that each GPIO is free, or in use by the running daemon or the right kernel driver."""
    lines = examination.lines(with_kernel=True)
    chip = _header(examination, lines)
    if isinstance(chip, Finding):
        return chip
    if (taken := _taken_now(chip, examination)) is not None:
        return _judge_holder(*taken, chip, examination)
    pins = [f"GPIO {line}" for line in lines.values()]
    *most, last = pins
    listed = f"{', '.join(most)} and {last} are" if most else f"{last} is"
    if not any(line in chip.holders for line in lines.values()):
        return ok(f"{listed} free.", *_details(chip))
    return ok(f"{listed} free, or in use as configured.", *_details(chip))


def _header(examination: Examination, lines: Mapping[str, int]) -> Chip | Finding:
    """Return the chip of the header with all holders, or the finding that there is none."""
    if not lines:
        return skipped("no configured driver uses a GPIO pin")
    if examination.lacks_board:
        return NO_BOARD
    chips, reason = _read_chips(examination, LINES)
    header = next((chip for chip in chips.values() if chip.is_header), None)
    if header is not None:
        return header
    if reason is not None:
        return skipped(f"the holders of GPIOs cannot be read: {in_words(reason)}")
    if not chips:
        return skipped("there are no GPIO chips (gpio-access)")
    return warning(
        f"No GPIO chip is the header of a Raspberry Pi: "
        f"{', '.join(f'{chip.name} is {chip.label}' for chip in chips.values())}.",
        "Make sure that the configured pins are those of this board.",
    )


def _details(chip: Chip) -> list[str]:
    held = [f"GPIO {pin}: in use by {name or 'a driver'}" for pin, name in chip.holders.items()]
    return [f"{chip.name}: {chip.label}", *held]


def _taken_now(chip: Chip, examination: Examination) -> tuple[str, Holder] | None:
    """Return the first GPIO that something else uses now, by its configuration key."""
    by_kernel = examination.config.sensor.driver == "kernel"
    processes = None
    for key, pin in examination.lines(with_kernel=True).items():
        consumer = chip.holders.get(pin)
        if consumer is None or (by_kernel and key == SENSOR_PIN and consumer.startswith(DRIVER)):
            continue
        processes = processes or examination.processes(examination.root / "proc")
        holds = holder(
            chip,
            pin,
            processes,
            _device(pin, examination),
            _boot(examination),
            examination.root,
            sees_own=examination.is_in_daemon,
        )
        if not (holds.is_own and examination.daemon_runs):
            return key, holds
    return None


def _judge_holder(key: str, holds: Holder, chip: Chip, examination: Examination) -> Finding:
    """Return the finding about a GPIO that something else uses now."""
    pin, boot = examination.lines(with_kernel=True)[key], _boot(examination)
    line = f"GPIO {pin} ({key}) is in use {holds.how}."
    if key == SENSOR_PIN and holds.is_dht:
        line = f'{line[:-1]}, but [sensor] has driver = "{examination.config.sensor.driver}".'
        return failed(line, _how_to_share(pin, boot, examination), *_details(chip))
    if holds.only:
        return failed(line, holds.only, *_details(chip))
    advice = both_ways(key, _how_to_move(key, chip, boot, examination), holds.off)
    if holds.before:
        advice = f"{holds.before} {advice}"
    if key == SENSOR_PIN and (own := _drivers(pin, boot)) and holds.off is not None:
        advice = f"The line {own[0].text} is right and stays. {advice}"
    return failed(line, advice, *_details(chip))


def _drivers(pin: int, boot: BootConfig | None) -> list[Overlay]:
    """Return the overlays that load the kernel driver for a GPIO."""
    return [] if boot is None else [one for one in boot.users(pin) if one.name == DRIVER]


def _how_to_move(
    key: str, chip: Chip | None, boot: BootConfig | None, examination: Examination
) -> str:
    lines = examination.lines(with_kernel=True)
    free = None
    if chip is not None:
        free = free_pin(examination.config, lines, chip, boot, examination.root)
    return how_to_move(key, free, examination, boot)


def _how_to_share(pin: int, boot: BootConfig | None, examination: Examination) -> str:
    """Return what to do if the kernel driver has the GPIO that Adafruit's is to read."""
    driver = examination.config.sensor.driver
    if service_is_installed(examination.root):
        model = "" if driver == "dht22" else f" --model {driver}"
        use = f"To use it: sudo sensor-agent setup --driver kernel{model}"
    else:
        use = f"To use it, {how_to_set(DRIVER_KEY, KERNEL, examination)}"
    release = "restart the Pi: sudo reboot"
    if own := _drivers(pin, boot):
        release = f"delete the line {own[0].text} from {_file(boot)}, then: sudo reboot"
    return f'The kernel driver is more reliable. {use}. To keep driver = "{driver}", {release}'


def _device(pin: int, examination: Examination) -> device_tree.Device | None:
    """Return the device that has a GPIO in the device tree."""
    found = device_tree.devices(examination.root)
    return next((one for one in found if pin in one.lines), None)


def _boot(examination: Examination) -> BootConfig | None:
    try:
        return boot_config.load(examination.root)
    except BootConfigError:  # The check gpio-overlay reports it.
        return None


@check("gpio-overlay", needs=("configuration",))
def overlay(examination: Examination) -> Finding:
    """Check what the firmware loads for the GPIOs, and the kernel driver dht11 if configured.

    A GPIO that something else uses now is left to the check gpio-lines.
    """
    try:
        boot = boot_config.load(examination.root)
    except BootConfigError as error:
        return skipped(f"it is unknown which overlays the firmware loads: {phrase(error)}")
    found = _header(examination, examination.lines(with_kernel=True))
    chip = None if isinstance(found, Finding) else found
    taken = None if chip is None else _taken_now(chip, examination)
    key = None if taken is None else taken[0]
    if boot is not None and (later := _taken_at_start(examination, boot, chip, key)) is not None:
        return later
    if examination.config.sensor.driver != "kernel":
        return skipped("the kernel driver is not configured")
    if examination.reads_i2c:
        return judge_chip(examination.config.sensor, boot, examination.root)
    if key == SENSOR_PIN:
        return skipped("something else uses the GPIO of the sensor (gpio-lines)")
    return _judge_driver(examination, boot)


def _taken_at_start(
    examination: Examination, boot: BootConfig, chip: Chip | None, taken: str | None
) -> Finding | None:
    """Return the finding about a GPIO that the firmware gives to something else, if there is one.

    `taken` is the key of a GPIO about which gpio-lines says it. Several programs can use a GPIO
    that is not driven as such, but to the damage of one of them.
    """
    by_kernel = examination.config.sensor.driver == "kernel"
    lines = examination.lines(with_kernel=True)
    for key, pin in lines.items():
        for user in boot.users(pin) if key != taken else ():
            is_driver = user.name == DRIVER
            if is_driver and by_kernel and key == SENSOR_PIN:
                continue
            condition = f" if the filter {user.filter} holds," if user.filter else ""
            line = (
                f"At each start of the Pi,{condition} the firmware gives GPIO {pin} ({key}) to "
                f"{described(user)}: {boot.file} has the line {user.text}."
            )
            if is_driver and key == SENSOR_PIN:
                return warning(line, _how_to_share(pin, boot, examination))
            off = how_to_turn_off(user, boot.file, pin)
            advice = both_ways(key, _how_to_move(key, chip, boot, examination), off)
            return (failed if not user.filter else warning)(line, advice)
    return None


def _judge_driver(examination: Examination, boot: BootConfig | None) -> Finding:
    root, pin = examination.root, examination.config.sensor.pin
    device = kernel_device(root)
    lines = driver_lines(root)
    written = boot is not None and boot.loads_driver(pin)
    if device is not None and lines and pin not in lines:
        return _judge_other_pin(lines, boot, examination)
    if device is not None and (written or boot is None):
        return ok(f"The kernel driver {DRIVER} is loaded: {device}.")
    if device is not None:
        return warning(
            f"The {DHT_DRIVER} is loaded now, but will not be after a restart of the Pi: "
            f"{_missing_line(boot, pin)}",
            _how_to_load(root, pin, boot, "at each start"),
        )
    if boot is not None and not boot.offers_driver:
        return _judge_missing_overlay(boot, examination)
    if written:
        return failed(
            f"{_file(boot)} loads the {DHT_DRIVER}, but it is not loaded now.",
            "Restart the Pi: sudo reboot. If you have done so already, look for the reason: sudo "
            f"dmesg | grep {DRIVER}",
        )
    advice = _how_to_load(root, pin, boot, "now and at each start")
    other = _line_for_other_pin(boot, pin)
    if other is not None and service_is_installed(root):
        its_pin = other.lines[0]
        advice = (
            f"If the sensor is wired to GPIO {its_pin}: sudo sensor-agent setup --pin {its_pin}. "
            f"If it is wired to GPIO {pin}, delete the line {other.text}, then: sudo sensor-agent "
            "setup"
        )
    return failed(f"The {DHT_DRIVER} is not loaded: {_missing_line(boot, pin)}", advice)


def _judge_other_pin(
    lines: list[int], boot: BootConfig | None, examination: Examination
) -> Finding:
    """Return the finding about the driver that is loaded for these GPIOs, not for the sensor's."""
    pin, other = examination.config.sensor.pin, lines[0]
    if service_is_installed(examination.root):
        use = f"set pin = {other}: sudo sensor-agent setup --pin {other}"
    else:
        use = f"{setting(SENSOR_PIN, str(other), examination)}, then start sensor-agent again"
    listed = ", ".join(f"GPIO {line}" for line in lines)
    return failed(
        f"The {DHT_DRIVER} is loaded for {listed}, not for GPIO {pin}.",
        f"If the sensor is wired to GPIO {other}, {use}. If it is wired to GPIO {pin}"
        f"{_how_to_correct(boot, pin, examination.root)}",
    )


def _how_to_correct(boot: BootConfig | None, pin: int, root: Path) -> str:
    """Return the end of the sentence that says how to load the driver for GPIO `pin` instead."""
    if boot is not None and boot.loads_driver(pin):
        return ": sudo reboot"
    wrong = [] if boot is None else [one for one in boot.overlays if one.name == DRIVER]
    if not service_is_installed(root):
        right = boot_config.overlay_line(pin)
        change = f"change the line {wrong[0].text} to" if wrong else "add the line"
        return f", {change} {right} in {_file(boot)}, then: sudo reboot"
    if boot is None or not wrong:
        return ": sudo sensor-agent setup"
    line = f"the line {wrong[0].text}"
    if boot_config.own_pin(boot.content) in wrong[0].lines:
        return f": sudo sensor-agent setup (it replaces {line} in {boot.file})"
    return f", delete {line} from {boot.file}, then: sudo sensor-agent setup"


def _judge_missing_overlay(boot: BootConfig, examination: Examination) -> Finding:
    driver = examination.config.sensor.model
    if service_is_installed(examination.root):
        use = f"To read the sensor without it: sudo sensor-agent setup --driver {driver}"
    else:
        setting_it = how_to_set(DRIVER_KEY, f'"{driver}"', examination)
        use = f"To read the sensor without it, {setting_it}"
    return failed(
        f"The firmware has no overlay for the {DHT_DRIVER} beside {boot.file}.",
        f"{use}. Or install Raspberry Pi OS, which has the overlay.",
    )


def _file(boot: BootConfig | None) -> str:
    return "the boot partition" if boot is None else str(boot.file)


def _missing_line(boot: BootConfig | None, pin: int) -> str:
    """Return that no line loads the driver for GPIO `pin`, and which one seems to, in sentences."""
    line = f"no line in {_file(boot)} loads it for GPIO {pin}"
    if boot is None:
        return f"{line}."
    if filtered := _drivers(pin, boot):  # Otherwise it would be loaded.
        return f"{line} unless the filter {filtered[0].filter} holds."
    if (ignored := boot.ignored_driver(pin)) is not None:
        return (
            f"{line}. The line {ignored.text} (line {ignored.number}) is under {ignored.filter}, "
            "so it does not count on this board."
        )
    if (other := _line_for_other_pin(boot, pin)) is not None:
        return f"{line}. The line {other.text} is for GPIO {other.lines[0]}."
    return f"{line}."


def _line_for_other_pin(boot: BootConfig | None, pin: int) -> Overlay | None:
    """Return an overlay that loads the driver, if all of them are for other GPIOs."""
    drivers = [] if boot is None else [one for one in boot.overlays if one.name == DRIVER]
    if not drivers or any(pin in one.lines for one in drivers):
        return None
    return next((one for one in drivers if one.lines), None)


def _how_to_load(root: Path, pin: int, boot: BootConfig | None, when: str) -> str:
    if service_is_installed(root):
        return f"To load it {when}: sudo sensor-agent setup"
    file = boot.file if boot is not None else "/boot/firmware/config.txt"
    advice = (
        f"Add the line {boot_config.overlay_line(pin)} to {file}, at the end under [all], then: "
        "sudo reboot"
    )
    if when == "at each start":
        return advice
    return f"{advice}. Or, until the next restart: sudo dtoverlay {DRIVER} gpiopin={pin}"


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
