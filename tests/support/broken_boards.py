"""Boards whose GPIO lines are wrong in one way each, and what the doctor is asked about them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from boot_configs import BOOKWORM, board_with, shape
from examinations import CONFIG, examination, write
from sysfs import add_bus, add_chip

import agent.diagnostics.checks  # noqa: F401 - registers the checks.
from agent.config.loader import Config, LedConfig, SensorConfig
from agent.diagnostics import registry
from agent.diagnostics.examination import Examination
from agent.diagnostics.finding import Finding
from agent.diagnostics.line_processes import Process, Processes
from hw.boot_config import with_driver
from hw.gpio_lines import Chip

UNIT = "usr/lib/systemd/system/sensor-agent.service"
CHECKS = ("gpio-access", "gpio-lines", "gpio-overlay")
KERNEL = SensorConfig(driver="kernel")
BY_KERNEL = replace(CONFIG, sensor=KERNEL)
DRIVER = "dtoverlay=dht11,gpiopin=4\n"
I2C_ON = "dtparam=i2c_arm=on\n"
AHT20 = "dtoverlay=i2c-sensor,aht20\n"


@dataclass(frozen=True)
class Board:
    """A Raspberry Pi 4 with this config.txt and these holders of the header's lines.

    `nodes` are the devices of overlays that are loaded: their kind and line.
    """

    boot: str = BOOKWORM + DRIVER
    holders: dict[int, str] = field(default_factory=lambda: {4: "dht11@4"})
    nodes: dict[str, tuple[str, int]] = field(default_factory=lambda: {"dht11@4": ("dht11", 4)})
    found: tuple[Process, ...] = ()
    are_all: bool = True
    config: Config = BY_KERNEL
    more: Callable[[Path], object] = lambda _root: None
    options: dict[str, Any] = field(default_factory=dict)

    def on(self, root: Path) -> Examination:
        """Return the examination of this board, with `root` as its root directory."""
        file = board_with(root, shape(self.boot))
        write(root, UNIT, "")
        write(root, "dev/gpiochip0", "").chmod(0o660)
        for name, (kind, line) in self.nodes.items():
            write(root, f"proc/device-tree/{name}/compatible", f"{kind}\0")
            cells = b"\0\0\0\7" + line.to_bytes(4, "big") + bytes(4)
            (root / f"proc/device-tree/{name}/gpios").write_bytes(cells)
            if kind == "dht11":
                write(root, "sys/bus/iio/devices/iio:device0/name", f"{name}\n")
        self.more(file.parent)
        chip = Chip("gpiochip0", "pinctrl-bcm2711", self.holders)
        defaults = {
            "read_chip": lambda _path, _lines: chip,
            "processes": lambda _proc: Processes(list(self.found), self.are_all),
            "path": root / "etc/sensor-agent/config.toml",
            "user_name": lambda: "pi",
            "group_of": lambda _path: "gpio",
        }
        examined: Examination = examination(root, self.config, **(defaults | self.options))
        return examined

    def findings(self, root: Path) -> dict[str, Finding]:
        """Return what the doctor finds out about the lines of this board."""
        examined = self.on(root)
        return {name: registry.find(name, examined) for name in CHECKS}


def program(line: int | None, *, unit: str = "", is_own: bool = False) -> Process:
    lines = frozenset() if line is None else frozenset({("gpiochip0", line)})
    name = "sensor-agent" if is_own else "fan.py"
    return Process(812, name, unit, is_own=is_own, lines=lines, has_others=line is None)


def led(pin: int) -> Config:
    return replace(CONFIG, sensor=KERNEL, led=LedConfig(driver="gpiozero", pin=pin))


def on_i2c(boot: str, declared: str = "", **options: Any) -> Board:
    """Return a board with an AHT20 in the configuration, and perhaps with this model declared."""

    def add(partition: Path) -> None:
        sysfs = partition.parents[1] / "sys"
        add_bus(sysfs)
        if declared:
            add_chip(sysfs, declared)

    sensor = SensorConfig(driver="kernel", model="aht20", bus=1, address=0x38)
    config = replace(CONFIG, sensor=sensor)
    return Board(boot=BOOKWORM + boot, holders={}, nodes={}, config=config, more=add, **options)


DHT22 = replace(CONFIG, sensor=SensorConfig(driver="dht22"))
LOADED = {4: "dht11@4"}
NODE = {"dht11@4": ("dht11", 4)}

BOARDS = {
    "healthy": Board(),
    "1-Wire has the sensor's line": Board(
        boot=f"{BOOKWORM}dtoverlay=w1-gpio\n",
        holders={4: "onewire@4"},
        nodes={"onewire@4": ("w1-gpio", 4)},
        config=DHT22,
    ),
    "1-Wire gets the sensor's line at the next start": Board(
        boot=f"{BOOKWORM}dtoverlay=w1-gpio\n", holders={}, nodes={}, config=DHT22
    ),
    "1-Wire and the driver are both in config.txt": Board(
        boot=f"{BOOKWORM}dtoverlay=w1-gpio\n{DRIVER}",
        holders={4: "onewire@4"},
        nodes={"onewire@4": ("w1-gpio", 4)},
    ),
    "SPI has the LED's line": Board(
        boot=f"{BOOKWORM}dtparam=spi=on\n{DRIVER}",
        holders={**LOADED, 8: "spi0 CS0"},
        config=led(8),
    ),
    "a fan has the LED's line": Board(
        boot=f"{BOOKWORM}{DRIVER}dtoverlay=gpio-fan,gpiopin=17,temp=60000\n",
        holders={**LOADED, 17: "gpio-fan@0"},
        nodes={**NODE, "gpio-fan@0": ("gpio-fan", 17)},
    ),
    "a start script exports the LED's line": Board(
        holders={**LOADED, 17: "sysfs"},
        more=lambda partition: (
            write(partition.parents[1], "sys/class/gpio/gpiochip512/label", "pinctrl-bcm2711\n"),
            write(partition.parents[1], "sys/class/gpio/gpiochip512/base", "512\n"),
        ),
    ),
    "another program has the LED's line": Board(holders={**LOADED, 17: "lg"}, found=(program(17),)),
    "another service has the LED's line": Board(
        holders={**LOADED, 17: "fan"}, found=(program(17, unit="fan-control"),)
    ),
    "another daemon of ours has the LED's line": Board(
        holders={**LOADED, 17: "lg"}, found=(program(17, is_own=True),)
    ),
    "a program with an older library has the LED's line": Board(
        holders={**LOADED, 17: "RPi"}, found=(program(None),)
    ),
    "the service has the LED's line and does not answer": Board(
        holders={**LOADED, 17: "lg"}, found=(program(17, unit="sensor-agent", is_own=True),)
    ),
    "an older daemon of another user has the LED's line": Board(
        holders={**LOADED, 17: "lg"}, are_all=False
    ),
    "a program of another user has the LED's line": Board(
        holders={**LOADED, 17: "fan"}, are_all=False
    ),
    "an unknown driver has the LED's line": Board(holders={**LOADED, 17: "reset"}),
    "the driver is not in config.txt": Board(boot=BOOKWORM, holders={}, nodes={}),
    "the driver is under another board's section": Board(
        boot=f"{BOOKWORM}[pi5]\n{DRIVER}", holders={}, nodes={}
    ),
    "the driver is in config.txt for another line": Board(
        boot=f"{BOOKWORM}dtoverlay=dht11,gpiopin=22\n", holders={}, nodes={}
    ),
    "the driver was loaded by hand": Board(boot=BOOKWORM),
    "the machine was not restarted": Board(holders={}, nodes={}),
    "the driver is loaded for another line": Board(
        boot=f"{BOOKWORM}dtoverlay=dht11,gpiopin=17\n",
        holders={17: "dht11@11"},
        nodes={"dht11@11": ("dht11", 17)},
        config=led(27),
    ),
    "setup has loaded the driver for another line": Board(
        boot=with_driver(BOOKWORM.encode(), 17).decode(),
        holders={17: "dht11@11"},
        nodes={"dht11@11": ("dht11", 17)},
        config=led(27),
    ),
    "the firmware lacks the overlay": Board(
        holders={},
        nodes={},
        more=lambda partition: (partition / "overlays/dht11.dtbo").unlink(),
    ),
    "the driver is loaded, and Adafruit's is configured": Board(config=DHT22),
    "the driver gets the line of Adafruit's at the next start": Board(
        holders={}, nodes={}, config=DHT22
    ),
    "the chip belongs to root": Board(options={"group_of": lambda _path: "root"}),
    "the user is not in the group gpio": Board(options={"may_use": lambda _path: False}),
    "the sensor on I2C was declared by hand": on_i2c(I2C_ON, "aht20"),
    "the sensor on I2C is in config.txt, and not declared": on_i2c(I2C_ON + AHT20),
    "the kernel has another sensor at the address": on_i2c(I2C_ON + AHT20, "aht10"),
    "config.txt has two sensors at the address": on_i2c(
        f"{I2C_ON}dtoverlay=i2c-sensor,aht10\n{AHT20}", "aht10"
    ),
}
