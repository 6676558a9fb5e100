"""The files of a Debian for another processor, whose programs QEMU runs one by one.

There is no init and no maintainer script: packages are unpacked, not configured. A program cannot
start another one, because the kernel here does not know this processor.
"""

import re
import subprocess

from containers import debian

QEMU = {"arm64": "qemu-aarch64-static", "armhf": "qemu-arm-static"}
# The mirrors of Debian may have the lists for updates for some processors only.
MAIN_LIST_ALONE = r"""--setup-hook=sed -i '/-updates\|-security/d' "$1"/etc/apt/sources.list"""
ENTER = """\
mount --rbind /dev "$0/dev"
mount -t proc proc "$0/proc"
exec chroot "$0" "$@"
"""


class EmulatedSystem:
    """A root file system with these package files, and what they depend on, in `root`."""

    def __init__(self, suite, architecture, root, debs):
        self.root = root
        self._qemu = f"/usr/bin/{QEMU[architecture]}"
        root.mkdir()
        files = debian(
            suite,
            "--variant=extract",
            f"--architecture={architecture}",
            MAIN_LIST_ALONE,
            f"--include={','.join(['base-files', *dependencies(debs)])}",
        )
        subprocess.run(["tar", "-xf", files, "-C", root], check=True)
        for deb in debs:
            subprocess.run(["dpkg-deb", "--extract", deb, root], check=True)
        subprocess.run(["cp", self._qemu, root / self._qemu.lstrip("/")], check=True)

    def command(self, program, *arguments, **variables):
        """Return the command that runs a program of the system. Its process has QEMU's id."""
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": "/root",
            **variables,
        }
        return [
            *("env", "-i", *(f"{name}={value}" for name, value in environment.items())),
            *("/usr/bin/unshare", "--mount", "/bin/sh", "-ec", ENTER, self.root),
            *(self._qemu, program, *arguments),
        ]

    def run(self, program, *arguments, **variables):
        """Run a program of the system to its end, and return what subprocess.run does."""
        return subprocess.run(
            self.command(program, *arguments, **variables),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    def path(self, inside):
        """Return where a file of the system is, seen from outside."""
        return self.root / inside.lstrip("/")


def dependencies(debs):
    """Return the names of the packages that these need, without these themselves."""
    ours, needed = set(), set()
    for deb in debs:
        name, depends = (
            subprocess.run(
                ["dpkg-deb", "--field", deb, field], check=True, capture_output=True, text=True
            ).stdout.strip()
            for field in ("Package", "Depends")
        )
        ours.add(name)
        needed |= {re.sub(r"\s*\(.*\)", "", one).strip() for one in depends.split(",")}
    return sorted(needed - ours)
