"""The errors of this package. `str()` of each is for the user: what happened, and what to do."""

from collections.abc import Sequence
from enum import StrEnum


class Fault(StrEnum):
    """Why an attempt gave no reading. The values are those of the property `sensorStatus`."""

    NO_ANSWER = "no_answer"
    """The sensor did not answer, or stopped in the middle of a frame."""

    CHECKSUM = "checksum"
    """The frame was damaged on the wire."""

    IMPLAUSIBLE = "implausible"
    """The frame was complete, but its values cannot be true."""

    NO_PERMISSION = "no_permission"
    """This user may not use the GPIO lines."""

    BUSY = "busy"
    """Another program uses the GPIO line."""

    FAILED = "failed"
    """Any other reason: the driver is missing, hangs or is broken."""


class HardwareError(Exception):
    """The base class of all errors of this package."""


class SensorError(HardwareError):
    """An attempt to read the sensor gave no reading. `fault` is the reason."""

    def __init__(self, sentence: str, *, fault: Fault) -> None:
        super().__init__(sentence)
        self.fault = fault


class LedError(HardwareError):
    """The LED could not be driven, or is closed."""


class LineError(HardwareError):
    """A GPIO line could not be claimed or driven. `fault` is the reason."""

    def __init__(self, sentence: str, *, fault: Fault) -> None:
        super().__init__(sentence)
        self.fault = fault


class BootConfigError(HardwareError):
    """The firmware's configuration file could not be read or written. It is unchanged."""


class DriverError(HardwareError):
    """A driver cannot work here: it is unknown, not installed, or needs another machine.

    `packages` lists the packages that are missing or broken. How to install them depends on how
    the program was installed, so the sentence does not say it.
    """

    def __init__(self, sentence: str, *, packages: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.packages = tuple(packages)


def no_answer(pin: int, hint: str = "") -> SensorError:
    """Return the error of a sensor that did not answer."""
    return SensorError(
        f"The sensor on GPIO {pin} did not answer. Check power, ground and the data wire, which "
        f"needs a pull-up resistor (4.7 to 10 kOhm) to 3.3 V{hint}.",
        fault=Fault.NO_ANSWER,
    )


CABLE = "shorten the cable or check the pull-up resistor"


def damaged_frame(pin: int, advice: str = f"If this happens often, {CABLE}.") -> SensorError:
    """Return the error of a sensor whose frame was damaged on the wire."""
    return SensorError(
        f"The frame from the sensor on GPIO {pin} was damaged. {advice}", fault=Fault.CHECKSUM
    )
