"""A sensor on I2C that is read by a driver of the kernel, through sysfs.

It is found by its bus and address, because the numbers of hwmon and IIO devices follow the order in
which the drivers were bound. Reading needs no group and no device file. What each driver repeats,
checks and returns is in `hw.sensors.models`.
"""

import errno
from collections.abc import Callable
from pathlib import Path

from hw.contracts import ClimateSensor, Reading
from hw.errors import Fault, SensorError
from hw.sensors.models import BUS, CHIPS, Chip

CONFIG = "/boot/firmware/config.txt"

SILENT = {errno.EREMOTEIO, errno.ENXIO, errno.ETIMEDOUT, errno.EAGAIN}
"""No acknowledgement, a bus that is stuck, and (on a Pi 5) an arbitration that was lost."""

OLD_OVERLAY = (
    "If you have done so already, the overlay i2c-sensor may be too old for the sensor (AHT20: "
    "April 2025). To see which sensors it knows: dtoverlay -h i2c-sensor. To update it: sudo apt "
    "update && sudo apt full-upgrade"
)

WIRES = "Check its power, ground, SDA and SCL."
SHORTEN = "If this happens often, shorten its wires, and check their contacts."


def overlay_line(chip: Chip, address: int) -> str | None:
    """Return the line of config.txt that declares this chip, or None if no overlay does."""
    if chip.overlay is None:
        return None
    other = f",addr=0x{address:02x}" if address != chip.addresses[0] else ""
    return f"dtoverlay=i2c-sensor,{chip.overlay}{other}"


def is_declared_by_setup(chip: Chip, bus: int, address: int) -> bool:
    """Return whether `sensor-agent setup` declares this chip: an overlay does, on the header."""
    return bus == BUS and overlay_line(chip, address) is not None


def how_to_declare_by_hand(chip: Chip, bus: int, address: int) -> str:
    """Return the command that makes the kernel read this chip until the next restart of the Pi."""
    return (
        f"echo {chip.names[0]} 0x{address:02x} | sudo tee /sys/bus/i2c/devices/i2c-{bus}/new_device"
    )


def _how_to_set_up(model: str, bus: int, address: int) -> str:
    other_bus = f" --bus {bus}" if bus != BUS else ""
    return f"sudo sensor-agent setup --model {model} --address 0x{address:02x}{other_bus}"


