"""How much a day's readings write to a disk, as the disk itself counts it."""

import asyncio
import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from agent.readings.clock import Clock
from agent.readings.disk import Directory
from agent.readings.outbox import OUTBOX_NAME, START, Outbox
from hw import Reading

SECTOR = 512  # Bytes, of which /sys/block/*/stat counts, whatever the disk has.
SECTORS_WRITTEN = 6  # The place among its fields: Documentation/block/stat.rst.
APART = 0.015  # Seconds: readings within one tick of the file's time would write less.
IMAGE = 256 * 1024 * 1024  # Bytes.


def can_be_measured():
    """Tell whether a file system of our own can be mounted here: Linux, root, e2fsprogs."""
    tools = all(shutil.which(name) for name in ("mkfs.ext4", "mount", "umount"))
    return tools and Path("/dev/loop-control").exists() and os.geteuid() == 0


def bytes_written(readings, *, before, write_out):
    """Return the bytes that reach the disk for `readings`, after `before` that are not counted.

    Each is added, and removed as after its acknowledgement. With `write_out`, everything that is
    still in memory is written then, as it is within the minute until the next one. Raises OSError
    or CalledProcessError where no file system can be mounted.
    """
    with _own_file_system() as (directory, written):
        return asyncio.run(_measure(directory, written, readings, before, write_out))


async def _measure(directory, written, readings, before, write_out):
    clock = Clock()
    disk = Directory(directory / OUTBOX_NAME, before_create=lambda: None)
    outbox = Outbox(disk, state=directory, clock=clock)
    try:
        await outbox.open()
        for number in range(before + readings):
            if number == before:
                at_first = written()
            await outbox.add(Reading(20.0 + number % 10 / 10, 45.0), clock.stamp())
            await outbox.remove(await outbox.after(START, limit=100))
            if write_out:
                _write_out(directory)
            await asyncio.sleep(APART)
        return written() - at_first
    finally:
        await outbox.close()


@contextmanager
def _own_file_system():
    """Mount a fresh ext4, made as distributions make it; yield it and a count of bytes written."""
    with tempfile.TemporaryDirectory(prefix="sensor-agent-bench-") as place:
        image, directory = Path(place, "image"), Path(place, "mounted")
        directory.mkdir()
        with image.open("wb") as file:
            file.truncate(IMAGE)
        # Now, and not in the background while we count.
        at_once = "lazy_itable_init=0,lazy_journal_init=0"
        _do("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", at_once, image)
        _do("mount", "-o", "loop,noatime", image, directory)
        try:
            yield directory, _counter(directory)
        finally:
            _unmount(directory)


def _counter(directory):
    device = directory.stat().st_dev
    stat = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")

    def written():
        return int(stat.read_text().split()[SECTORS_WRITTEN]) * SECTOR

    return written


def _write_out(directory):
    """Do syncfs(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(directory, os.O_RDONLY)
    try:
        if libc.syncfs(handle):
            raise OSError(ctypes.get_errno(), "syncfs failed")
    finally:
        os.close(handle)


def _unmount(directory):
    for _ in range(20):
        if subprocess.run(["umount", directory], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)  # Somebody, an indexer say, is looking at it.
    _do("umount", directory)


def _do(*command):
    subprocess.run(command, check=True, capture_output=True)
