"""A GPIO line as an output, driven by gpiozero with lgpio."""

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
"""The GPIO numbers (BCM) on the header of every Raspberry Pi since the B+."""

MODEL = "proc/device-tree/model"

PWM_HERTZ = 100
"""lgpio does PWM in a thread. 100 Hz is gpiozero's default, and looks steady."""


def is_raspberry_pi(root: Path = Path("/")) -> bool:
    """Return whether this machine is a Raspberry Pi; `root` is the root directory."""
    try:
        return "Raspberry Pi" in (root / MODEL).read_text(errors="replace")
    except OSError:
        return False


class Output:
    """GPIO `pin` (BCM) as an output, initially off: low if `active_high`, else high.

    A line that was off does not flash. It floats for some microseconds while gpiozero claims it as
    an input first. After `close` the line is an input. After a crash it keeps its level until it is
    claimed again.

    `factory` is a pin factory of gpiozero; the default is lgpio's. Raise `DriverError` if this
    machine or its packages cannot drive lines, and `LineError` if this line cannot be claimed.
    """

    def __init__(self, pin: int, *, active_high: bool = True, factory: Any = None) -> None:
        if isinstance(pin, bool) or pin not in LINES:
            raise DriverError(f"The header has no GPIO {pin!r}. Choose 0 to 27.")
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
                    frequency=None,  # No PWM, and so no thread, until it is needed.
                    pin_factory=self._factory,
                )
        except HardwareError:
            with suppress(LineError):  # The first error is the one to report.
                self.close()
            raise

    def drive(self, level: float) -> None:
        """Set the duty cycle, from 0.0 (off) to 1.0 (on). Raise `LineError` if that fails.

        Between the two, lgpio does PWM in a thread, starting with up to 10 ms of low.
        """
        with self._errors_named():
            if level in {0.0, 1.0}:
                self._device.frequency = None
            elif self._device.frequency is None:
                self._device.frequency = PWM_HERTZ
            self._device.value = level

    def close(self) -> None:
        """Make the line an input and release it. Closing again does nothing."""
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
        # gpiozero claims outputs low, which makes an active-low LED flash. lgpio ignores the claim
        # of a line that is an output already, so claim it first with the right level.
        self._factory.pin(f"GPIO{self.pin}")
        handle = self._factory._handle  # noqa: SLF001 - gpiozero has no public name for it
        _lgpio().gpio_claim_output(handle, self.pin, int(not active_high))

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except HardwareError:
            raise
        except Exception as error:  # The only common base class of gpiozero's and lgpio's errors.
            raise _named(error, self.pin) from error


def _named(error: Exception, pin: int) -> HardwareError:
    # str() of lgpio's errors adds quotes.
    text = str(error.args[0]) if error.args and not isinstance(error, OSError) else str(error)
    kind = type(error).__name__
    if "GPIO busy" in text or kind == "GPIOPinInUse":
        return LineError(
            f"GPIO {pin} is in use by something else. To see what holds it: sensor-agent check "
            "--only gpio",
            fault=Fault.BUSY,
        )
    if "can not open gpiochip" in text and (error_of_chip := _chip_not_opened()) is not None:
        return error_of_chip
    if kind == "PinUnknownPi":
        return DriverError("This machine is not a Raspberry Pi that gpiozero knows.")
    if kind == "PinInvalidPin":
        return DriverError(f"This board has no GPIO {pin} on its header.")
    return LineError(f"GPIO {pin} could not be driven: {text or kind}", fault=Fault.FAILED)


def _chip_not_opened() -> HardwareError | None:
    """Return why no chip can be opened; None if it could be."""
    chips = sorted(Path("/dev").glob("gpiochip*"))
    if not chips:
        sentence = "This machine has no GPIO pins: /dev/gpiochip0 does not exist."
        if is_raspberry_pi():  # The kernel may not have made it yet.
            return LineError(sentence, fault=Fault.FAILED)
        return DriverError(sentence)
    if not all(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
        return LineError(
            f"This user may not use {chips[0]}. To join its group: sudo usermod -aG gpio $USER, "
            "then log out and log in again.",
            fault=Fault.NO_PERMISSION,
        )
    return None


def _lgpio_factory() -> Any:
    """Return lgpio's pin factory. By itself gpiozero may fall back to another one."""
    lgpio = _lgpio()
    if not hasattr(lgpio, "gpiochip_open"):
        raise DriverError(
            "The installed package lgpio is an empty placeholder. "
            f"Run {sys.executable} -m pip uninstall lgpio first.",
            packages=("lgpio",),
        )
    try:
        factory = importlib.import_module("gpiozero.pins.lgpio").LGPIOFactory()
    except ImportError as error:
        raise _not_imported("gpiozero", error) from error
    # gpiozero shares these between all factories, so closing one would release every line.
    factory.pins = {}
    factory._reservations = defaultdict(list)  # noqa: SLF001 - gpiozero has no public name for it
    factory._res_lock = threading.Lock()  # noqa: SLF001 - the same
    return factory


def _not_imported(package: str, error: ImportError) -> DriverError:
    if (error.name or "").split(".")[0] == package:
        return DriverError(f"The package {package} is not installed.", packages=(package,))
    text = str(error).rstrip(".")
    return DriverError(f"The package {package} does not work here: {text}.", packages=(package,))


def _lgpio() -> Any:
    """Import lgpio without its side effects on the process.

    The import creates a FIFO in the directory LG_WD and makes that the working directory. A
    temporary directory suffices, because lgpio needs the FIFO's name only to open it. It also keeps
    two programs from using the same FIFO.
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
