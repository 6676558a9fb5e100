"""The file systems of this machine, and whether one is in memory, whatever it is formatted as."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

IN_MEMORY = {"tmpfs", "ramfs"}
MEMORY_DEVICES = {"zram": "zram", "ram": "a RAM disk"}  # Names without their digits.
OVERLAY_ROOT = (
    "If raspi-config made the root file system an overlay, turn that off: sudo raspi-config, "
    "Performance Options, Overlay File System. Then restart."
)
DEEPEST = 8  # Layers, as of a loop device on a file system on a loop device.


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: its type, the device (`major:minor`), the source, and its options.

    The options are the file system's own, which systemd's sandbox does not change.
    """

    kind: str
    device: str
    source: str
    options: tuple[str, ...]

    @property
    def is_read_only(self) -> bool:
        return "ro" in self.options

    def option(self, name: str) -> str | None:
        """Return the value of an option."""
        found = [one.partition("=")[2] for one in self.options if one.startswith(f"{name}=")]
        return _unescaped(found[0]) if found else None


Mounts = Mapping[Path, Mount]


def read_mounts(root: Path = Path("/")) -> dict[Path, Mount]:
    """Return the mounts by place, the topmost at each. `root` is the root directory.

    Empty if the kernel gives no list: proc_pid_mountinfo(5).
    """
    try:
        text = (root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    mounts = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        device, place = before.split()[2], _unescaped(before.split()[4])
        kind, source, options = after.split(" ", 2)
        mounts[Path(place)] = Mount(kind, device, source, tuple(options.split(",")))
    return mounts


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def mount_of(path: Path, mounts: Mounts) -> Mount | None:
    """Return the file system that has `path`, a path without symbolic links."""
    return next((mounts[place] for place in (path, *path.parents) if place in mounts), None)


def memory_of(path: Path, mounts: Mounts, root: Path = Path("/")) -> str | None:
    """Return the kind of memory that `path` is in, as in "zram". None if a power cut keeps it."""
    return _memory(mount_of(path.resolve(), mounts), mounts, root, DEEPEST)


def _memory(mount: Mount | None, mounts: Mounts, root: Path, layers: int) -> str | None:
    if mount is None or not layers:
        return None
    if mount.kind in IN_MEMORY:
        return mount.kind
    if mount.kind == "overlay":
        return _memory_of_overlay(mount, mounts, root, layers)
    found = _memory_of_device(_block_device(mount, root), mounts, root, layers)
    return found and f"{mount.kind} on {found}"


def _memory_of_overlay(mount: Mount, mounts: Mounts, root: Path, layers: int) -> str | None:
    """Return what the writable layer of an overlay is in.

    That of a root file system may have been mounted before the root was, as raspi-config does it:
    then its path leads to the overlay itself, and it is in memory. A container's is on the disk of
    its host.
    """
    upper = mount.option("upperdir")
    if upper is None:
        return None  # It cannot be written.
    below = mount_of(Path(upper), mounts)
    if below is not None and below != mount:
        found = _memory(below, mounts, root, layers - 1)
        return found and f"overlay on {found}"
    return None if is_container(root) else "overlay"


def is_container(root: Path = Path("/")) -> bool:
    """Return whether this is a container, whose root file system is its host's affair."""
    marks = ("run/systemd/container", ".dockerenv", "run/.containerenv")
    return any((root / mark).exists() for mark in marks)


def _block_device(mount: Mount, root: Path) -> Path:
    """Return the directory of the file system's block device below /sys."""
    if not mount.device.startswith("0:"):
        return root / "sys/dev/block" / mount.device
    # File systems with several devices, such as btrfs, have a number of their own.
    return root / "sys/class/block" / Path(mount.source).name


def _memory_of_device(device: Path, mounts: Mounts, root: Path, layers: int) -> str | None:
    name = device.resolve().name.rstrip("0123456789")
    if name in MEMORY_DEVICES:
        return MEMORY_DEVICES[name]
    try:
        backing = (device / "loop/backing_file").read_text(encoding="utf-8").rstrip("\n")
    except OSError:
        below = [_memory_of_device(one, mounts, root, layers - 1) for one in _slaves(device)]
        return next((one for one in below if one), None) if layers else None
    found = _memory(mount_of(Path(backing), mounts), mounts, root, layers - 1)
    return found and f"a file on {found}"


def _slaves(device: Path) -> list[Path]:
    """Return the devices below one that the device mapper or md made, as for encryption."""
    return sorted((device / "slaves").glob("*"))
