"""Finds the sensors that the kernel's drivers can read, configured or not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hw.sensors.i2c import declared
from hw.sensors.kernel import dht_devices
from hw.sensors.models import CHIPS

MODELS_BY_NAME = {
    name: model for model, known in CHIPS.items() if known.chip for name in known.chip.names
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A sensor that is declared to the kernel: a DHT on `pin`, or else on `bus` at `address`.

    `pin` is None if the kernel does not say it. All DHTs have the model `dht22`, because the
    kernel's driver does not tell them apart.
    """

    model: str
    pin: int | None = None
    bus: int | None = None
    address: int | None = None


def kernel_sensors(sysfs: Path = Path("/sys")) -> list[Found]:
    """Return the sensors that are declared, in the order of their places. It reads none of them."""
    return [*_dhts(sysfs), *_chips(sysfs)]


def _dhts(sysfs: Path) -> Iterator[Found]:
    for pin in sorted(dht_devices(sysfs).values(), key=lambda pin: -1 if pin is None else pin):
        yield Found(model="dht22", pin=pin)


def _chips(sysfs: Path) -> Iterator[Found]:
    for (bus, address), name in sorted(declared(sysfs / "bus/i2c").items()):
        if (model := MODELS_BY_NAME.get(name)) is not None:
            yield Found(model=model, bus=bus, address=address)
