"""The daemon, with a witness: `witnessed_daemon.py FILE ARGUMENTS...`.

Each reading is noted in FILE just before it is written, with its message id. What was written is in
FILE; the last reading of a run that is in FILE may not have been written.
"""

import json
import os
import sys

from agent.cli import parser
from agent.readings.segment_files import Entry, SegmentFiles


def witness(path: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    save = SegmentFiles.save

    def noted(files: SegmentFiles, entries: list[Entry]) -> None:
        for entry in entries:
            reading = entry.reading
            line = [entry.message_id, reading.temperature, reading.humidity, entry.taken.wall]
            # Unbuffered: the process may be killed at any time.
            os.write(file, json.dumps(line).encode() + b"\n")
        save(files, entries)

    SegmentFiles.save = noted  # type: ignore[assignment, method-assign]  # The purpose of this module.


if __name__ == "__main__":
    path, *arguments = sys.argv[1:]
    witness(path)
    sys.exit(parser.main(arguments))
