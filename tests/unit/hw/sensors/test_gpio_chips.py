"""Which GPIO chip Blinka's real search finds on a Raspberry Pi 5."""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from optional import needs_module

from hw.sensors import adafruit_child

pytestmark = needs_module("adafruit_blinka")

RP1 = ("pinctrl-rp1", 54)
POWER = ("gpio-brcmstb@107d508500", 32)


@dataclass
class Device:
    """A device file: its name, and the number of the chip behind it."""

    name: str
    number: int = field(default=0, compare=False)

    def stat(self):
        return SimpleNamespace(st_rdev=self.number)


@pytest.fixture
def search(monkeypatch) -> Iterator[Any]:
    """Blinka's module with the search, with simulated chips, after the child has changed it."""
    gpiod, ipc = ModuleType("gpiod"), ModuleType("sysv_ipc")
    vars(gpiod).update(__version__="2.0.0", Chip=object, line=SimpleNamespace())
    vars(ipc).update(MessageQueue=object)
    for module in (gpiod, ipc):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for pin in ("libgpiod_pin_2_x", "libgpiod_pin_1_x"):
        name = f"adafruit_blinka.microcontroller.generic_linux.libgpiod.{pin}"
        stub = ModuleType(name)
        vars(stub).update(Pin=object)
        monkeypatch.setitem(sys.modules, name, stub)
    package = adafruit_child.PIN_SEARCH.rpartition(".")[0]
    for name in (adafruit_child.PIN_SEARCH, f"{package}.libgpiod_pin"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = importlib.import_module(adafruit_child.PIN_SEARCH)
    yield found
    for name in (adafruit_child.PIN_SEARCH, f"{package}.libgpiod_pin"):
        sys.modules.pop(name, None)


def with_chips(search, monkeypatch, devices, chips):
    """Give the search these devices, and the chips by number, and have the child change it."""
    numbers = {device.name: device.number for device in devices}
    monkeypatch.setattr(search, "_chip_paths", lambda: devices)
    monkeypatch.setattr(search, "_open_chip", lambda index: chips[numbers[f"gpiochip{index}"]])
    monkeypatch.setattr(search, "_chip_info", lambda chip: chip)
    monkeypatch.setattr(search, "_close_chip", lambda chip: None)
    monkeypatch.setitem(sys.modules, "board", None)  # The next import fails.
    with pytest.raises(ImportError, match="board"):
        adafruit_child.open_device("dht22", 4)


def test_two_devices_of_one_chip_are_one(search, monkeypatch):
    with_chips(search, monkeypatch, [Device("gpiochip0", 7), Device("gpiochip4", 7)], {7: RP1})
    assert search._find_chip(4) == 0


def test_with_an_older_kernel_the_header_has_chip_4(search, monkeypatch):
    devices = [Device("gpiochip0", 7), Device("gpiochip4", 8)]
    with_chips(search, monkeypatch, devices, {7: POWER, 8: RP1})
    assert search._find_chip(4) == 4
