"""A DHT22, DHT21 or DHT11 that is read by the kernel's dht11 driver, through sysfs.

The driver timestamps edges in its interrupt handler. So it needs no helper, no group and no
real-time priority, and works on a busy machine. `sensor-agent setup` loads it at each start, by the
line `dtoverlay=dht11,gpiopin=4` in config.txt. Source:
https://github.com/torvalds/linux/blob/master/drivers/iio/humidity/dht11.c
"""

import errno
from collections.abc import Callable
from pathlib import Path

from hw.contracts import ClimateSensor, Reading
from hw.errors import CABLE, Fault, SensorError, damaged_frame, no_answer
from hw.sensors.frame import clone_corrected

DAMAGED_DHT11 = (
    "If this happens always or in frost, the kernel cannot decode this DHT11: set driver = "
    f'"dht11"; otherwise {CABLE}.'
)
"""EIO is also the driver's "Don't know how to decode data". Linux decodes a DHT11 only if it sends
no tenths, Raspberry Pi OS since November 2024 also tenths, and neither decodes the sign:
https://github.com/raspberrypi/linux/pull/6454."""

MISTAKEN = {0.0, 25.6, 51.2, 76.8}
"""Percent. The driver takes a frame for a DHT22's if its first byte is below 4. A DHT11 with a
broken humidity element sends 0, 1, 2 or 3 and then 0, which the driver decodes as these values."""

CELL = 4  # Bytes of a cell in the device tree; `gpios` has three: controller, line, flags.


class KernelSensor(ClimateSensor):
    """The sensor on GPIO `pin` (BCM), read through the kernel's dht11 driver.

    Each `read` looks for the device, so its overlay may be loaded at any time. `model` is `dht22`,
    `dht21` or `dht11`; the driver recognizes each by itself. `sysfs` and `read_text` are for tests.
    """

    spacing = 2.1  # The driver caches its value for 2 s, for both models.
    deadline = 3.0  # Reading each of the two files takes up to the driver's timeout of 1 s.

    def __init__(
        self,
        *,
        model: str,
        pin: int,
        sysfs: Path = Path("/sys"),
        read_text: Callable[[Path], str] = Path.read_text,
    ) -> None:
        self.model = model
        self._pin = pin
        self._sysfs = sysfs
        self._read_text = read_text

    def read(self) -> Reading:
        self._must_be_open()
        try:
            device = self._find()
        except OSError as error:  # No file descriptor is left, for example.
            raise self._named(error) from error
        # Both values are from one conversion: the second read is answered from the driver's cache.
        temperature = self._thousandths(device / "in_temp_input")
        humidity = self._thousandths(device / "in_humidityrelative_input")
        if self.model == "dht11" and humidity in MISTAKEN:
            raise SensorError(
                f"The kernel driver dht11 took the frame for a DHT22's ({humidity:g} %). If the "
                'sensor is a DHT22, set model = "dht22"; if not, its humidity element is broken.',
                fault=Fault.IMPLAUSIBLE,
            )
        return Reading(clone_corrected(temperature), humidity)

    def close(self) -> None:
        self._closed = True

    def _find(self) -> Path:
        found = dht_devices(self._sysfs, self._read_text)
        if not found:
            raise SensorError(
                "The kernel driver dht11 (also for the DHT22) is not loaded. To load it now and at "
                "each start: sudo sensor-agent setup. To load it until the next restart of the Pi: "
                f"sudo dtoverlay dht11 gpiopin={self._pin}",
                fault=Fault.FAILED,
            )
        for device, line in found.items():
            if line == self._pin:
                return device
        unknown = [device for device, line in found.items() if line is None]
        if len(unknown) == 1:  # Its line is not in the device tree, but there is only this device.
            return unknown[0]
        lines = sorted(line for line in found.values() if line is not None)
        if not lines:
            raise SensorError(
                "The kernel driver dht11 is loaded more than once, and the GPIOs are not known. "
                f"Delete all its lines from config.txt but the one for GPIO {self._pin}, then: "
                "sudo reboot",
                fault=Fault.FAILED,
            )
        raise SensorError(
            f"The kernel driver dht11 reads {', '.join(f'GPIO {line}' for line in lines)}, not "
            f"GPIO {self._pin}. If the sensor is wired to GPIO {lines[0]}: sudo sensor-agent setup "
            f"--pin {lines[0]}. If it is wired to GPIO {self._pin}: sudo sensor-agent setup",
            fault=Fault.FAILED,
        )

    def _thousandths(self, file: Path) -> float:
        try:
            return int(self._read_text(file)) / 1000
        except ValueError as error:
            raise SensorError(
                f"The kernel driver dht11 returned no number in {file}: {error}",
                fault=Fault.FAILED,
            ) from error
        except OSError as error:
            raise self._named(error) from error

    def _named(self, error: OSError) -> SensorError:
        if error.errno == errno.EIO:
            if self.model == "dht11":
                return damaged_frame(self._pin, DAMAGED_DHT11)
            return damaged_frame(self._pin)
        if error.errno == errno.ETIMEDOUT:
            return no_answer(self._pin)
        if isinstance(error, PermissionError):
            return SensorError(
                f"This user may not read {error.filename}.",
                fault=Fault.NO_PERMISSION,
            )
        if error.errno == errno.EAGAIN:
            return SensorError(
                "This machine's clock is too coarse for the kernel driver dht11.",
                fault=Fault.FAILED,
            )
        return SensorError(
            f"Cannot read the kernel driver dht11: {error.strerror or error}",
            fault=Fault.FAILED,
        )


def dht_devices(
    sysfs: Path, read_text: Callable[[Path], str] = Path.read_text
) -> dict[Path, int | None]:
    """Return the devices of the dht11 driver, and their GPIOs if the kernel says them.

    Raises OSError if their names cannot be read.
    """
    found: dict[Path, int | None] = {}
    for device in sorted((sysfs / "bus" / "iio" / "devices").glob("iio:device*")):
        try:
            name = read_text(device / "name")
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENODEV}:  # It has just disappeared.
                continue
            raise
        if name.startswith("dht11"):
            found[device] = _line_of(device)
    return found


def _line_of(device: Path) -> int | None:
    """Return the GPIO number that the device tree has for the device or its parent."""
    for node in (device / "of_node", device.resolve().parent / "of_node"):
        try:
            gpios = (node / "gpios").read_bytes()
        except OSError:
            continue
        if len(gpios) >= 2 * CELL:
            return int.from_bytes(gpios[CELL : 2 * CELL], "big")
    return None
