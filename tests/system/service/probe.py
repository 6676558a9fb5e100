"""Tries what the service must not be able to do, in its place, and writes down what it could.

The arguments are files to try to read.
"""

import json
import os
import socket
import stat
import sys
from pathlib import Path

PROTECTED = ("/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/power/state")


def works(action, *arguments):
    try:
        action(*arguments)
    except OSError:
        return False
    return True


def make_file(directory):
    name = Path(directory, "probe-of-a-test")
    name.touch(exist_ok=False)
    name.unlink()


def write(name):
    os.close(os.open(name, os.O_WRONLY))


def read(name):
    with Path(name).open("rb") as file:
        file.read(1)


def files():
    """Look at all there is but /proc and /sys."""
    for place, below, names in os.walk("/"):
        directory = Path(place)
        if place == "/":
            below[:] = [name for name in below if name not in {"proc", "sys"}]
        yield place, [str(directory / name) for name in names]


def devices():
    """Open each device; return the numbers of the errors by the device's name, 0 for none."""
    found: dict[str, int | None] = {}
    for path in Path("/dev").iterdir():
        if not path.is_symlink() and (path.is_char_device() or path.is_block_device()):
            try:
                os.close(os.open(path, os.O_RDWR | os.O_NOCTTY))
                found[path.name] = 0
            except OSError as error:
                found[path.name] = error.errno
    return found


def probe():
    found: dict[str, list[str]] = {"directories": [], "files": [], "secrets": []}
    for directory, names in files():
        if works(make_file, directory):
            found["directories"].append(directory)
        for name in names:
            try:
                mode = os.lstat(name).st_mode
            except OSError:
                continue
            if stat.S_ISREG(mode) and works(write, name):
                found["files"].append(name)
            if stat.S_ISREG(mode) and not mode & stat.S_IROTH and works(read, name):
                found["secrets"].append(name)
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    processes = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
    return found | {
        "devices": devices(),
        "named": [name for name in sys.argv[1:] if works(read, name)],
        "protected": [name for name in PROTECTED if works(write, name)],
        "raw": works(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "netlink": works(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "others": [p.name for p in processes if p.stat().st_uid != os.getuid()],
        "status": {n: status[n].strip() for n in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")},
        "user": os.getuid(),
    }


Path(os.environ["STATE_DIRECTORY"], "probe.json").write_text(json.dumps(probe()))
