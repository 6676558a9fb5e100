"""The disk: free space, writing to it, and the readings that wait on it."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

from agent.diagnostics.examination import Examination
from agent.diagnostics.finding import Finding, failed, ok, skipped, warning
from agent.diagnostics.mounts import OVERLAY_ROOT, memory_of, read_mounts
from agent.diagnostics.registry import check
from agent.diagnostics.service_advice import how_to_restart
from agent.errors import in_words
from agent.readings.outbox import OUTBOX_NAME, waiting_in
from agent.status import OutboxPart

MEGABYTE = 1_000_000
LEAST = 20 * MEGABYTE  # Bytes free; with less, programs on the machine begin to fail.
ROOM_WANTED = 86400.0  # Seconds that the outbox should last without the hub.
ASK_ROOT = "this user has no access to {}: use sudo sensor-agent check"
MAKE_ROOM = "Make room: sudo apt clean; sudo journalctl --vacuum-size=50M"
DISK_LOG = "sudo dmesg | grep -i -e mmcblk -e nvme -e 'sd[a-z]' -e ext4"


@check("disk-space")
def disk_space(examination: Examination) -> Finding:
    """Check that the outbox has room to grow to its limit."""
    state, limit = examination.state, examination.config.outbox.max_megabytes
    place = next(path for path in (state, *state.parents) if path.exists())
    free = shutil.disk_usage(place).free
    line = f"The disk of {state} has {free // MEGABYTE} MB free."
    if free < LEAST:
        return failed(line, MAKE_ROOM)
    if free < limit * MEGABYTE:
        return warning(
            f"{line} The outbox may grow to {limit} MB.",
            "Make room, or set a smaller max_megabytes in [outbox].",
        )
    return ok(line)


@check("disk-write")
def disk_write(examination: Examination) -> Finding:
    """Write a file to the disk, read it back, and check that the disk is a lasting one."""
    state = examination.state
    mounts = read_mounts(examination.root)
    top = mounts.get(Path("/"))
    is_read_only = top is not None and top.is_read_only
    remark = " The root file system is read-only." if is_read_only else ""
    memory = memory_of(state, mounts, examination.root)
    if not state.exists():
        return _missing(state, examination) if memory is None else _in_memory(state, memory)
    try:
        _write_and_read(state)
    except OSError as error:
        if examination.may_ask_root and isinstance(error, PermissionError):
            return skipped(ASK_ROOT.format(state))
        line = f"Cannot write to {state}: {in_words(error)}.{remark}"
        return failed(line, _remedy(error, state))
    if memory is not None:
        return _in_memory(state, memory)
    if is_read_only:
        return warning(
            f"{state} is writable.{remark}",
            f"Unless that is on purpose, the disk is failing: {DISK_LOG}",
        )
    return ok(f"{state} is writable.")


def _in_memory(state: Path, memory: str) -> Finding:
    advice = "Move it to a disk."
    if memory.startswith("overlay"):
        advice = f"{OVERLAY_ROOT} Or mount a disk at {state}."
    return warning(f"{state} is in memory ({memory}), so a power cut loses what is in it.", advice)


def _missing(state: Path, examination: Examination) -> Finding:
    if examination.status is None or examination.status.outbox is None:
        return skipped(f"{state} does not exist; the daemon creates it when it starts")
    return failed(
        f"{state} was removed, and the daemon cannot recreate it: readings are in memory only.",
        how_to_restart(examination.root),
    )


def _write_and_read(directory: Path) -> None:
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(b"sensor-agent")
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        if file.read() != b"sensor-agent":
            raise OSError(errno.EIO, "the data read differ from those written")


def _remedy(error: OSError, state: Path) -> str:
    if isinstance(error, PermissionError):
        return f"Make the daemon's user its owner: sudo chown -R sensor-agent: {state}"
    if error.errno == errno.ENOSPC:
        return MAKE_ROOM
    if error.errno == errno.EROFS:
        return (
            f"Linux makes a failing disk read-only: {DISK_LOG}. Try sudo mount -o remount,rw / and "
            "have a new disk or card ready."
        )
    return f"To find the reason: {DISK_LOG}"


@check("outbox", needs=("daemon",))
def outbox(examination: Examination) -> Finding:
    if examination.status is not None:
        return outbox_of_daemon(examination.status.outbox)
    return outbox_here(examination.state)


def outbox_here(state: Path) -> Finding:
    """Read the queue of a daemon that is not running, without changing it."""
    directory = state / OUTBOX_NAME
    try:
        found = waiting_in(directory)
    except OSError as error:
        if isinstance(error, PermissionError):
            return skipped(ASK_ROOT.format(directory))
        line = f"Cannot read {directory}: {in_words(error)}."
        return failed(line, _remedy(error, state), see=("disk-write",))
    line = f"{_readings(found.count)}, in {directory}."
    if found.damaged:
        return failed(
            f"{line} {found.damaged} damaged records or blocks are skipped.",
            f"The disk may be failing: {DISK_LOG}",
        )
    return ok(line)


def outbox_of_daemon(outbox: OutboxPart | None) -> Finding:
    """Judge the running daemon's queue by its status; None means that there is no [cloud]."""
    if outbox is None:
        return skipped("without [cloud] nothing is kept")
    details = [f"set aside: {one.file} ({one.reason})" for one in outbox.set_aside]
    details += [
        f"dropped ({gap.reason}): {gap.run}:{gap.first} to {gap.last}" for gap in outbox.dropped
    ]
    if outbox.damaged:
        details.append(f"damaged: {outbox.damaged} records or blocks were skipped")
    if outbox.error is not None or outbox.in_memory:
        return failed(
            outbox.error or f"Readings that are in memory only: {outbox.in_memory}.",
            f"To find the reason: {DISK_LOG}",
            *details,
            see=("disk-space", "disk-write"),
        )
    line = _readings(outbox.waiting)
    if details:
        return warning(
            f"{line}; some were dropped, damaged or set aside.",
            "To list them: sensor-agent check --verbose --only outbox. The journal has the times.",
            *details,
        )
    if outbox.room_seconds < ROOM_WANTED:
        return warning(
            f"{line}; there is room for less than a day.",
            "Find out why the hub cannot be reached, or set a larger max_megabytes in [outbox].",
        )
    return ok(f"{line}.")


def _readings(count: int) -> str:
    return f"{count} reading{' waits' if count == 1 else 's wait'} to be sent"
