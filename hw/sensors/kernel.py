"""The kernel's own driver, dht11, which reads both a DHT11 and a DHT22.

It time-stamps edges in its interrupt handler, so it needs no helper, no group and no real-time
priority, and a busy machine does not spoil its readings. A person enables it once, as root: with
`dtoverlay=dht11,gpiopin=4` in /boot/firmware/config.txt on a Raspberry Pi.
"""

import errno
from collections.abc import Callable
from pathlib import Path

from hw.contracts import ClimateSensor, Reading
from hw.errors import Fault, SensorError, damaged_frame, no_answer
from hw.sensors.frame import clone_corrected

HINT = {
    "dht22": "",
    # EIO, too, is the driver's "Don't know how to decode data" (raspberrypi/linux#6220, #6454).
    "dht11": " If it is always, the kernel may be older than November 2024 and read no DHT11 that "
    "sends tenths: upgrade it, or choose the driver 'dht11'.",
}

CELLS = 4  # Bytes in a cell of the device tree; `gpios` is: controller, line, flags.


class KernelSensor(ClimateSensor):
    """A sensor behind the kernel's dht11 driver, found by its name and GPIO number.

    It is looked for whenever it is read, so overlays may come, go and change places meanwhile.
    `sysfs` and `read_text` are for tests.
    """

    spacing = 2.1  # The driver answers from its memory for 2 s, whichever the model.
    deadline = 3.0  # Each of the two files may take the driver's time-out of 1 s.

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
        self._devices = sysfs / "bus" / "iio" / "devices"
        self._read_text = read_text
        self._closed = False

    def read(self) -> Reading:
        if self._closed:
            raise SensorError("The sensor is closed.", fault=Fault.FAILED)
        device = self._find()  # Anew: its number may have become another sensor's.
        # One conversion: the second file is answered from the driver's memory.
        temperature = self._thousandths(device / "in_temp_input")
        humidity = self._thousandths(device / "in_humidityrelative_input")
        return Reading(clone_corrected(temperature), humidity)

    def close(self) -> None:
        self._closed = True

    def _find(self) -> Path:
        found: dict[Path, int | None] = {}
        for device in sorted(self._devices.glob("iio:device*")):
            try:
                name = self._read_text(device / "name")
            except OSError:  # It went away meanwhile.
                continue
            if name.startswith("dht11"):
                found[device] = _line_of(device)
        if not found:
            raise SensorError(
                "The kernel has no dht11 device. Enable it: add the line "
                f"dtoverlay=dht11,gpiopin={self._pin} to /boot/firmware/config.txt and restart "
                f"(or, until then: sudo dtoverlay dht11 gpiopin={self._pin}).",
                fault=Fault.FAILED,
            )
        for device, line in found.items():
            if line == self._pin:
                return device
        unknown = [device for device, line in found.items() if line is None]
        if len(unknown) == 1:  # No device tree tells its line; there is no other it could be.
            return unknown[0]
        lines = ", ".join(sorted(f"GPIO {line}" for line in found.values() if line is not None))
        raise SensorError(
            f"The kernel's dht11 driver reads {lines or 'unknown lines'}, not GPIO {self._pin}: "
            f"correct gpiopin in its dtoverlay line, or the pin configured here.",
            fault=Fault.FAILED,
        )

    def _thousandths(self, file: Path) -> float:
        try:
            return int(self._read_text(file)) / 1000
        except ValueError as error:
            raise SensorError(
                f"The kernel's dht11 driver gave no number in {file}: {error}",
                fault=Fault.FAILED,
            ) from error
        except OSError as error:
            raise self._named(error) from error

    def _named(self, error: OSError) -> SensorError:
        if error.errno == errno.EIO:
            return damaged_frame(self._pin, HINT[self.model])
        if error.errno == errno.ETIMEDOUT:
            return no_answer(self._pin)
        if isinstance(error, PermissionError):
            return SensorError(
                f"This user may not read {error.filename}.", fault=Fault.NO_PERMISSION
            )
        if error.errno == errno.EAGAIN:
            return SensorError(
                "This machine's clock is too coarse for the kernel's dht11 driver.",
                fault=Fault.FAILED,
            )
        return SensorError(
            f"The kernel's dht11 driver could not be read: {error.strerror or error}",
            fault=Fault.FAILED,
        )


def _line_of(device: Path) -> int | None:
    """Return the GPIO number in the device tree, of the device or of its parent."""
    for node in (device / "of_node", device.resolve().parent / "of_node"):
        try:
            gpios = (node / "gpios").read_bytes()
        except OSError:
            continue
        if len(gpios) >= 2 * CELLS:
            return int.from_bytes(gpios[CELLS : 2 * CELLS], "big")
    return None
