"""Finds out at which addresses of an I2C bus something answers, through the bus's device file.

The only addresses that are tried are those of the known sensors. Each gets its address for writing
and no data: no register is set, and an expander's outputs stay as they are. So the models are not
told apart, because that would need commands, which mean something else to another device at the
same address. An address whose device has a driver is left to that driver.
"""

import os
import struct
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

from hw.sensors.models import BUS, CHIPS

SET_ADDRESS, TRANSFER = 0x0703, 0x0720  # I2C_SLAVE and I2C_SMBUS of linux/i2c-dev.h.
WRITE, QUICK = 0, 0
QUICK_WRITE = struct.pack("BBIP", WRITE, 0, QUICK, 0)  # struct i2c_smbus_ioctl_data.

ADDRESSES = sorted({one for known in CHIPS.values() if known.chip for one in known.chip.addresses})


def models_at(address: int) -> list[str]:
    """Return the models that can have this address."""
    return [name for name, known in CHIPS.items() if known.chip and address in known.chip.addresses]


Control = Callable[[int, int, int | bytes], object]


def _control(descriptor: int, request: int, argument: int | bytes) -> None:
    ioctl(descriptor, request, argument)


def answering(
    bus: int = BUS, *, dev: Path = Path("/dev"), control: Control = _control
) -> list[int]:
    """Return the addresses at which a device without a driver answers.

    The list is empty if there is no such bus, or this user may not use it. Raises TimeoutError if
    the bus is stuck. `control` is for tests.
    """
    try:
        descriptor = os.open(dev / f"i2c-{bus}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return [address for address in ADDRESSES if _answers(descriptor, address, control)]
    finally:
        os.close(descriptor)


def _answers(descriptor: int, address: int, control: Control) -> bool:
    try:
        control(descriptor, SET_ADDRESS, address)  # EBUSY: it has a driver.
        control(descriptor, TRANSFER, QUICK_WRITE)
    except TimeoutError:  # The bus is stuck, and each further address would take a second.
        raise
    except OSError:
        return False
    return True
