#!/usr/bin/python3 -IS
"""Starts the new version of the daemon, and the previous one again if the new one does not start.

    upgrade.py start VERSION   for postinst of sensor-agent
    upgrade.py unchanged       for postinst of a package that adds modules to it

preinst has made a copy of the previous version, and a link to its unit in /etc/systemd/system.
While the copy exists, launch runs it, except while this program tries the new version and holds a
lock. So the previous version and its unit stay in use however this program ends, even by a power
cut.

It runs with the system's Python, because launch may run the copy. Its exit status is 0, unless dpkg
must configure the package again: a service that does not start must not leave the package
half-configured.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE, CENTRAL = "sensor-agent", "sensor-agent-central"
UNIT, CENTRAL_UNIT = f"{PACKAGE}.service", f"{CENTRAL}.service"
CONFIG = "/etc/sensor-agent/config.toml"
CANNOT_WORK = 78  # The exit status for mistakes in the configuration.

# Below the root directory:
TREE, COPY = "usr/lib/sensor-agent", "usr/lib/sensor-agent.previous"
LOCK = "run/sensor-agent.trial"  # The same as in launch.
NEW_UNIT = f"usr/lib/systemd/system/{UNIT}"
LOCAL_UNIT = f"etc/systemd/system/{UNIT}"  # It hides the new one.
# It hides both. Like the lock, it does not outlive a power cut.
TRIAL_UNIT = f"run/systemd/system.control/{UNIT}"
WANTED = f"etc/systemd/system/multi-user.target.wants/{UNIT}"

# Of `make install` before there was a package. LOCAL_UNIT was its unit.
OLD = "opt/sensor-agent"
OLD_FILES = (
    "usr/local/bin/sensor-agent",
    "usr/local/lib/systemd/catalog/sensor-agent.catalog",
    "etc/udev/rules.d/60-sensor-agent.rules",
)

Run = Callable[..., subprocess.CompletedProcess[str]]


def main() -> int:
    root = Path("/")
    for number in (signal.SIGHUP, signal.SIGTERM):  # As by SIGINT, the trial ends.
        signal.signal(number, lambda *_: sys.exit(1))
    if sys.argv[1] == "unchanged":
        forget_if_unchanged(root, run)
        return 0
    return start(root, run, version=sys.argv[2])


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command, and return its status and all that it printed."""
    return subprocess.run(
        command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def start(root: Path, run: Run, *, version: str) -> int:
    """Try the new version, and print which version runs if it is not the new one.

    Return the exit status.
    """
    if not (root / "run/systemd/system").is_dir():
        remove_previous(root)
        return 0
    if run("systemctl", "is-system-running").stdout.strip() == "stopping":
        _print("The machine is shutting down. To complete the upgrade: sudo dpkg --configure -a")
        return 1
    had_copy, is_to_run = (root / COPY).is_dir(), _is_to_run(run)
    with trial(root, run):
        if mistakes := refusal(root, run):
            _print(
                f"{mistakes}\nThe service was not restarted, because it would refuse its "
                "configuration; the previous version continues to run. Correct the mistake, and "
                "then: sudo dpkg-reconfigure sensor-agent"
            )
            return 0
        if started := not is_to_run or restart(run, "deb-systemd-invoke"):
            remove_previous(root)
    if not started:
        _print(
            f"{_return_to_previous(root, run, version)} The reason: sudo journalctl -u "
            "sensor-agent. To try again: sudo dpkg-reconfigure sensor-agent"
        )
    elif had_copy:
        _restart_central(run)
    return 0


def _is_to_run(run: Run) -> bool:
    """Return whether the service is enabled, or its owner has started it.

    During the trial, systemd counts every service as enabled that has a link in /etc.
    """
    is_enabled = "enabled" in run("systemctl", "is-enabled", UNIT).stdout
    return is_enabled or run("systemctl", "--quiet", "is-active", UNIT).returncode == 0


def _return_to_previous(root: Path, run: Run, version: str) -> str:
    """Start the previous version, and return what happened, as a sentence."""
    if not ((root / COPY).is_dir() or has_old_layout(root)):
        return f"sensor-agent {version} does not start."
    if restart(run, "systemctl", "--quiet"):
        return f"sensor-agent {version} did not start, so the previous version runs again."
    return f"Neither sensor-agent {version} nor the previous version starts."


@contextmanager
def trial(root: Path, run: Run) -> Iterator[None]:
    """Have launch run the new version, and systemd use the new unit, while the block lasts."""
    lock, unit = root / LOCK, root / TRIAL_UNIT
    lock.unlink(missing_ok=True)
    descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        os.fchmod(descriptor, 0o644)  # Before, another user could have locked it.
        if is_ours(root, root / LOCAL_UNIT):
            unit.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / NEW_UNIT, unit)  # systemd ignores a link to the same name.
        _reload(run)
        yield
    finally:
        unit.unlink(missing_ok=True)
        lock.unlink(missing_ok=True)
        os.close(descriptor)
        _reload(run)


