"""The firmware's configuration file, config.txt: what it loads, and the line of the sensor.

`load` tells which overlays the firmware will load at the next start. What the owner wrote stays as
it is, to the byte. The only lines that are added and removed are between two marks:

    # begin sensor-agent
    [all]
    dtoverlay=dht11,gpiopin=4
    # end sensor-agent

https://www.raspberrypi.com/documentation/computers/config_txt.html
"""

import errno
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hw import boot_overlays, device_tree
from hw.boot_overlays import BOARD, DRIVER, I2C, OFF, Ignored, Overlay
from hw.errors import BootConfigError
from hw.overlay_lines import OTHER_BUSES

PLACES = ("boot/firmware/config.txt", "boot/config.txt")  # The second up to bullseye.
OVERLAYS = "overlays/"  # Where the firmware looks for overlays, unless the file says otherwise.

I2C_SENSOR = "i2c-sensor"  # The overlay of sensors on I2C: on the header's bus, if no other is set.

BEGIN, END, EVERY_BOARD = b"# begin sensor-agent", b"# end sensor-agent", b"[all]"
OURS = re.compile(
    rb"dtoverlay=dht11,gpiopin=([0-9]+)"
    rb"|dtoverlay=|dtparam=i2c_arm=on|dtoverlay=i2c-sensor,[a-z0-9]+(?:,addr=0x[0-9a-f]{2})?"
)
NO_OVERLAY = "dtoverlay="
I2C_ON = (NO_OVERLAY, "dtparam=i2c_arm=on")
"""Enables the header's I2C bus. Without the first line, a line dtparam belongs to the overlay
before it: https://www.raspberrypi.com/documentation/computers/configuration.html#part3"""

LINES = re.compile(rb"[^\n]*\n|[^\n]+")


@dataclass(frozen=True, slots=True)
class BootConfig:
    """The file, and what it makes the firmware do at the next start.

    `overlays` are those that it loads on this board, including the parameters of the board itself.
    `ignored` are its lines that have no effect on this board. `offers_driver` is whether the
    overlay of the kernel's dht11 driver is installed.
    """

    file: Path
    content: bytes
    overlays: tuple[Overlay, ...]
    ignored: tuple[Ignored, ...]
    offers_driver: bool

    def users(self, pin: int) -> list[Overlay]:
        """Return the overlays that use GPIO `pin` (BCM)."""
        return [one for one in self.overlays if pin in one.lines]

    def chips_at(self, address: int, defaults: Mapping[str, int]) -> dict[str, Overlay]:
        """Return what i2c-sensor declares at this address of the header's I2C bus in any case.

        `defaults` are the parameters of the overlay to look for, with their default addresses.
        """
        found = {}
        for one in self.overlays:
            if one.name != I2C_SENSOR or one.filter or one.parameters.keys() & OTHER_BUSES:
                continue
            for parameter in one.parameters.keys() & defaults.keys():
                text = one.parameters.get("addr", hex(defaults[parameter]))
                with suppress(ValueError):  # The firmware loads nothing for a wrong number.
                    if int(text, 0) == address:
                        found[parameter] = one
        return found

    def loads_chip(self, parameter: str, address: int, default: int) -> bool:
        """Return whether i2c-sensor declares this chip on the header's I2C bus in any case."""
        return parameter in self.chips_at(address, {parameter: default})

    @property
    def enables_i2c(self) -> bool:
        """Whether the header's I2C bus is enabled in any case."""
        return any(
            one.name == BOARD and one.filter is None and one.parameters.get(I2C, "off") not in OFF
            for one in self.overlays
        )

    def loads_driver(self, pin: int) -> bool:
        """Return whether the kernel's dht11 driver is loaded for GPIO `pin` in any case."""
        loaded = (one for one in self.overlays if one.name == DRIVER and one.filter is None)
        return any(pin in one.lines for one in loaded)

    def ignored_driver(self, pin: int) -> Ignored | None:
        """Return a line that would load the driver for GPIO `pin` on another board."""
        return next((one for one in self.ignored if one.loads(DRIVER, pin)), None)


def load(root: Path = Path("/")) -> BootConfig | None:
    """Return what the file of this machine says, or None if there is none.

    `root` is the root directory. Raises BootConfigError if the file cannot be read.
    """
    file = find(root)
    if file is None:
        return None
    content, partition = read(file), file.parent
    effect = boot_overlays.read(
        content, device_tree.board(root), lambda name: _included(partition, name)
    )
    offers_driver = _offers_driver(partition, effect.settings)
    return BootConfig(file, content, effect.overlays, effect.ignored, offers_driver)


def _included(partition: Path, name: str) -> bytes:
    """Return the content of a file on the boot partition, empty if it does not exist."""
    parts = [part for part in PurePosixPath(name).parts if part not in {"/", ".."}]
    file = partition.joinpath(*parts)
    return read(file) if _exists(file) else b""


