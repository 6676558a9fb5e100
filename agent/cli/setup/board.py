"""Examines the board, and enables or disables the kernel's sensor driver."""

from pathlib import Path

from agent.cli.setup.changes import Changes
from agent.config.loader import Config, SensorConfig
from agent.diagnostics.checks.gpio import driver_lines, kernel_device
from agent.diagnostics.line_users import described, how_to_turn_off
from agent.errors import AgentError
from agent.storage.machine_id import board_id
from hw import boot_config
from hw.boot_config import BootConfig
from hw.boot_overlays import DRIVER
from hw.errors import BootConfigError
from hw.gpio import is_raspberry_pi
from hw.sensors.discovery import Found, kernel_sensors
from hw.sensors.i2c import OLD_OVERLAY, declared, how_to_declare_by_hand, overlay_line
from hw.sensors.models import BUS, CHIPS, OVERLAY_ADDRESSES, SYNONYMS


def has_gpio(root: Path) -> bool:
    """Return whether this is a Raspberry Pi with GPIO lines, which the LED's driver needs."""
    return _is_raspberry_pi(root) and any((root / "dev").glob("gpiochip*"))


def _is_raspberry_pi(root: Path) -> bool:
    if is_raspberry_pi(root):
        return True
    try:  # Older kernels say it only there.
        return "Raspberry Pi" in (root / "proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return False


def proposed_driver(root: Path, model: str | None) -> str:
    """Return the kernel's driver if the system has it, else Adafruit's for `model`.

    The kernel's needs less processor time and misses fewer readings.
    """
    if SYNONYMS.get(model or "", model) in CHIPS:
        return "kernel"
    boot = _boot_config(root)
    if (boot is not None and boot.offers_driver) or kernel_device(root) is not None:
        return "kernel"
    return model or "dht22"


def declared_chip(root: Path) -> Found | None:
    """Return a sensor on I2C that is declared to the kernel, the first if there are several."""
    return next((one for one in kernel_sensors(root / "sys") if one.address is not None), None)


def proposed_device_id(root: Path) -> str | None:
    """Return an id made from the board's serial number, or None if it has none."""
    number = board_id(root)
    return None if number is None else f"pi-{number[-8:].lower()}"


def must_have_free_lines(root: Path, config: Config) -> None:
    """Raise AgentError if the kernel takes a configured line for something else at each start."""
    boot = _boot_config(root)
    if boot is None:
        return
    by_kernel = config.sensor.driver == "kernel" and config.sensor.model not in CHIPS
    own = boot_config.own_lines(boot.content)
    for option, pin in _lines(config).items():
        for user in boot.users(pin):
            is_sensor = user.name == DRIVER and by_kernel and option == "--pin"
            if is_sensor or user.text in own or user.filter:
                continue
            off = how_to_turn_off(user, boot.file, pin)
            raise AgentError(
                f"GPIO {pin} is in use by {described(user)}: {boot.file} has the line {user.text}. "
                f"Choose another GPIO with {option}. Or, if {off.unused}, {off.how}. Then repeat "
                "this command."
            )
    if by_kernel and not boot.offers_driver and kernel_device(root) is None:
        raise AgentError(
            f"The firmware has no overlay for the kernel driver dht11 beside {boot.file}. Choose "
            "another driver, such as --driver dht22, or install Raspberry Pi OS."
        )


def must_have_free_address(root: Path, sensor: SensorConfig) -> None:
    """Raise AgentError if config.txt declares something else at the address of the sensor."""
    boot, known = _boot_config(root), CHIPS.get(sensor.model)
    chip, address = None if known is None else known.chip, sensor.address
    if boot is None or chip is None or address is None or sensor.bus != BUS:
        return
    own = boot_config.own_lines(boot.content)
    for parameter, overlay in boot.chips_at(address, OVERLAY_ADDRESSES).items():
        if parameter != chip.overlay and overlay.text not in own:
            raise AgentError(
                f"Address 0x{address:02x} of the I2C bus is used by {parameter}, by the line "
                f"{overlay.text} in {boot.file}. Remove that line and restart, or choose another "
                "sensor with --model, or another address with --address."
            )


def _lines(config: Config) -> dict[str, int]:
    """Return the configured lines by the option that changes them."""
    lines = {}
    if config.sensor.driver != "fake" and config.sensor.model not in CHIPS:
        lines["--pin"] = config.sensor.pin
    if config.led.driver != "fake":
        lines["--led-pin"] = config.led.pin
    return lines


def use_kernel_driver(changes: Changes, pin: int) -> None:
    """Make the kernel read the sensor on GPIO `pin`, now and after each start of the machine."""
    root = changes.machine.root
    loaded = _is_loaded(root, pin)
    boot = _boot_config(root)
    if boot is None:
        if not loaded:
            print(
                "Note: this system has no /boot/firmware/config.txt. Load the kernel driver dht11 "
                f"for GPIO {pin} yourself."
            )
        return
    if boot.loads_driver(pin):
        if not loaded:
            _load(changes, pin)
        return
    print(f"Writing {boot_config.overlay_line(pin)} to {boot.file}")
    changes.put_boot_config(boot.file, boot_config.with_driver(boot.content, pin))
    before = boot_config.own_pin(boot.content)
    if before is not None and before != pin and kernel_device(root) is not None:
        _unload(changes, before)
    if not loaded or before is not None:
        _load(changes, pin)


def use_chip(changes: Changes, sensor: SensorConfig) -> None:
    """Declare the sensor on I2C to the kernel, now and after each start of the machine."""
    chip, bus, address = CHIPS[sensor.model].chip, sensor.bus, sensor.address
    assert chip is not None  # noqa: S101 - each model in CHIPS has one,
    assert bus is not None  # noqa: S101 - and the loader fills in its place.
    assert address is not None  # noqa: S101 - the same.
    root = changes.machine.root
    name = declared(root / "sys/bus/i2c").get((bus, address))
    is_declared = name in chip.names
    boot, line = _boot_config(root), overlay_line(chip, address)
    if boot is None or line is None or bus != BUS or name in chip.by_hand:
        release_line(changes)
        if not is_declared:
            print(
                "Note: this sensor has no line in config.txt. Declare it after each restart of the "
                f"Pi: {how_to_declare_by_hand(chip, bus, address)}"
            )
        return
    loads_chip = boot.loads_chip(chip.overlay or "", address, chip.addresses[0])
    if not (loads_chip and boot.enables_i2c):
        added = boot_config.I2C_ON[1] + ("" if loads_chip else f" and {line}")
        print(f"Writing {added} to {boot.file}")
        content = boot_config.with_chip(boot.content, None if loads_chip else line)
        changes.put_boot_config(boot.file, content)
        before = boot_config.own_pin(boot.content)
        if before is not None and kernel_device(root) is not None:
            _unload(changes, before)
    if name is not None and not is_declared:
        print(f"Until a restart, the kernel takes the sensor for {name}. Restart: sudo reboot")
    elif not is_declared:
        _load_chip(changes, line, is_new=not loads_chip)


def _load_chip(changes: Changes, line: str, *, is_new: bool) -> None:
    overlay, *parameters = line.removeprefix("dtoverlay=").split(",")
    print(f"Loading the kernel driver: {line}")
    done = changes.run("dtparam", "i2c_arm=on")
    if done.status == 0:
        done = changes.run("dtoverlay", overlay, *parameters)
    if done.status != 0:
        print(f"Cannot load the driver now ({done.reason}). Restart the Pi: sudo reboot")
        if not is_new:  # A restart may already have been in vain.
            print(OLD_OVERLAY)
        return
    unload = ("dtoverlay", "-r", overlay)
    changes.undo_with("unloading the sensor's driver", lambda: changes.must_run(*unload))


def _is_loaded(root: Path, pin: int) -> bool:
    """Return whether the driver is loaded for GPIO `pin`, or for a line that is not known."""
    return kernel_device(root) is not None and pin in (driver_lines(root) or [pin])


def release_line(changes: Changes) -> None:
    """Disable the kernel's driver if setup enabled it: another driver needs the line."""
    root = changes.machine.root
    boot = _boot_config(root)
    if boot is None or not boot_config.has_block(boot.content):
        return
    print(f"Removing the kernel driver from {boot.file}")
    changes.put_boot_config(boot.file, boot_config.without_driver(boot.content))
    pin = boot_config.own_pin(boot.content)
    if pin is not None and kernel_device(root) is not None:
        _unload(changes, pin)


def _boot_config(root: Path) -> BootConfig | None:
    try:
        return boot_config.load(root)
    except BootConfigError as error:
        raise AgentError(str(error)) from error


def _load(changes: Changes, pin: int) -> None:
    print(f"Loading the kernel driver dht11 for GPIO {pin}")
    done = changes.run("dtoverlay", "dht11", f"gpiopin={pin}")
    if done.status != 0:
        print(f"Cannot load the driver now ({done.reason}). Restart the Pi: sudo reboot")
        return
    unload = ("dtoverlay", "-r", "dht11")
    changes.undo_with("unloading the kernel driver dht11", lambda: changes.must_run(*unload))


def _unload(changes: Changes, pin: int) -> None:
    done = changes.run("dtoverlay", "-r", "dht11")
    if done.status != 0:  # The firmware loaded it when the machine started.
        print(f"The driver for GPIO {pin} stays loaded until the next restart of the Pi.")
        return
    load = ("dtoverlay", "dht11", f"gpiopin={pin}")
    changes.undo_with(f"loading the driver for GPIO {pin}", lambda: changes.must_run(*load))
