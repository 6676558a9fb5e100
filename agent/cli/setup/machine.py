"""The machine that is set up: its files, its programs and its daemon. Tests pass another one."""

import grp
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.config.loader import SYSTEM_RUNTIME
from agent.status import Status

LONGEST_COMMAND = 150.0  # Seconds. systemd waits up to 120 for the service (TimeoutStartSec=).
NOT_FOUND, TIMED_OUT = 127, 124  # The shell's, and that of the program timeout.


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended. `output` has both of its streams."""

    status: int
    output: str = ""

    @property
    def reason(self) -> str:
        """The last line of the output."""
        return (self.output.strip().splitlines() or [f"exit status {self.status}"])[-1]


def run_program(command: Sequence[str]) -> Done:
    """Run a command without input. A missing program is status 127, a slow one 124."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LONGEST_COMMAND,
            check=False,
        )
    except OSError:
        return Done(NOT_FOUND, f"the program {command[0]} is not installed")
    except subprocess.TimeoutExpired:
        return Done(TIMED_OUT, f"not finished within {LONGEST_COMMAND:g} s")
    return Done(done.returncode, done.stdout)


def ask_daemon() -> Status:
    """Return the status of the running service. Raises ControlError."""
    from agent.daemon.control_socket import (  # noqa: PLC0415 - brings in asyncio.
        SOCKET_NAME,
        ask,
        read_status,
    )

    return read_status(ask(SYSTEM_RUNTIME / SOCKET_NAME, {"command": "status"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`root` is the root directory, and `root_user` the number of the user root.

    `chown` takes a descriptor and the numbers of user and group.
    """

    root: Path = Path("/")
    root_user: int = 0
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    run: Callable[[Sequence[str]], Done] = run_program
    chown: Callable[[int, int, int], None] = os.fchown
    group_number: Callable[[str], int] = lambda name: grp.getgrnam(name).gr_gid
    status: Callable[[], Status] = ask_daemon
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def path(self, name: str | Path) -> Path:
        """Return where the file with this absolute name is."""
        return self.root / str(name).lstrip("/")
