"""The daemon, with a witness: `witnessed_daemon.py FILE ARGUMENTS...`.

Each reading is noted in FILE just before it is committed, with its message id: what is committed
is in FILE. What is in it and was not committed has its id taken by a later line.
"""

import json
import os
import sys
from typing import Any

from agent.cli import parser
from agent.readings import outbox_tables


def witness(path: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    insert = outbox_tables.insert

    def noted(database: Any, reading: Any, taken: Any) -> tuple[str, int]:
        own, sequence = insert(database, reading, taken)
        line = [f"{own}:{sequence}", reading.temperature, reading.humidity, taken.wall]
        # Unbuffered: the process may be killed at any time.
        os.write(file, json.dumps(line).encode() + b"\n")
        return own, sequence

    outbox_tables.insert = noted


if __name__ == "__main__":
    path, *arguments = sys.argv[1:]
    witness(path)
    sys.exit(parser.main(arguments))
