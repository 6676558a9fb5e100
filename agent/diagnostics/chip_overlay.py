"""Whether config.txt declares the sensor on I2C, at the next start and now."""

from collections.abc import Sequence
from pathlib import Path

from agent.config.loader import SensorConfig
from agent.diagnostics.finding import Finding, failed, ok, skipped, warning
from agent.diagnostics.service_advice import service_is_installed
from hw.boot_config import BootConfig
from hw.sensors.i2c import OLD_OVERLAY, declared, overlay_line
from hw.sensors.models import BUS, CHIPS, OVERLAY_ADDRESSES


def judge_chip(config: SensorConfig, boot: BootConfig | None, root: Path) -> Finding:
    """Compare config.txt with what is declared to the kernel now."""
    chip, address = CHIPS[config.model].chip, config.address
    assert chip is not None  # noqa: S101 - each model in CHIPS has one,
    assert address is not None  # noqa: S101 - and the loader fills in its place.
    line = overlay_line(chip, address)
    name = declared(root / "sys/bus/i2c").get((BUS, address))
    if boot is None or line is None or config.bus != BUS or name in chip.by_hand:
        return skipped("config.txt does not declare a sensor on I2C here (sensor)")
    at_address = boot.chips_at(address, OVERLAY_ADDRESSES)
    written = chip.overlay in at_address
    if name in chip.names and not written:
        return warning(
            f"The sensor is declared to the kernel now, but {boot.file} does not declare it at the "
            f"next start{_condition(boot, chip.overlay or '')}.",
            _how_to_add(line, boot, root),
        )
    if not written:
        return skipped("the sensor is not declared as configured (sensor)")
    others = [one.text for other, one in at_address.items() if other != chip.overlay]
    if name not in chip.names:
        return _not_in_force(boot, name, others)
    if others:
        return warning(
            f"{boot.file} declares the sensor, and another one at its address.",
            f"Remove the line {others[0]} from that file.",
        )
    return ok(f"The sensor is declared now, and at each start by {boot.file}.")


def _not_in_force(boot: BootConfig, name: str | None, others: Sequence[str]) -> Finding:
    """Return the finding about a line that the kernel does not have. It has `name` instead.

    `others` are lines for other sensors at the same address.
    """
    if name is None:
        return failed(
            f"{boot.file} declares the sensor, but it is not declared to the kernel now.",
            f"Restart: sudo reboot. {OLD_OVERLAY}",
        )
    now = f"{boot.file} declares the sensor, but the kernel takes it for {name} now"
    if others:
        return failed(f"{now}.", f"Remove the line {others[0]} from that file, and restart.")
    return failed(f"{now}, until a restart.", "Restart: sudo reboot")


def _condition(boot: BootConfig, parameter: str) -> str:
    """Return " unless the filter ... holds" if the sensor's overlay is under one."""
    filters = [
        one.filter
        for one in boot.overlays
        if one.name == "i2c-sensor" and parameter in one.parameters and one.filter
    ]
    return f" unless the filter {filters[0]} holds" if filters else ""


def _how_to_add(line: str, boot: BootConfig, root: Path) -> str:
    if service_is_installed(root):
        return "To declare it at each start: sudo sensor-agent setup"
    return f"Add the line {line} to {boot.file}."
