"""The component `deviceInformation`: board, operating system and software version."""

import os
import platform
import shutil
from pathlib import Path
from typing import Any

from agent import __version__

DEVICE_TREE_MODEL = Path("/proc/device-tree/model")
DEVICE_TREE_COMPATIBLE = Path("/proc/device-tree/compatible")
CPUINFO = Path("/proc/cpuinfo")
OS_RELEASE = Path("/etc/os-release")

PROCESSOR_MAKERS = {"brcm": "Broadcom", "GenuineIntel": "Intel", "AuthenticAMD": "AMD"}


def device_information() -> dict[str, Any]:
    """Return the component as a reported property. `__t` marks a component.

    Sizes are in kilobytes, as in the interface DeviceInformation.
    """
    board = _read(DEVICE_TREE_MODEL) or platform.node() or "unknown"
    return {
        "__t": "c",
        "manufacturer": "Raspberry Pi" if board.startswith("Raspberry Pi") else "unknown",
        "model": board,
        "swVersion": __version__,
        "osName": _os_name(),
        "processorArchitecture": platform.machine(),
        "processorManufacturer": _processor_manufacturer(),
        "totalStorage": shutil.disk_usage("/").total // 1024,
        "totalMemory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024,
    }


def _os_name() -> str:
    for line in _read(OS_RELEASE).splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip().strip('"')
    return f"{platform.system()} {platform.release()}"


def _processor_manufacturer() -> str:
    # In "raspberrypi,3-model-b\0brcm,bcm2837\0" the last part is the chip.
    compatible = [part for part in _read(DEVICE_TREE_COMPATIBLE).split("\0") if part]
    if compatible:
        maker = compatible[-1].partition(",")[0]
        return PROCESSOR_MAKERS.get(maker, maker)
    for line in _read(CPUINFO).splitlines():
        if line.startswith("vendor_id"):
            maker = line.partition(":")[2].strip()
            return PROCESSOR_MAKERS.get(maker, maker)
    return "Apple" if platform.system() == "Darwin" else "unknown"


def _read(path: Path) -> str:
    """Return a file's text, or nothing. None of these files exists on every machine."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\0\n")
    except OSError:
        return ""
