"""The GPIO lines of common overlays that no parameter chooses, and the boards that have them.

Several devices can be given one line, since Raspberry Pi's pin controllers are not strict: the last
one that sets it up has it. Sources, as far as no other is named:
https://github.com/raspberrypi/firmware/blob/master/boot/overlays/README
https://github.com/raspberrypi/linux/tree/rpi-6.12.y/arch/arm/boot/dts/overlays
"""

import re
from collections.abc import Collection, Mapping

OTHER_BUSES = {"i2c0", "i2c_csi_dsi", "i2c_csi_dsi0", "i2c-path"} | {f"i2c{n}" for n in range(2, 7)}
"""Parameters that put a device on another bus than the header's, by i2c-buses.dtsi."""

ON_I2C = {"i2c-fan", "i2c-rtc", "i2c-sensor"}
"""Overlays of devices on I2C, which enable the bus."""

ON_PI_4 = re.compile(r"(?:uart[2-5]|i2c[3-6]|spi[3-6]-[12]cs)")
ON_PI_5 = re.compile(r".*-pi5")

SERIAL = {
    "uart2": 0,
    "uart3": 4,
    "uart4": 8,
    "uart5": 12,
    "uart0-pi5": 14,
    "uart1-pi5": 0,
    "uart2-pi5": 4,
    "uart3-pi5": 8,
    "uart4-pi5": 12,
}
"""The first line of each UART. It has two, and with the parameter ctsrts four."""

I2C_BUSES = {
    "i2c3": (4, 5),
    "i2c4": (8, 9),
    "i2c5": (12, 13),
    "i2c6": (22, 23),
    "i2c0-pi5": (0, 1),
    "i2c1-pi5": (2, 3),
    "i2c2-pi5": (4, 5),
    "i2c3-pi5": (6, 7),
}
"""By default. A parameter such as pins_2_3 chooses others."""

SPI_BUSES = {
    "spi0": (9, 10, 11),
    "spi1": (19, 20, 21),
    "spi3": (1, 2, 3),
    "spi4": (5, 6, 7),
    "spi5": (13, 14, 15),
    "spi6": (19, 20, 21),
}
"""Without the lines that select a chip, which parameters choose."""

DIGITAL_AUDIO = re.compile(r"(?:hifiberry|iqaudio|justboom|allo|audioinjector|dionaudio|i2s)-.+")
AUDIO_LINES = (18, 19, 20, 21)

PARALLEL_DISPLAYS: Mapping[str, Collection[int]] = {
    "dpi18": range(22),
    "dpi18cpadhi": (*range(10), *range(12, 18), *range(20, 26)),
    "dpi24": range(28),
}
DISPLAY = re.compile(r"vc4-kms-dpi-.+")
DISPLAY_LINES = (*range(2, 9), *range(12, 18))
"""The lines that each of their modes uses."""


def exists(name: str, board: frozenset[str] | None) -> bool:
    """Return whether this overlay is for the board. An unknown board has none that is for one."""
    if ON_PI_4.fullmatch(name):
        return board is not None and "pi4" in board
    return not ON_PI_5.fullmatch(name) or (board is not None and "pi5" in board)


def fixed_lines(name: str, parameters: Mapping[str, str]) -> tuple[int, ...]:
    """Return the lines (BCM) that an overlay uses and no parameter with a number chooses."""
    if name in SERIAL:
        return tuple(range(SERIAL[name], SERIAL[name] + (4 if "ctsrts" in parameters else 2)))
    if name in I2C_BUSES:
        chosen = [found for one in parameters if (found := re.fullmatch(r"pins_(\d+)_(\d+)", one))]
        return (int(chosen[-1][1]), int(chosen[-1][2])) if chosen else I2C_BUSES[name]
    bus, _, rest = name.partition("-")
    if bus in SPI_BUSES and re.fullmatch(r"[0-3]cs", rest):
        return SPI_BUSES[bus][1 if "no_miso" in parameters else 0 :]
    if name in ON_I2C:
        return () if parameters.keys() & OTHER_BUSES else (2, 3)
    if DIGITAL_AUDIO.fullmatch(name):
        return AUDIO_LINES
    return DISPLAY_LINES if DISPLAY.fullmatch(name) else tuple(PARALLEL_DISPLAYS.get(name, ()))
