"""The disk: is there room, can be written to it, and what waits on it."""

import errno
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from agent.diagnostics.checks.finding import Finding, failed, ok, skipped, warning
from agent.status import OutboxPart

MEGABYTE = 1_000_000
LEAST = 20 * MEGABYTE  # Bytes free: less, and soon nothing on the machine works.
VOLATILE = {"tmpfs", "ramfs", "overlay"}
ROOM_WANTED = 86400.0  # Seconds that the outbox should hold out without the hub.
ASK_ROOT = "you may not look into {}; ask with sudo sensor-agent check"


def disk_space(
    state: Path,
    *,
    max_megabytes: int,
    free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
) -> Finding:
    """Is there room for what the outbox may take. `state` need not exist yet."""
    place = next(path for path in (state, *state.parents) if path.exists())
    bytes_free = free(place)
    line = f"{bytes_free // MEGABYTE} MB are free where {state} is."
    if bytes_free < LEAST:
        return failed(line, "Make room: sudo apt clean; sudo journalctl --vacuum-size=50M.")
    if bytes_free < max_megabytes * MEGABYTE:
        return warning(
            f"{line} The outbox may take {max_megabytes} MB.",
            "Make room, or set a smaller max_megabytes in [outbox].",
        )
    return ok(line)


def disk_write(state: Path, *, mountinfo: Path, may_ask_root: bool) -> Finding:
    """Write a file, have it on disk, read it back; and is what holds it of use at all."""
    mounts = _mounts(mountinfo)
    is_read_only = _is_read_only(mounts.get("/"))
    remark = " The root file system is read-only." if is_read_only else ""
    if not state.exists():
        return skipped(f"{state} does not exist; the daemon makes it when it starts")
    try:
        _write_and_read(state)
    except OSError as error:
        if may_ask_root and isinstance(error, PermissionError):
            return skipped(ASK_ROOT.format(state))
        line = f"Nothing can be written to {state}: {error.strerror}.{remark}"
        return failed(line, _remedy(error, state))
    kind = _kind_of(state, mounts)
    if kind in VOLATILE:
        return warning(
            f"{state} is in memory ({kind}): what waits there is lost when the power is.",
            "Put it on a disk; where raspi-config made the card read-only, on another one.",
        )
    if is_read_only:
        return warning(
            f"{state} can be written to.{remark}",
            "If nobody wanted that, the card is failing: dmesg | grep -i -e mmcblk -e ext4.",
        )
    return ok(f"{state} can be written to.")


def _write_and_read(directory: Path) -> None:
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(b"sensor-agent")
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        if file.read() != b"sensor-agent":
            raise OSError(errno.EIO, "what was written was not what was read")


def _remedy(error: OSError, state: Path) -> str:
    if isinstance(error, PermissionError):
        return f"Give it to the daemon's user: sudo chown -R sensor-agent: {state}."
    if error.errno == errno.ENOSPC:
        return "Make room: sudo apt clean; sudo journalctl --vacuum-size=50M."
    if error.errno == errno.EROFS:
        return (
            "Linux makes a failing card read-only: dmesg | grep -i -e mmcblk -e ext4. Try: "
            "sudo mount -o remount,rw /. Have a new card at hand."
        )
    return "Look for the reason: dmesg | grep -i -e mmcblk -e ext4."


def _mounts(mountinfo: Path) -> dict[str, tuple[str, str]]:
    """Return type and options of each file system, by where it is mounted.

    The options are the file system's own, which systemd's protection of a service leaves alone.
    """
    mounts = {}
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    for line in lines:
        before, _, after = line.partition(" - ")
        where = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split()[4])
        kind, _, options = after.split(" ", 2)
        mounts[where] = (kind, options)
    return mounts


def _is_read_only(mount: tuple[str, str] | None) -> bool:
    return mount is not None and "ro" in mount[1].split(",")


def _kind_of(path: Path, mounts: Mapping[str, tuple[str, str]]) -> str:
    real = path.resolve()
    for place in (real, *real.parents):
        if str(place) in mounts:
            return mounts[str(place)][0]
    return "unknown"


def outbox_here(file: Path) -> Finding:
    """Look into the file while no daemon has it, and change nothing."""
    try:
        if not file.exists():
            return ok("Nothing waits: no daemon has kept anything here yet.")
        # SQLite would leave a -wal and a -shm, if it was not told that nobody writes.
        how = "mode=ro" if file.with_name(f"{file.name}-wal").exists() else "immutable=1"
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?{how}", uri=True)) as database:
            [[problem]] = database.execute("PRAGMA quick_check(1)")
            [[waiting]] = database.execute(
                "SELECT (SELECT count(*) FROM readings) + (SELECT count(*) FROM rescued)"
            )
    except (OSError, sqlite3.OperationalError) as error:
        if not os.access(file, os.R_OK | os.W_OK):
            return skipped(ASK_ROOT.format(file))
        return failed(f"{file} cannot be read: {error}.", "See the check disk-write.")
    except sqlite3.DatabaseError as error:
        return _damaged(file, str(error))
    if problem != "ok":
        return _damaged(file, problem)
    return ok(f"{_readings(waiting)}, in {file}.")


def _damaged(file: Path, problem: str) -> Finding:
    return failed(
        f"{file} is damaged: {problem}.",
        "The daemon sets it aside when it starts, and begins a fresh one. A failing card does "
        "that: dmesg | grep mmcblk.",
    )


def outbox_of_daemon(outbox: OutboxPart | None) -> Finding:
    """Judge the running daemon's queue by its status; None means that there is no [cloud]."""
    if outbox is None:
        return skipped("without [cloud] nothing is kept")
    details = [f"set aside: {one.file} ({one.reason})" for one in outbox.set_aside]
    details += [
        f"dropped ({gap.reason}): {gap.outbox_id}:{gap.first} to {gap.last}"
        for gap in outbox.dropped
    ]
    if outbox.error is not None or outbox.in_memory:
        return failed(
            outbox.error or f"Readings that are in memory only: {outbox.in_memory}.",
            "See the checks disk-space and disk-write.",
            *details,
        )
    line = _readings(outbox.waiting)
    if details:
        return warning(
            f"{line}; some were dropped or set aside.",
            "sensor-agent check --verbose --only outbox tells which; the journal tells when.",
            *details,
        )
    if outbox.room_seconds < ROOM_WANTED:
        return warning(
            f"{line}; there is room for less than a day.",
            "See why the hub cannot be reached; allow more in [outbox].",
        )
    return ok(f"{line}.")


def _readings(count: int) -> str:
    return f"{count} reading{' waits' if count == 1 else 's wait'} to be sent"
