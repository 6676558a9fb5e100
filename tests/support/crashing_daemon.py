"""The daemon, killed at a named step of a reading's way: `crashing_daemon.py POINT ARGUMENTS...`.

It is the real program with the real SDK; only, at the point, the process ends as by `kill -9`.
"""

import errno
import inspect
import os
import signal
import sys
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import paho.mqtt.client

import agent.cloud.hub
import agent.cloud.publisher
import agent.readings.outbox
import agent.storage.assignment
import agent.storage.settings
from agent.cli import parser
from agent.readings import segment_files
from agent.readings.disk import Directory

SOME = 4  # The call that ends the process. Not the first: some readings are stored before.


def die(*_arguments: Any) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


def at(
    owner: Any, name: str, *, before: bool = False, after: bool = False, call: int = SOME
) -> None:
    """End the process at the `call`th call of a function, before or after its work."""
    function = getattr(owner, name)
    calls = iter(range(1, sys.maxsize))

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def wrapper(*arguments: Any, **keywords: Any) -> Any:
            now = next(calls) == call
            if now and before:
                die()
            result = await function(*arguments, **keywords)
            if now and after:
                die()
            return result
    else:

        @wraps(function)
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            now = next(calls) == call
            if now and before:
                die()
            result = function(*arguments, **keywords)
            if now and after:
                die()
            return result

    setattr(owner, name, wrapper)


def full_disk(first: int, last: int) -> None:
    """Make the disk full for the saves from `first` to `last`."""
    write = Directory.write
    calls = iter(range(1, sys.maxsize))

    def failing(disk: Directory, handle: int, content: bytes, offset: int) -> None:
        if first <= next(calls) <= last:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(disk, handle, content, offset)

    Directory.write = failing  # type: ignore[assignment, method-assign]  # The purpose of this module.


def in_the_rescue(when: Callable[[], None]) -> None:
    full_disk(3, 6)
    when()


def with_small_files(when: Callable[[], None]) -> None:
    """Begin a new file with each block."""
    segment_files.BLOCKS_PER_FILE = 1
    vars(segment_files)["PER_BLOCK"] = 3
    when()


outbox, publisher = agent.readings.outbox.Outbox, agent.cloud.publisher
paho_client = paho.mqtt.client.Client
files = segment_files.SegmentFiles

POINTS: dict[str, Callable[[], None]] = {
    "before a reading is kept": partial(at, outbox, "_add", before=True),
    "before it is written": partial(at, Directory, "write", before=True),
    "before its sync": partial(at, Directory, "write", after=True),
    "after its sync": partial(at, Directory, "sync", after=True),
    "before it is sent": partial(at, publisher, "message", before=True),
    "when it is composed": partial(at, publisher, "message", after=True),
    "before it is published": partial(at, paho_client, "_send_publish", before=True, call=6),
    "after it is published": partial(at, paho_client, "_send_publish", after=True, call=6),
    "before its acknowledgement is seen": partial(
        at, paho_client, "_handle_pubackcomp", before=True, call=6
    ),
    "after its acknowledgement is seen": partial(
        at, paho_client, "_handle_pubackcomp", after=True, call=6
    ),
    "before it is removed": partial(at, outbox, "remove", before=True, call=2),
    "before its removal is written": partial(at, outbox, "remove", after=True, call=2),
    "while the first file is made": partial(at, Directory, "create", after=True, call=1),
    "before its name is synced": partial(at, Directory, "sync_names", before=True, call=1),
    "while a further file is made": partial(
        with_small_files, partial(at, Directory, "create", after=True, call=3)
    ),
    "before a file is deleted": partial(
        with_small_files, partial(at, Directory, "delete", before=True, call=1)
    ),
    "after a file is deleted": partial(
        with_small_files, partial(at, Directory, "delete", after=True, call=1)
    ),
    "before readings in memory come to the disk": partial(
        in_the_rescue, partial(at, Directory, "create", before=True, call=5)
    ),
    "before the sync of those": partial(
        in_the_rescue, partial(at, Directory, "create", after=True, call=5)
    ),
    "after the sync of those": partial(
        in_the_rescue, partial(at, outbox, "_all_saved", before=True, call=3)
    ),
    "after damaged files are read": partial(at, files, "load", after=True, call=1),
}
# The settings then keep the assignment.
POINTS_OF_REGISTRATION: dict[str, Callable[[], None]] = {
    "before registration": partial(at, agent.cloud.hub, "register", before=True, call=1),
    "after registration": partial(at, agent.cloud.hub, "register", after=True, call=1),
    "after the assignment is stored": partial(
        at, agent.storage.assignment.StoredAssignment, "save", after=True, call=1
    ),
    "before the settings are replaced": partial(
        at, agent.storage.settings, "replace_file", before=True, call=1
    ),
    "while the settings are replaced": partial(at, Path, "rename", before=True, call=1),
    "after the settings are replaced": partial(at, Path, "rename", after=True, call=1),
}


if __name__ == "__main__":
    point, *arguments = sys.argv[1:]
    (POINTS | POINTS_OF_REGISTRATION)[point]()
    sys.exit(parser.main(arguments))