class I2cSensor(ClimateSensor):
    """The sensor of a model in `CHIPS` on I2C bus `bus` at `address`.

    Each `read` looks for the device, so it may be declared at any time. `sysfs` and `read_text` are
    for tests.
    """

    deadline = 10.0  # A transfer on a bus that is stuck takes a second.

    def __init__(
        self,
        *,
        model: str,
        bus: int | None = None,
        address: int | None = None,
        sysfs: Path = Path("/sys"),
        read_text: Callable[[Path], str] = Path.read_text,
    ) -> None:
        known = CHIPS[model].chip
        assert known is not None  # noqa: S101 - each model in CHIPS has one.
        self.model = model
        self.spacing = known.spacing
        self._chip = known
        self._bus = BUS if bus is None else bus
        self._address = known.addresses[0] if address is None else address
        self._i2c = sysfs / "bus" / "i2c"
        self._read_text = read_text
        self._name = CHIPS[model].title.partition(" ")[0]
        self._place = f"{self._name} at address 0x{self._address:02x} of I2C bus {self._bus}"

    def read(self) -> Reading:
        self._must_be_open()
        try:
            directory = self._find()
            self._check_heater(directory)
            self._check_interval(directory)
            _, temperature, humidity = self._chip.values
            return Reading(
                self._thousandths(directory, temperature) / 1000,
                self._thousandths(directory, humidity) / 1000,
            )
        except OSError as error:
            raise self._named(error) from error

    def close(self) -> None:
        self._closed = True

    def _find(self) -> Path:
        """Return the directory of the values."""
        device = self._i2c / "devices" / f"{self._bus}-{self._address:04x}"
        try:
            name = self._read_text(device / "name").strip()
        except FileNotFoundError:
            raise self._undeclared() from None
        if name not in self._chip.names:
            raise self._declared_otherwise(name)
        found = sorted(device.glob(self._chip.values.directory))
        if found:
            return found[0]
        raise self._unbound(device, name)

    def _declared_otherwise(self, name: str) -> SensorError:
        """Return the error about a device that is declared under the name of another model."""
        other = next((key for key, one in CHIPS.items() if one.chip and name in one.chip.names), "")
        remedy = f"remove what declares {name}, then: sudo reboot"
        if is_declared_by_setup(self._chip, self._bus, self._address):
            line = overlay_line(self._chip, self._address)
            remedy = f"replace the line for {name} in {CONFIG} by {line}, then: sudo reboot"
        if other:
            use = _how_to_set_up(other, self._bus, self._address)
            remedy = f"if that is right: {use}. If not, {remedy}"
        return _failed(
            f"The device at address 0x{self._address:02x} of I2C bus {self._bus} is declared to "
            f"the kernel as {name}, not as the {self._name} of [sensor]. {remedy[0].upper()}"
            f"{remedy[1:]}"
        )

    def _undeclared(self) -> SensorError:
        devices = self._i2c / "devices"
        if not (devices / f"i2c-{self._bus}").exists():
            others = sorted(int(one.name[4:]) for one in devices.glob("i2c-[0-9]*"))
            there_are = f"There is I2C bus {', '.join(map(str, others))}. " if others else ""
            enable = "sudo raspi-config, Interface Options, I2C, Yes"
            if is_declared_by_setup(self._chip, self._bus, self._address):
                enable = "sudo sensor-agent setup"
            return _failed(
                f"This machine has no I2C bus {self._bus}. {there_are}To enable bus {BUS}, the "
                f"header's: {enable}"
            )
        elsewhere = [
            place
            for place, name in declared(self._i2c, self._read_text).items()
            if name in self._chip.names
        ]
        if elsewhere:
            bus, address = elsewhere[0]
            return _failed(
                f"No {self._place} is declared to the kernel, but one at address 0x{address:02x} "
                f"of bus {bus}. To read that one: {_how_to_set_up(self.model, bus, address)}"
            )
        place = self._chip, self._bus, self._address
        how = f"To declare it until the next restart of the Pi: {how_to_declare_by_hand(*place)}"
        if is_declared_by_setup(*place):
            how = f"To declare it now and at each start: sudo sensor-agent setup. {how}"
        return _failed(f"No {self._place} is declared to the kernel. {how}")

    def _unbound(self, device: Path, name: str) -> SensorError:
        driver = self._chip.driver
        if not (self._i2c / "drivers" / driver).is_dir():
            module = self._chip.module or driver
            return _failed(
                f"The kernel's driver of the {self._place} is not loaded. To load it: sudo "
                f"modprobe {module}. If there is no such module, this kernel cannot read it."
            )
        if (remark := self._chip.newer.get(name)) is not None:
            return SensorError(
                f"The kernel's driver {driver} did not take the {self._place}, which is declared "
                f"as {name}. Either the sensor did not answer: check the model, its wires and its "
                f"address, and restart. Or this kernel is too old for that name ({remark}).",
                fault=Fault.NO_ANSWER,
            )
        return SensorError(
            f"The kernel found no {self._place} when it looked for it. Check the model, its wires "
            "and its address, then: "
            f"echo {device.name} | sudo tee /sys/bus/i2c/drivers/{driver}/bind",
            fault=Fault.NO_ANSWER,
        )

    def _check_heater(self, directory: Path) -> None:
        """Refuse values of a sensor that heats itself, to dry or for a test."""
        file = directory / self._chip.heater
        if self._chip.heater and file.exists() and self._number(file) != 0:
            remedy = (
                "It turns itself off: stop the program that turns it on."
                if self._chip.heats_briefly
                else f"Turn it off: echo 0 | sudo tee {file}"
            )
            raise _failed(
                f"The heater of the {self._place} is on, so its values are wrong. {remedy}"
            )

    def _check_interval(self, directory: Path) -> None:
        """Refuse values that the driver may repeat for longer than `spacing`."""
        file = directory / "update_interval"  # In milliseconds.
        if file.exists() and (interval := self._number(file) / 1000) >= self.spacing:
            raise _failed(
                f"The kernel's driver repeats the values of the {self._place} for {interval:g} s, "
                f"so they may be old. Shorten it: echo 2000 | sudo tee {file}"
            )

    def _thousandths(self, directory: Path, name: str) -> float:
        if self._chip.form == "input":
            return self._number(directory / f"{name}_input")
        offset = directory / f"{name}_offset"
        raw = self._number(directory / f"{name}_raw")
        raw += self._number(offset) if offset.exists() else 0.0
        return raw * self._number(directory / f"{name}_scale")

    def _number(self, file: Path) -> float:
        # Newer kernels write IIO's values with decimals.
        try:
            return float(self._read_text(file))
        except ValueError as error:
            raise _failed(
                f"The kernel's {self._chip.driver} driver returned no number in {file}: {error}"
            ) from error

    def _named(self, error: OSError) -> SensorError:
        reason, fault = error.strerror or str(error), Fault.FAILED
        number = error.errno
        if number == self._chip.checksum:
            fault = Fault.CHECKSUM
            sentence = f"The answer of the {self._place} was damaged. {SHORTEN}"
        elif number in SILENT:
            fault = Fault.NO_ANSWER
            sentence = f"The {self._place} did not answer ({reason}). {WIRES}"
            if self.model == "hdc1080":
                # The driver sets it up only once. By its data sheet, it then measures both values
                # at once, for longer than the driver waits. Not tried on a real one.
                sentence += (
                    " If it has lost its power since the start of the Pi, restart the Pi: sudo "
                    "reboot"
                )
        elif number == errno.EIO and self.model == "bme280":
            # The chip skips measurements from a loss of power until its driver is bound again.
            fault = Fault.NO_ANSWER
            sentence = (
                f"The {self._place} is not measuring, as after a loss of power. Restart the Pi: "
                "sudo reboot"
            )
        elif number in {errno.EIO, errno.ENODATA}:
            fault = Fault.CHECKSUM
            sentence = f"The answer of the {self._place} was incomplete ({reason}). {SHORTEN}"
        elif number in {errno.ENOENT, errno.ENODEV}:
            sentence = f"The {self._place} was removed from the kernel while it was read."
        elif isinstance(error, PermissionError):
            fault = Fault.NO_PERMISSION
            sentence = f"This user may not read {error.filename}."
        elif number == errno.EBUSY:
            fault = Fault.BUSY
            sentence = (
                f"The {self._place} is in use by another program, through its IIO buffer. Stop "
                "that program."
            )
        else:
            sentence = f"Cannot read the {self._place}: {reason}"
        return SensorError(sentence, fault=fault)


def declared(
    i2c: Path, read_text: Callable[[Path], str] = Path.read_text
) -> dict[tuple[int, int], str]:
    """Return the names of all declared devices by bus and address. `i2c` is /sys/bus/i2c."""
    found = {}
    for device in sorted((i2c / "devices").glob("[0-9]*-[0-9a-f]*")):
        bus, _, address = device.name.partition("-")
        try:
            found[int(bus), int(address, 16)] = read_text(device / "name").strip()
        except (OSError, ValueError):  # It was removed, or is not an I2C device.
            continue
    return found


def _failed(sentence: str) -> SensorError:
    return SensorError(sentence, fault=Fault.FAILED)
