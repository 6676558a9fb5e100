"""The daemon, killed at a named step of a reading's way: `crashing_daemon.py POINT ARGUMENTS...`.

It is the real program with the real SDK; only, at the point, the process ends as by `kill -9`.
"""

import inspect
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import paho.mqtt.client

import agent.cloud.hub
import agent.cloud.publisher
import agent.readings.outbox
import agent.readings.outbox_tables
import agent.storage.assignment
import agent.storage.settings
import agent.storage.store_file
from agent.cli import parser
from agent.readings.clock import Stamp
from hw import Reading

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
    """Make the disk full for the readings from `first` to `last`."""
    insert = agent.readings.outbox_tables.insert
    calls = iter(range(1, sys.maxsize))

    def failing(database: sqlite3.Connection, reading: Reading, taken: Stamp) -> tuple[str, int]:
        if first <= next(calls) <= last:
            raise sqlite3.OperationalError("database or disk is full")
        return insert(database, reading, taken)

    agent.readings.outbox_tables.insert = failing


def in_the_rescue(when: Callable[[], None]) -> None:
    full_disk(3, 6)
    when()


def in_the_middle_of_making_the_file() -> None:
    upgrade = agent.storage.store_file._upgrade

    def half(database: sqlite3.Connection) -> None:
        database.set_progress_handler(die, 60)
        upgrade(database)

    agent.storage.store_file._upgrade = half


tables, outbox, paho_client = (
    agent.readings.outbox_tables,
    agent.readings.outbox.Outbox,
    paho.mqtt.client.Client,
)

POINTS: dict[str, Callable[[], None]] = {
    "before a reading is kept": partial(at, outbox, "_add", before=True),
    "before its commit": partial(at, tables, "insert", after=True),
    "after its commit": partial(at, outbox, "_make_room", before=True),
    "before it is sent": partial(at, agent.cloud.publisher, "message", before=True),
    "when it is composed": partial(at, agent.cloud.publisher, "message", after=True),
    "before it is published": partial(at, paho_client, "_send_publish", before=True, call=6),
    "after it is published": partial(at, paho_client, "_send_publish", after=True, call=6),
    "before its acknowledgement is seen": partial(
        at, paho_client, "_handle_pubackcomp", before=True, call=6
    ),
    "after its acknowledgement is seen": partial(
        at, paho_client, "_handle_pubackcomp", after=True, call=6
    ),
    "before it is removed": partial(at, outbox, "_remove", before=True, call=2),
    "before its removal's commit": partial(at, tables, "delete", after=True, call=2),
    "after it is removed": partial(at, outbox, "_remove", after=True, call=2),
    "before registration": partial(at, agent.cloud.hub, "register", before=True, call=1),
    "after registration": partial(at, agent.cloud.hub, "register", after=True, call=1),
    "after the assignment is stored": partial(
        at, agent.storage.assignment.StoredAssignment, "save", after=True, call=1
    ),
    "before the settings are replaced": partial(
        at, agent.storage.settings, "replace_file", before=True, call=1
    ),
    "after the settings are replaced": partial(
        at, agent.storage.settings, "replace_file", after=True, call=1
    ),
    "while the file is made": in_the_middle_of_making_the_file,
    "after the file is made": partial(
        at, agent.storage.store_file, "_check_tables", before=True, call=1
    ),
    "before readings in memory come to the disk": partial(
        in_the_rescue, partial(at, tables, "insert_rescued", before=True, call=2)
    ),
    "before the commit of those": partial(
        in_the_rescue, partial(at, tables, "insert_rescued", after=True, call=2)
    ),
    "after the commit of those": partial(
        in_the_rescue, partial(at, outbox, "_take_up", after=True, call=2)
    ),
    "after a damaged file is set aside": partial(
        at, agent.storage.store_file, "set_aside", after=True, call=1
    ),
}


if __name__ == "__main__":
    point, *arguments = sys.argv[1:]
    POINTS[point]()
    sys.exit(parser.main(arguments))
