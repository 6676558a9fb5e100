"""One GPIO line as an output: gpiozero over lgpio, with what they leave to their caller."""

import importlib
import os
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hw.errors import DriverError, Fault, HardwareError, LineError

LINES = range(28)
"""The GPIO numbers (BCM) of the header of every Raspberry Pi since the B+."""

MODEL = "proc/device-tree/model"

PWM_HERTZ = 100
"""lgpio's PWM is a thread; this is gpiozero's default, and fast enough for the eye."""


def is_raspberry_pi(root: Path = Path("/")) -> bool:
    """Return whether this machine is a Raspberry Pi; `root` is the root directory."""
    try:
        return "Raspberry Pi" in (root / MODEL).read_text(errors="replace")
    except OSError:
        return False


class Output:
    """A line that is driven, at first low if `active_high`, else high: off.

    A line that is off before stays off: it is claimed at the level of off, where gpiozero by
    itself claims it low first and so flashes what lights while low. Between the claim as input,
    which gpiozero makes of any line, and that as output the line floats, for some microseconds.

    While the level is neither 0 nor 1, lgpio switches the line by PWM from a thread, beginning
    with up to one period (10 ms) of low; at 0 and 1 the line is steady. After `close` it is an
    input. After a crash it stays as it was, until the next `Output` of that line.

    `factory` is a pin factory of gpiozero, for tests; else it is lgpio's. Raise `DriverError` or
    `LineError`.
    """

    def __init__(self, pin: int, *, active_high: bool = True, factory: Any = None) -> None:
        if isinstance(pin, bool) or pin not in LINES:
            raise DriverError(f"There is no GPIO {pin!r} on the header: choose 0 to 27.")
        self.pin = pin
        self._device: Any = None
        self._factory = factory
        try:
            with self._errors_named():
                if factory is None:
                    self._factory = _lgpio_factory()
                    self._claim(active_high=active_high)
                self._device = importlib.import_module("gpiozero").PWMOutputDevice(
                    pin,
                    active_high=active_high,
                    frequency=None,  # No PWM until it is needed.
                    pin_factory=self._factory,
                )
        except HardwareError:
            with suppress(LineError):  # The first error is the one to tell.
                self.close()
            raise

    def drive(self, level: float) -> None:
        """Drive the line to this part of the time, 0.0 (off) to 1.0 (on), or raise `LineError`."""
        with self._errors_named():
            if level in {0.0, 1.0}:
                self._device.frequency = None
            elif self._device.frequency is None:
                self._device.frequency = PWM_HERTZ
            self._device.value = level

    def close(self) -> None:
        """Make the line an input and give it back. Again is harmless."""
        device, factory = self._device, self._factory
        self._device = self._factory = None
        with self._errors_named():
            try:
                if device is not None:
                    device.close()
            finally:
                if factory is not None:
                    factory.close()

    def _claim(self, *, active_high: bool) -> None:
        # lgpio does nothing when a line that is an output is claimed as output again, so this is
        # the level that counts, not the low of gpiozero's own claim.
        self._factory.pin(f"GPIO{self.pin}")
        handle = self._factory._handle  # noqa: SLF001 - gpiozero has no public name for it
        _lgpio().gpio_claim_output(handle, self.pin, int(not active_high))

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except HardwareError:
            raise
        except Exception as error:  # gpiozero and lgpio have no common root but this.
            raise _named(error, self.pin) from error


def _named(error: Exception, pin: int) -> HardwareError:
    # lgpio's own errors show themselves in quotes.
    text = str(error.args[0]) if error.args and not isinstance(error, OSError) else str(error)
    kind = type(error).__name__
    if "GPIO busy" in text or kind == "GPIOPinInUse":
        return LineError(
            f"Another program holds GPIO {pin} (gpioinfo, of the package gpiod, tells which): stop "
            "it, or choose another pin.",
            fault=Fault.BUSY,
        )
    if "can not open gpiochip" in text:
        chips = sorted(Path("/dev").glob("gpiochip*"))
        if not chips:
            return DriverError("This machine has no GPIO lines: there is no /dev/gpiochip0.")
        if not all(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
            return LineError(
                f"This user may not use {chips[0]}. Join its group, then log in again: "
                "sudo usermod -aG gpio $USER.",
                fault=Fault.NO_PERMISSION,
            )
    if kind == "PinUnknownPi":
        return DriverError("This machine is not a Raspberry Pi that gpiozero knows.")
    if kind == "PinInvalidPin":
        return DriverError(f"This board has no GPIO {pin} on its header.")
    return LineError(f"GPIO {pin} could not be driven: {text or kind}", fault=Fault.FAILED)


def _lgpio_factory() -> Any:
    """Open lgpio's factory, by name: gpiozero would try others, and fall back with a warning."""
    lgpio = _lgpio()
    if not hasattr(lgpio, "gpiochip_open"):
        raise DriverError(
            "The installed package lgpio is an empty placeholder. Uninstall it first: "
            f"{sys.executable} -m pip uninstall lgpio.",
            packages=("lgpio",),
        )
    try:
        factory = importlib.import_module("gpiozero.pins.lgpio").LGPIOFactory()
    except ImportError as error:
        raise _not_imported("gpiozero", error) from error
    # gpiozero shares these among all factories, so that closing one would let go every line.
    factory.pins = {}
    factory._reservations = defaultdict(list)  # noqa: SLF001 - gpiozero has no public name for it
    factory._res_lock = threading.Lock()  # noqa: SLF001 - the same
    return factory


def _not_imported(package: str, error: ImportError) -> DriverError:
    if (error.name or "").split(".")[0] == package:
        return DriverError(f"The package {package} is not installed.", packages=(package,))
    return DriverError(f"The package {package} does not work here: {error}.", packages=(package,))


def _lgpio() -> Any:
    """Import lgpio and keep what that does to the process out of it.

    When imported, lgpio makes a FIFO in the directory named by LG_WD, makes that the working
    directory of the process, and opens the FIFO by its bare name. Once it is open its name is not
    needed. A directory of its own also keeps two programs apart that both would use .lgd-nfy0.
    """
    if (imported := sys.modules.get("lgpio")) is not None:
        return imported
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    place = runtime if runtime and Path(runtime).is_dir() else None
    here, before = Path.cwd(), os.environ.get("LG_WD")
    with tempfile.TemporaryDirectory(prefix="lgpio-", dir=place) as directory:
        os.environ["LG_WD"] = directory
        try:
            return importlib.import_module("lgpio")
        except ImportError as error:
            raise _not_imported("lgpio", error) from error
        finally:
            os.chdir(here)
            if before is None:
                del os.environ["LG_WD"]
            else:
                os.environ["LG_WD"] = before
