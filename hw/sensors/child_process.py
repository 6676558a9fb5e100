"""A child process that answers with lines of JSON, and never outlives its use."""

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST_LINE = 65536  # bytes


class Child:
    """A process in a session and process group of its own, ended with all that it started.

    It is told lines on its standard input and answers each with one JSON object on its standard
    output. The end of its input is its sign to end, so it also ends when this process dies. What
    it and its own children print goes to standard error, which is kept for `complaint`.
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
        self._heard = b""

    @property
    def pid(self) -> int:
        """Its process id, and that of its session and group."""
        return self._process.pid

    def say(self, line: str) -> None:
        """Send it a line. Raise `OSError` if it is gone."""
        self._to.write(line.encode() + b"\n")

    def hear(self, seconds: float) -> dict[str, Any]:
        """Return its next answer, for which it has so many seconds.

        Raise `TimeoutError` when they are over, `EOFError` if it ended, `ValueError` if what it
        said is no JSON object.
        """
        until = time.monotonic() + seconds
        while b"\n" not in self._heard:
            self._wait(until)
            chunk = os.read(self._from.fileno(), LONGEST_LINE)
            if not chunk:
                raise EOFError("the child process ended")
            self._heard += chunk
            if len(self._heard) > LONGEST_LINE:
                raise ValueError("the child process said too much")
        line, _, self._heard = self._heard.partition(b"\n")
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError(f"the child process said {answer!r}")  # noqa: TRY004 - not a type of ours
        return answer

    def complaint(self) -> str:
        """Return what it and its children printed, the newest 2,000 characters."""
        size = self._printed.seek(0, os.SEEK_END)
        self._printed.seek(max(0, size - 2000))
        return self._printed.read().decode(errors="replace").strip()

    def kill(self) -> None:
        """Kill it and all of its group, from any thread; who waits in `hear` gets `EOFError`."""
        with self._lock:
            self._kill()

    def end(self, grace: float = 0.0) -> None:
        """Let it end by itself within `grace` seconds, then kill what is left of its group."""
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
        # Only before it is reaped: until then nobody else can get its number.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _wait(self, until: float) -> None:
        poll = select.poll()
        poll.register(self._from, select.POLLIN)
        if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            raise TimeoutError("the child process did not answer in time")
