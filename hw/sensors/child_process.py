"""A child process that answers each line with a line of JSON."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LONGEST_LINE = 65536  # bytes
LAUNCHER = Path(__file__).parents[2] / "launch"
"""What starts programs with the packages in the Debian package. Other copies do not have it."""


def python_for_programs(launcher: Path = LAUNCHER) -> list[str]:
    """Return the command that runs a program's file with the modules of this process."""
    if launcher.exists():
        return [str(launcher), "--program"]
    # With -P, because the working directory may contain a file board.py.
    return [sys.executable, "-P"]


class Child:
    """A process in a session and process group of its own. It is killed with all its children.

    It answers each line of its standard input with a JSON object on its standard output. It exits
    at the end of its input, and therefore also when this process dies. `output` has what it and its
    children print to standard error. The constructor raises `OSError` if it cannot start.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._printed,
                env=environment,
                start_new_session=True,
                bufsize=0,
            )
        except OSError:
            self._printed.close()
            raise
        assert self._process.stdin is not None  # noqa: S101 - for mypy: it is a pipe
        assert self._process.stdout is not None  # noqa: S101 - the same
        self._to, self._from = self._process.stdin, self._process.stdout
        self._received = b""

    @property
    def pid(self) -> int:
        """The id of the process, its session and its group."""
        return self._process.pid

    def send(self, line: str) -> None:
        """Send a line. Raise `OSError` if the process has ended."""
        self._to.write(line.encode() + b"\n")

    def receive(self, seconds: float) -> dict[str, Any]:
        """Return the next answer.

        Raise `TimeoutError` after so many seconds, `EOFError` if the process has ended, and
        `ValueError` if the answer is not a JSON object.
        """
        until = time.monotonic() + seconds
        while b"\n" not in self._received:
            self._wait(until)
            chunk = os.read(self._from.fileno(), LONGEST_LINE)
            if not chunk:
                raise EOFError("the child process ended")
            self._received += chunk
            if len(self._received) > LONGEST_LINE:
                raise ValueError("the child process sent too much")
        line, _, self._received = self._received.partition(b"\n")
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError(f"the child process sent {answer!r}")  # noqa: TRY004 - not a type of ours
        return answer

    def output(self) -> str:
        """Return the last 2,000 characters that the process and its children printed."""
        size = self._printed.seek(0, os.SEEK_END)
        self._printed.seek(max(0, size - 2000))
        return self._printed.read().decode(errors="replace").strip()

    def kill(self) -> None:
        """Kill the group, from any thread. A waiting `receive` raises `EOFError`."""
        with self._lock:
            self._kill()

    def end(self, grace: float = 0.0) -> None:
        """Wait `grace` seconds for the process to exit, then kill what is left of its group."""
        with contextlib.suppress(OSError):
            self._to.close()
        if grace:
            with contextlib.suppress(TimeoutError, OSError):
                until = time.monotonic() + grace
                while True:
                    self._wait(until)
                    if not os.read(self._from.fileno(), LONGEST_LINE):
                        break
        with self._lock:
            self._kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # Stuck in the kernel.
                self._process.wait(timeout=5.0)
        self._from.close()
        self._printed.close()

    def _kill(self) -> None:
        # Only before the process is reaped. After that its id may belong to another one.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _wait(self, until: float) -> None:
        poll = select.poll()
        poll.register(self._from, select.POLLIN)
        if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            raise TimeoutError("the child process did not answer in time")
