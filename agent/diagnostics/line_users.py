"""What uses a GPIO line besides this program, and how to free it."""

from pathlib import Path

from hw.boot_overlays import BOARD, DRIVER, I2C, I2S, SPI, Overlay

NAMES = {
    DRIVER: "the kernel's dht11 driver",
    "gpio-fan": "a fan",
    "i2c-gpio": "an I2C bus",
    "pwm-gpio-fan": "a fan",
    "spi0-1cs": "SPI",
    "spi0-2cs": "SPI",
    "spi1-1cs": "the second SPI bus",
    "spi1-2cs": "the second SPI bus",
    "spi1-3cs": "the second SPI bus",
    "w1-gpio": "1-Wire",
    "w1-gpio-pi5": "1-Wire",
    "w1-gpio-pullup": "1-Wire",
}
OF_BOARD = {I2C: "I2C", SPI: "SPI", I2S: "I2S (digital audio)"}

IN_RASPI_CONFIG = {
    "1-Wire": "Interface Options, 1-Wire",
    "I2C": "Interface Options, I2C",
    "SPI": "Interface Options, SPI",
    "a fan": "Performance Options, Fan",
}
"""Where raspi-config switches them off."""


def described(overlay: Overlay) -> str:
    """Return what an overlay is for, such as "1-Wire"."""
    if overlay.name == BOARD:
        return " and ".join(OF_BOARD[name] for name in overlay.parameters)
    return NAMES.get(overlay.name, f"the overlay {overlay.name}")


def how_to_free(overlay: Overlay, file: Path) -> str:
    """Return how to make the firmware leave the lines of `overlay` free, without a full stop."""
    menu = IN_RASPI_CONFIG.get(described(overlay))
    switch = f" (in raspi-config: {menu})" if menu else ""
    return f"Remove that line from {file}{switch} and restart"
