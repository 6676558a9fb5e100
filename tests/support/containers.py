"""Machines with a real systemd, for as long as a test needs them: systemd-nspawn, booted.

Their files come from Debian by mmdebstrap, once, and are kept in the cache. A machine has no
network but its own loopback.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sensor-agent-tests"

# What every Raspberry Pi OS has, and what the installer fetches there: that is laid by, with the
# lists of packages, so that apt finds it without a network.
THERE = (
    "systemd,systemd-sysv,dbus,udev,kmod,iproute2,python3,passwd,procps,libnss-systemd,make,sudo"
)
LAID_BY = "python3-venv python3-systemd python3-cryptography ca-certificates"
DOWNLOAD = "apt-get install -q -y --no-install-recommends --download-only"
MORE = {"bookworm": "", "trixie": ",systemd-timesyncd"}  # One whose time timesyncd keeps, one not.

ENVIRONMENT = (
    "env",
    "-i",
    "LANG=C.UTF-8",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
)

BOOTED_WITHIN = 60.0  # Seconds; it takes two.
DONE_WITHIN = 120.0  # Seconds for a command.


def root_file_system(suite):
    """Return the tar file with a new machine's files."""
    return debian(
        suite,
        "--skip=cleanup/apt/cache,cleanup/apt/lists",
        f"--include={THERE}{MORE[suite]}",
        '--customize-hook=chroot "$1" apt-get clean',
        f'--customize-hook=chroot "$1" {DOWNLOAD} {LAID_BY}',
    )


def debian(suite, *options):
    """Return the tar file of a Debian that mmdebstrap made with these options, now or before."""
    recipe = ["mmdebstrap", "--variant=apt", *options, suite]
    mark = hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:12]
    made = CACHE / f"{suite}-{mark}.tar"
    if not made.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = made.with_suffix(f".{os.getpid()}.tar")
        done = subprocess.run(
            [*recipe, unfinished], capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, done.stderr[-3000:]
        unfinished.rename(made)
    return made


class Machine:
    """One machine: its files in a directory of its own, its systemd running inside."""

    def __init__(self, suite, home, name="pi", files=None, added=None):
        self.suite = suite
        self._files = files or root_file_system(suite)  # A tar file.
        self._added = added or {}  # The texts of more files, by path.
        self.root = home / "root"
        self._log = home / "boot.log"
        self._groups = _control_groups(f"sensor-agent-test-{os.getpid()}-{suite}-{name}")

    def __enter__(self):
        self.root.mkdir()
        subprocess.run(["tar", "-xf", self._files, "-C", self.root], check=True)
        (self.root / "etc/machine-id").write_text("")
        (self.root / "etc/hostname").write_text("raspberrypi\n")
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 raspberrypi\n")
        for path, text in self._added.items():
            self.path(path).parent.mkdir(parents=True, exist_ok=True)
            self.path(path).write_text(text)
        self.boot()
        return self

    def __exit__(self, *_):
        try:
            self.power_off()
        finally:
            shutil.rmtree(self.root)

    def boot(self):
        for group in self._groups:
            group.mkdir()
        with self._log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                [
                    "systemd-nspawn",
                    *("--boot", "--quiet", "--directory", self.root, "--register=no"),
                    # Where no systemd runs outside there is nobody to ask for a scope.
                    *(["--keep-unit"] if self._groups else []),
                    *("--private-network", "--hostname=raspberrypi", "--console=pipe"),
                    "--timezone=off",  # An upgrade of tzdata cannot replace a mounted file.
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                preexec_fn=self._enter_groups,  # noqa: PLW1509 - there are no threads here
            )
        end = time.monotonic() + BOOTED_WITHIN
        while self.run("systemctl", "is-system-running", check=False).stdout != "running\n":
            assert self._nspawn.poll() is None, self._log.read_text(errors="replace")
            assert time.monotonic() < end, self._log.read_text(errors="replace")
            time.sleep(0.1)

    def _enter_groups(self):
        # Two machines in one control group would take each other's services for their own.
        for group in self._groups:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    def power_off(self):
        self.run("systemctl", "poweroff", check=False)
        self._clear_up()

    def cut_power(self):
        os.kill(int(self.pid), signal.SIGKILL)
        self._clear_up()

    def _clear_up(self):
        try:
            self._nspawn.wait(BOOTED_WITHIN)
        finally:
            self._nspawn.kill()
            self._nspawn.wait()
            for group in self._groups:
                for inner in sorted(group.rglob("*/"), reverse=True):
                    if inner.is_dir():
                        inner.rmdir()
                group.rmdir()

    @property
    def pid(self):
        """The id of the first process inside, as seen from outside."""
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        return (children.read_text().split()[:1] or ["0"])[0]

    def run(self, *command, check=True, timeout=DONE_WITHIN, **options):
        """Run a command inside, as root, and return what subprocess.run does."""
        done = subprocess.run(
            # The caller's environment has no business in there.
            ["nsenter", "--target", self.pid, "--all", "--root", "--wd", *ENVIRONMENT, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            **({} if "input" in options else {"stdin": subprocess.DEVNULL}) | options,
        )
        assert not check or done.returncode == 0, (
            f"{command}: {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        )
        return done

    def out(self, *command, **options):
        """Run a command inside, and return what it printed."""
        return self.run(*command, **options).stdout

    def path(self, inside):
        """Return where a file of the machine is, seen from outside."""
        return self.root / inside.lstrip("/")


def _control_groups(name):
    """Return the control groups to make for a machine; none where systemd makes them."""
    if Path("/run/systemd/system").exists():
        return []
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists():
        return [top / name]
    return [place / name for place in (top / "unified", top / "systemd") if place.exists()]
