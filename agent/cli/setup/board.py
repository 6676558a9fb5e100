"""Examines the board, and enables or disables the kernel's sensor driver."""

from pathlib import Path

from agent.cli.setup.changes import Changes
from agent.config.loader import IMAGE_NAMES
from agent.diagnostics.checks.gpio import kernel_device
from agent.errors import AgentError
from agent.storage.machine_id import board_id
from hw import boot_config
from hw.errors import BootConfigError
from hw.gpio import is_raspberry_pi


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
    file = boot_config.find(root)
    if (file is not None and boot_config.offers_driver(file)) or kernel_device(root) is not None:
        return "kernel"
    return model or "dht22"


def proposed_device_id(root: Path) -> str | None:
    """Return an id made from the board's serial number, or None if it has none."""
    number = board_id(root)
    return None if number is None else f"pi-{number[-8:].lower()}"


def is_image_name(device_id: str) -> bool:
    """Return whether `device_id` is the host name of every new image."""
    return device_id.lower() in IMAGE_NAMES


def use_kernel_driver(changes: Changes, pin: int) -> None:
    """Make the kernel read the sensor on GPIO `pin`, now and after each start of the machine."""
    root = changes.machine.root
    loaded = kernel_device(root) is not None
    file = boot_config.find(root)
    if file is None:
        if not loaded:
            print(
                "Note: this system has no /boot/firmware/config.txt. Enable the kernel's dht11 "
                f"driver on GPIO {pin} yourself."
            )
        return
    content = _read(file)
    if boot_config.loads_driver(content, pin):
        if not loaded:
            _load(changes, pin)
        return
    print(f"Writing {boot_config.overlay_line(pin)} to {file}")
    changes.put_boot_config(file, boot_config.with_driver(content, pin))
    before = boot_config.own_pin(content)
    if loaded and before is not None:
        _unload(changes, before)
    _load(changes, pin)


def release_line(changes: Changes) -> None:
    """Disable the kernel's driver if setup enabled it: another driver needs the line."""
    root = changes.machine.root
    file = boot_config.find(root)
    if file is None:
        return
    content = _read(file)
    if not boot_config.has_block(content):
        return
    print(f"Removing the kernel's driver from {file}")
    changes.put_boot_config(file, boot_config.without_driver(content))
    pin = boot_config.own_pin(content)
    if pin is not None and kernel_device(root) is not None:
        _unload(changes, pin)


def _read(file: Path) -> bytes:
    try:
        return boot_config.read(file)
    except BootConfigError as error:
        raise AgentError(str(error)) from error


def _load(changes: Changes, pin: int) -> None:
    print(f"Loading the kernel's dht11 driver for GPIO {pin}")
    done = changes.run("dtoverlay", "dht11", f"gpiopin={pin}")
    if done.status != 0:
        print(f"Cannot load the driver now ({done.reason}). Restart the machine: sudo reboot")
        return
    unload = ("dtoverlay", "-r", "dht11")
    changes.undo_with("unloading the kernel's dht11 driver", lambda: changes.must_run(*unload))


def _unload(changes: Changes, pin: int) -> None:
    done = changes.run("dtoverlay", "-r", "dht11")
    if done.status != 0:  # The firmware loaded it when the machine started.
        print(f"The driver for GPIO {pin} stays loaded until the next restart of the machine.")
        return
    load = ("dtoverlay", "dht11", f"gpiopin={pin}")
    changes.undo_with(f"loading the driver for GPIO {pin}", lambda: changes.must_run(*load))
