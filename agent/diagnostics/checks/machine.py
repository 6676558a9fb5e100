"""The machine: its clock, its power supply, its temperature."""

import re
from collections.abc import Callable
from pathlib import Path

from agent.diagnostics.checks.finding import Finding, failed, ok, skipped, warning
from agent.diagnostics.service_advice import service_is_installed

# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
NOW = {0: "under-voltage", 1: "slowed down", 2: "throttled", 3: "near the limit of temperature"}
SINCE_BOOT = 16  # Bits further up: the same, at any time since the start.
HOT, TOO_HOT = 80.0, 85.0  # degrees Celsius: it slows itself down; it slows down hard.

SUPPLY = (
    "Use the power supply made for this model, and a short, thick cable; unplug what it feeds "
    "through USB."
)
COOLING = "Give it air, or a heat sink; keep the sensor away from it."


def clock(doubt: str | None, now: str, *, root: Path = Path("/")) -> Finding:
    """`doubt` is what may be wrong with the time of day, `now` what it says."""
    if doubt is None:
        return ok(f"The clock was set from the network; it says {now}.")
    advice = "To set the clock from the network: sudo timedatectl set-ntp true."
    if service_is_installed(root):
        # The installer tells the service which program sets the clock.
        advice += " If you have replaced systemd-timesyncd, run sudo make install again."
    return warning(doubt, advice)


def power(root: Path, vcgencmd: Callable[[], str | None]) -> Finding:
    """`vcgencmd` returns what `vcgencmd get_throttled` prints, or None where there is none."""
    bits = _throttled(root, vcgencmd)
    if bits is None:
        alarm = _hwmon_alarm(root)
        if alarm is None:
            return skipped("this machine does not tell of its power supply; a Raspberry Pi does")
        bits = int(alarm)
    now = [name for bit, name in NOW.items() if bits >> bit & 1]
    before = [name for bit, name in NOW.items() if bits >> (bit + SINCE_BOOT) & 1]
    details = [f"get_throttled: {bits:#x}"]
    if "under-voltage" in now:
        return failed(f"The supply's voltage is too low now ({', '.join(now)}).", SUPPLY, *details)
    if now:
        return warning(f"The board is {' and '.join(now)} now.", COOLING, *details)
    if "under-voltage" in before:
        return warning("The supply's voltage was too low since the start.", SUPPLY, *details)
    if before:
        return warning(f"Since the start the board was {' and '.join(before)}.", COOLING, *details)
    return ok("The power supply is good, and was since the start.", *details)


def _throttled(root: Path, vcgencmd: Callable[[], str | None]) -> int | None:
    for file in sorted((root / "sys/devices/platform").glob("soc*/*firmware/get_throttled")):
        if (text := _read(file)) is not None:
            return int(text, 16)
    found = re.search(r"throttled=0x([0-9a-fA-F]+)", vcgencmd() or "")
    return int(found[1], 16) if found else None


def _hwmon_alarm(root: Path) -> bool | None:
    for device in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if _read(device / "name") == "rpi_volt":
            alarm = _read(device / "in0_lcrit_alarm")
            return None if alarm is None else alarm != "0"
    return None


def temperature(root: Path) -> Finding:
    zones = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        text = _read(zone / "temp")
        if text is not None and text.lstrip("-").isdigit():
            zones[_read(zone / "type") or zone.name] = int(text) / 1000
    if not zones:
        return skipped("this machine does not tell its temperature")
    hottest = max(zones.values())
    details = [f"{name}: {value:.1f} °C" for name, value in zones.items()]
    line = f"The processor has {hottest:.0f} °C."
    if hottest >= TOO_HOT:
        return failed(line, COOLING, *details)
    if hottest >= HOT:
        return warning(line, COOLING, *details)
    return ok(line, *details)


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
