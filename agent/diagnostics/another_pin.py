"""Advice for a GPIO that something else uses: use another one, or turn the other user off."""

from collections.abc import Mapping
from pathlib import Path

from agent.config.loader import Config
from agent.diagnostics.examination import SENSOR_PIN, Examination
from agent.diagnostics.line_users import Off
from agent.diagnostics.service_advice import service_is_installed
from hw import device_tree
from hw.boot_config import BootConfig
from hw.boot_overlays import DRIVER
from hw.gpio_lines import Chip

LED_PIN, POWER_PIN = "[led] pin", "[sensor] power_pin"
WIRES = {
    SENSOR_PIN: "the sensor's data wire",
    POWER_PIN: "the sensor's power wire",
    LED_PIN: "the LED's wire",
}
PROPOSED = (22, 23, 24, 25, 27, 17, 5, 6, 16, 26, 12, 13)
"""GPIOs of the header that no usual interface has (I2C, SPI, UART, I2S, 1-Wire)."""


def free_pin(
    config: Config, lines: Mapping[str, int], chip: Chip, boot: BootConfig | None, root: Path
) -> int | None:
    """Return a GPIO that nothing uses now or after the next start of the Pi; None if none is known.

    `lines` are the GPIOs that this program needs, `chip` is the header's, with all holders.
    """
    in_use = {*lines.values(), *chip.holders, config.sensor.pin, config.led.pin}
    for device in device_tree.devices(root):
        in_use.update(device.lines)
    for overlay in () if boot is None else boot.overlays:
        in_use.update(overlay.lines)
    return next((pin for pin in PROPOSED if pin not in in_use), None)


def how_to_move(
    key: str, free: int | None, examination: Examination, boot: BootConfig | None
) -> str:
    """Return how to use another GPIO, as a sentence without a full stop.

    `key` is the configuration key, such as "[led] pin", `free` is a GPIO to propose.
    """
    number = "N" if free is None else str(free)
    move = f"Move {WIRES[key]} to a free GPIO, {'N' if free is None else f'such as GPIO {free}'}"
    if key != SENSOR_PIN or examination.config.sensor.driver != "kernel":
        return f"{move}, {how_to_set(key, number, examination)}"
    if service_is_installed(examination.root):
        return f"{move}, then: sudo sensor-agent setup --pin {number}"
    return (
        f"{move}, {setting(key, number, examination)}, add the line dtoverlay={DRIVER},gpiopin="
        f"{number} to {'config.txt' if boot is None else boot.file}, then: sudo reboot"
    )


def setting(key: str, value: str, examination: Examination) -> str:
    """Return how to set a configuration key in the file that is in force."""
    section, _, name = key.partition(" ")
    return f"set {name} = {value} under {section} in {examination.path or 'the configuration file'}"


def how_to_set(key: str, value: str, examination: Examination) -> str:
    """Return how to set a configuration key, and to apply it."""
    if examination.is_of_service:
        restart = "then: sudo systemctl restart sensor-agent"
    else:
        restart = "then start sensor-agent again"
    return f"{setting(key, value, examination)}, {restart}"


def both_ways(key: str, move: str, off: Off | None) -> str:
    """Return the advice to use another GPIO (`move`) or to turn the other user off.

    The first is easier for an LED. A sensor's wire has more reasons to stay.
    """
    if off is None:
        return move
    if key == LED_PIN:
        return f"{move}. Or, if {off.unused}, {off.how}"
    return f"If {off.unused}, {off.how}. Otherwise, {move[0].lower()}{move[1:]}"