def _offers_driver(partition: Path, settings: Mapping[str, str]) -> bool:
    """Return whether the firmware finds the overlay of the kernel's dht11 driver.

    It looks below `os_prefix` only if there is a file README beside the overlays:
    https://www.raspberrypi.com/documentation/computers/config_txt.html#os_prefix
    """
    overlay_prefix = settings.get("overlay_prefix", OVERLAYS)
    prefix = settings.get("os_prefix", "") + overlay_prefix
    if not (partition / f"{prefix}README".lstrip("/")).exists():
        prefix = overlay_prefix
    return (partition / f"{prefix}{DRIVER}.dtbo".lstrip("/")).exists()


def overlay_line(pin: int) -> str:
    """Return the line that loads the driver for the sensor on GPIO `pin` (BCM)."""
    return f"dtoverlay=dht11,gpiopin={pin}"


def find(root: Path = Path("/")) -> Path | None:
    """Return the path of the file, or None if there is none; `root` is the root directory."""
    return next((root / place for place in PLACES if _exists(root / place)), None)


def _exists(file: Path) -> bool:
    try:
        return stat.S_ISREG(file.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # Reading it will report the reason.
        return True


def read(file: Path) -> bytes:
    """Return the content of the file. Raises BootConfigError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise BootConfigError(f"Cannot read {file}: {_reason(error)}.") from error


def own_pin(content: bytes) -> int | None:
    """Return the pin in our block; None if there is no block, or no pin in it."""
    ours = False
    for line in LINES.findall(content):
        text = line.rstrip(b"\r\n")
        if ours and (found := OURS.fullmatch(text)) and found[1]:
            return int(found[1])
        ours = text == BEGIN or (ours and text == EVERY_BOARD)
    return None


def has_block(content: bytes) -> bool:
    """Return whether our block, or the mark at its beginning, is in the file."""
    return any(line.rstrip(b"\r\n") == BEGIN for line in LINES.findall(content))


def own_lines(content: bytes) -> set[str]:
    """Return the lines of our block that the owner has not written, too."""
    owners = set(without_driver(content).splitlines())
    return {line.decode("latin-1") for line in content.splitlines() if line not in owners}


def with_driver(content: bytes, pin: int) -> bytes:
    """Return the content with our block for a DHT on GPIO `pin`: see `with_block`."""
    return with_block(content, overlay_line(pin))


def with_chip(content: bytes, line: str | None) -> bytes:
    """Return the content with our block for a sensor on I2C: see `with_block`.

    `line` declares the sensor; with None, the block only enables the bus.
    """
    if line is None:
        return with_block(content, *I2C_ON)
    # The owner may append dtparam=i2c0=on, which the overlay would take for a choice of its bus.
    return with_block(content, *I2C_ON, line, NO_OVERLAY)


def with_block(content: bytes, *lines: str) -> bytes:
    """Return the content with these lines in our block, at the end, in the file's line ends."""
    content = without_driver(content)
    end = b"\r\n" if content.partition(b"\n")[0].endswith(b"\r") else b"\n"
    if content and not content.endswith(b"\n"):
        content += end
    # [all], because the lines before may be for one board model only.
    block = (BEGIN, EVERY_BOARD, *(line.encode() for line in lines), END)
    return content + b"".join(line + end for line in block)


def without_driver(content: bytes) -> bytes:
    """Return the content without our block, even if the owner lost one of its marks.

    Lines that the owner wrote after the block still apply to every board.
    """
    kept: list[bytes] = []
    ours = owes_filter = False
    for line in LINES.findall(content):
        text = line.rstrip(b"\r\n")
        if text in {BEGIN, END}:
            ours = text == BEGIN
        elif ours and text == EVERY_BOARD:
            owes_filter = True
        elif not (ours and OURS.fullmatch(text)):
            ours = False
            if owes_filter and text:
                if not text.startswith(b"["):
                    kept.append(EVERY_BOARD + line[len(text) :])
                owes_filter = False
            kept.append(line)
    return b"".join(kept)


def write(file: Path, content: bytes) -> None:
    """Replace the file so that a power cut leaves the old content or the new one.

    The boot partition is FAT, which has neither owners nor links. Raises BootConfigError if it is
    read-only, full or faulty; the file is then unchanged.
    """
    file = file.resolve()
    new = file.with_name(f"{file.name}.new")
    try:
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
            _write_synced(new, content, mode)
            new.rename(file)
        except BaseException:  # A signal, too, must not leave it behind.
            with suppress(OSError):  # It may not exist, and the first error is the one to report.
                new.unlink()
            raise
    except OSError as error:
        raise BootConfigError(
            f"Cannot write {file}, which is unchanged: {_reason(error)}.{_advice(error, file)}"
        ) from error
    _sync_directory(file.parent)


def _write_synced(file: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # Not every file system can; the content itself is on disk.
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _advice(error: OSError, file: Path) -> str:
    if error.errno == errno.EROFS:
        return f" To make it writable: sudo mount -o remount,rw {file.parent}"
    if error.errno == errno.ENOSPC:
        return f" Remove files that are not needed from {file.parent}."
    return ""
