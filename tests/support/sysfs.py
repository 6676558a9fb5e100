"""A sysfs with I2C buses, and sensors on them as the kernel's drivers show them."""

import errno
import os
from pathlib import Path
from typing import Any

from hw.sensors.models import CHIPS, Chip


def chip_of(model: str) -> Chip:
    chip = CHIPS[model].chip
    assert chip is not None
    return chip


def add_bus(sysfs: Path, bus: int = 1) -> None:
    (sysfs / f"bus/i2c/devices/i2c-{bus}").mkdir(parents=True, exist_ok=True)


def add_chip(
    sysfs: Path,
    model: str,
    *,
    bus: int = 1,
    address: int | None = None,
    name: str = "",
    temperature: float = 21.5,
    humidity: float = 45.6,
    number: int = 0,
    is_bound: bool = True,
) -> Path:
    """Add a sensor, and return the directory of its values (of the device, if it is unbound)."""
    chip = chip_of(model)
    add_bus(sysfs, bus)
    place = f"{bus}-{chip.addresses[0] if address is None else address:04x}"
    # As in sysfs, bus/i2c/devices has links.
    device = sysfs / "devices/platform/soc" / f"i2c-{bus}" / place
    device.mkdir(parents=True)
    (sysfs / "bus/i2c/devices" / place).symlink_to(device)
    (device / "name").write_text(f"{name or chip.names[0]}\n")
    driver = sysfs / "bus/i2c/drivers" / chip.driver
    driver.mkdir(parents=True, exist_ok=True)
    if not is_bound:
        return device
    (device / "driver").symlink_to(driver)
    values = device / chip.values.directory.replace("*", str(number))
    values.mkdir(parents=True)
    set_values(values, model, temperature, humidity)
    return values


def set_values(values: Path, model: str, temperature: float, humidity: float) -> None:
    chip = chip_of(model)
    for file, value in (
        (chip.values.temperature, temperature),
        (chip.values.humidity, humidity),
    ):
        if chip.form == "input":
            # Newer kernels add decimals to IIO's values.
            text = f"{value * 1000:.9f}" if "iio" in values.name else str(round(value * 1000))
            (values / f"{file}_input").write_text(f"{text}\n")
        else:  # The HDC1080's scale of a temperature, for both.
            offset, scale = -15887.515151, 2.517700195
            (values / f"{file}_raw").write_text(f"{round(value * 1000 / scale - offset)}\n")
            (values / f"{file}_offset").write_text(f"{offset}\n")
            (values / f"{file}_scale").write_text(f"{scale}\n")


def failing(number: int, file: str = "temp") -> Any:
    """Return a `read_text` for which files whose name has `file` in it fail with this errno."""

    def read_text(path: Path) -> str:
        if file in path.name:
            raise OSError(number, os.strerror(number), str(path))
        return path.read_text()

    return read_text


UNPLUGGED = errno.EREMOTEIO
