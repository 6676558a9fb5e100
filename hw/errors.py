"""What can go wrong with the board, each in one sentence a person can act on."""

from collections.abc import Sequence
from enum import StrEnum


class Fault(StrEnum):
    """Why an attempt gave no reading. The values are those of the property `sensorStatus`."""

    NO_ANSWER = "no_answer"  # The sensor did not answer, or stopped in the middle.
    CHECKSUM = "checksum"  # It answered, and the frame was damaged on the wire.
    IMPLAUSIBLE = "implausible"  # The frame was whole and its values cannot be true.
    NO_PERMISSION = "no_permission"  # This user may not use the GPIO lines.
    BUSY = "busy"  # Another program holds the GPIO line.
    FAILED = "failed"  # Anything else: the driver is missing, hung or broken.


class HardwareError(Exception):
    """The root of everything this package raises."""


class SensorError(HardwareError):
    """An attempt to read the sensor gave no reading.

    `fault` is its kind, for counters and `sensorStatus`; `str()` says what to do.
    """

    def __init__(self, sentence: str, *, fault: Fault) -> None:
        super().__init__(sentence)
        self.fault = fault


def no_answer(pin: int, hint: str = "") -> SensorError:
    """Make the error of a sensor that stays silent."""
    return SensorError(
        f"The sensor on GPIO {pin} did not answer. Are power, ground and data wired, data to GPIO "
        f"{pin} with a pull-up resistor (4.7 to 10 kOhm) to 3.3 V?{hint}",
        fault=Fault.NO_ANSWER,
    )


def damaged_frame(pin: int, hint: str = "") -> SensorError:
    """Make the error of a sensor whose frame did not arrive whole."""
    return SensorError(
        f"The frame from the sensor on GPIO {pin} was damaged. Now and then that is normal; if it "
        f"is often, shorten the cable or check the pull-up resistor.{hint}",
        fault=Fault.CHECKSUM,
    )


class LedError(HardwareError):
    """The LED could not be driven, or is closed."""


class LineError(HardwareError):
    """A GPIO line could not be claimed or driven. `fault` is its kind."""

    def __init__(self, sentence: str, *, fault: Fault) -> None:
        super().__init__(sentence)
        self.fault = fault


class DriverError(HardwareError):
    """A driver cannot be used here at all: unknown, not installed, not on this machine.

    `packages` are those that are missing or do not work. How to install them depends on how the
    program was installed, which `agent.diagnostics.installation` knows.
    """

    def __init__(self, sentence: str, *, packages: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.packages = tuple(packages)