def refusal(root: Path, run: Run) -> str:
    """Return the mistakes for which the running daemon would not start again; "" if it would.

    Its file was then changed while it ran. Only the file is checked: what the service does with
    its credentials depends on its unit.
    """
    if run("systemctl", "--quiet", "is-active", UNIT).returncode != 0:
        return ""
    for place in (TREE, COPY):
        # It reads the file, but no secrets. A new version that is broken has another status.
        done = run(str(root / place / "launch"), "model", "--config", CONFIG)
        if done.returncode == CANNOT_WORK:
            return done.stdout.strip()
        if done.returncode == 0:
            break
    return ""


def restart(run: Run, *program: str) -> bool:
    """Restart the service with this program, and return whether it became ready.

    That takes at most TimeoutStartSec= of the unit. Without a configuration, systemd does not
    start it, and a policy of its owner may forbid it to deb-systemd-invoke: both are a success.
    """
    done = run(*program, "restart", UNIT)
    if done.stdout:
        _print(done.stdout.rstrip())
    return done.returncode == 0


def _reload(run: Run) -> None:
    run("systemctl", "--system", "daemon-reload")


def forget_if_unchanged(root: Path, run: Run) -> None:
    """Remove the copy if sensor-agent itself was not upgraded, but only what adds to it."""
    kept, installed = root / COPY / "launch", root / TREE / "launch"
    both = kept.exists() and installed.exists()
    if both and kept.samefile(installed) and _is_installed(run, PACKAGE):
        remove_previous(root)


def remove_previous(root: Path) -> None:
    """Remove the previous version and its unit. Each power cut leaves a version that works."""
    unit, wanted, is_old = root / LOCAL_UNIT, root / WANTED, has_old_layout(root)
    if is_ours(root, unit):
        unit.unlink(missing_ok=True)
        if wanted.is_symlink():  # It may lead to the unit that was removed.
            new = wanted.with_name(f"{UNIT}.new")
            new.unlink(missing_ok=True)
            new.symlink_to(f"/{NEW_UNIT}")
            new.replace(wanted)
    _remove(root / COPY)
    if is_old:
        for name in OLD_FILES:
            (root / name).unlink(missing_ok=True)
        _remove(root / OLD)


def _remove(directory: Path) -> None:
    going = directory.with_name(f"{directory.name}.new")
    shutil.rmtree(going, ignore_errors=True)
    if directory.is_dir():
        directory.rename(going)  # A power cut must not leave a part of it.
        shutil.rmtree(going)


def has_old_layout(root: Path) -> bool:
    """Return whether `make install` has installed the program before there was a package."""
    return (root / OLD / "current").is_symlink()


def is_ours(root: Path, unit: Path) -> bool:
    """Return whether the unit in /etc is the previous version's, and not one of its owner."""
    return _leads_to(unit, f"{COPY}/{UNIT}") or (has_old_layout(root) and unit.is_file())


def _leads_to(link: Path, target: str) -> bool:
    return link.is_symlink() and link.readlink() == Path("/", target)


def _restart_central(run: Run) -> None:
    # It may run from the copy that was removed. If it is upgraded too, its postinst follows.
    # Nothing waits for it, because converting a large database takes minutes.
    if _is_installed(run, CENTRAL):
        run("systemctl", "--no-block", "try-restart", CENTRAL_UNIT)


def _is_installed(run: Run, package: str) -> bool:
    """Return whether dpkg has installed the package completely."""
    done = run("dpkg-query", "--show", "--showformat", "${db:Status-Status}", package)
    return done.stdout == "installed"


def _print(sentences: str) -> None:
    print(sentences, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
