"""The machine: its clock, its power supply, its temperature."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from agent.diagnostics.examination import Examination
from agent.diagnostics.finding import Finding, failed, ok, skipped, warning
from agent.diagnostics.registry import check
from agent.diagnostics.service_advice import service_is_installed
from agent.readings.clock import read_rtc
from hw.gpio import is_raspberry_pi

# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
NOW = {0: "under-voltage", 1: "slowed down", 2: "throttled", 3: "near its temperature limit"}
SINCE_BOOT = 16  # The same conditions since the start are this many bits higher.
HOT, TOO_HOT = 80.0, 85.0  # Degrees Celsius: the board slows down, and slows down further.

CLOCK_DROP_IN = "etc/systemd/system/sensor-agent.service.d/clock.conf"
UNIT_PLACES = ("etc", "run", "usr/local/lib", "usr/lib", "lib")

SUPPLY = (
    "Use the power supply made for this model and a short, thick cable. Unplug USB devices that "
    "the board feeds."
)
COOLING = "Add ventilation or a heat sink, and keep the sensor away from the board."


@check("clock")
def clock(examination: Examination) -> Finding:
    root, wall = examination.root, examination.clock.wall()
    shows = f"It shows {_minute(wall)}."
    doubt = examination.clock.doubt()
    if doubt is None:
        return ok(f"The clock was set from the network. {shows}")
    advice = "To set the clock from the network: sudo timedatectl set-ntp true."
    if not _can_set_clock(root):
        advice = "Install a program that sets the clock: sudo apt install systemd-timesyncd."
    if service_is_installed(root) and not (root / CLOCK_DROP_IN).exists():
        # Setup tells the service which program sets the clock.
        advice += " If you have replaced systemd-timesyncd, run sudo sensor-agent setup again."
    rtc = read_rtc(root)
    if not examination.config.clock.trust_rtc:
        if rtc is not None and rtc.agrees_with(wall):
            advice += (
                f" If there is no network, and the real-time clock {rtc.name} ({rtc.model}) is "
                "right, set trust_rtc = true in [clock]."
            )
        return warning(doubt, advice)
    if rtc is None:
        return warning(
            f"{doubt} trust_rtc is set in [clock], but no real-time clock can be read.",
            f"Enable its overlay, for example dtoverlay=i2c-rtc,ds3231, and restart. {advice}",
        )
    if not rtc.agrees_with(wall):
        return warning(
            f"{doubt} The real-time clock {rtc.name} ({rtc.model}) shows {_minute(rtc.shows)}.",
            f"{advice} Then set the real-time clock by it: sudo hwclock --systohc. If it shows an "
            "old date after each power cut, replace its battery.",
        )
    return ok(f"The clock agrees with the real-time clock {rtc.name} ({rtc.model}). {shows}")


def _minute(unix_time: float) -> str:
    return f"{datetime.fromtimestamp(unix_time, UTC):%Y-%m-%d %H:%M} UTC"


def _can_set_clock(root: Path) -> bool:
    """Return whether timedatectl knows a program that sets the clock; systemd-timedated(8)."""
    places = (root / place / "systemd/ntp-units.d" for place in UNIT_PLACES)
    return any(any(place.glob("*.list")) for place in places)


@check("power")
def power(examination: Examination) -> Finding:
    bits = _throttled(examination.root, examination.vcgencmd)
    if bits is None:
        alarm = _hwmon_alarm(examination.root)
        if alarm is None:
            return skipped("only a Raspberry Pi measures its power supply")
        bits = int(alarm)
    now = [name for bit, name in NOW.items() if bits >> bit & 1]
    before = [name for bit, name in NOW.items() if bits >> (bit + SINCE_BOOT) & 1]
    details = [f"get_throttled: {bits:#x}"]
    if "under-voltage" in now:
        return failed(f"The supply voltage is too low now ({', '.join(now)}).", SUPPLY, *details)
    if now:
        return warning(f"The board is {' and '.join(now)} now.", COOLING, *details)
    if "under-voltage" in before:
        return warning("The supply voltage has been too low since the start.", SUPPLY, *details)
    if before:
        return warning(
            f"Since the start the board has been {' and '.join(before)}.", COOLING, *details
        )
    return ok("The supply voltage has been good since the start.", *details)


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


@check("temperature")
def temperature(examination: Examination) -> Finding:
    root = examination.root
    if not is_raspberry_pi(root):
        return skipped("only a Raspberry Pi is judged by its temperature")
    zones = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        text = _read(zone / "temp")
        if text is not None and text.lstrip("-").isdigit():
            zones[_read(zone / "type") or zone.name] = int(text) / 1000
    if not zones:
        return skipped("this machine has no temperature sensor of its own")
    hottest = max(zones.values())
    details = [f"{name}: {value:.1f} °C" for name, value in zones.items()]
    line = f"The processor is at {hottest:.0f} °C."
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
