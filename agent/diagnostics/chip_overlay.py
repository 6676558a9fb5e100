"""Whether config.txt declares the sensor on I2C, at the next start and now."""

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
    place = f"address 0x{address:02x} of the I2C bus"
    is_declared = name in chip.names
    if chip.overlay in at_address:
        others = [one.text for other, one in at_address.items() if other != chip.overlay]
        own = at_address[chip.overlay].text
        if others:
            return _judge_two(own, others[0], place, boot, is_declared=is_declared)
        return _judge_written(place, boot, None if is_declared else name or "")
    if not is_declared:
        return skipped("the sensor is not declared as configured (sensor)")
    return warning(
        f"The sensor at {place} is declared to the kernel now, but will not be after a restart "
        f"of the Pi: no line in {boot.file} declares it{_condition(boot, chip.overlay or '')}.",
        _how_to_add(line, boot, root),
    )


def _judge_two(own: str, other: str, place: str, boot: BootConfig, *, is_declared: bool) -> Finding:
    """Return the finding about two lines for the same address, of which `own` is the sensor's."""
    return (warning if is_declared else failed)(
        f"{boot.file} has lines for two sensors at {place}, and only one sensor can have an "
        "address.",
        f"The configured sensor has the line {own}. Delete the line {other} from {boot.file}, "
        "then: sudo reboot",
    )


def _judge_written(place: str, boot: BootConfig, instead: str | None) -> Finding:
    """Return the finding about a sensor that config.txt declares.

    `instead` is what the kernel has at its address, empty for nothing, or None if that is right.
    """
    if instead is None:
        return ok(f"The sensor is declared now, and at each start by {boot.file}.")
    if not instead:
        return failed(
            f"{boot.file} declares the sensor at {place}, but it is not declared to the kernel "
            "now.",
            f"Restart the Pi: sudo reboot. {OLD_OVERLAY}",
        )
    return failed(
        f"{boot.file} declares the sensor at {place}, but until a restart of the Pi the kernel "
        f"takes it for another one, {instead}.",
        "Restart the Pi: sudo reboot",
    )


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
    return f"To declare it at each start, add the line {line} to {boot.file}."
