"""Counts the instructions that a process executes, with valgrind: the same on a busy machine."""

import shutil
import subprocess


def can_be_counted():
    """Return whether valgrind is installed."""
    return all(shutil.which(name) for name in ("valgrind", "callgrind_control"))


def counting(home):
    """Return the command that runs a program so that `begin` and `end` can count."""
    output = f"--callgrind-out-file={home}/callgrind"
    return ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", output]


def begin(pid):
    """Count the instructions of process `pid` from now on. It is many times slower meanwhile."""
    _control("--instr=on", pid)


def end(pid, home):
    """Stop counting, and return the number of instructions since `begin`."""
    _control("--dump", pid)
    _control("--instr=off", pid)
    (dump,) = home.glob("callgrind.[0-9]*")
    for line in dump.read_text().splitlines():
        if line.startswith("summary: "):
            return int(line.split()[1])
    raise ValueError(f"{dump} has no summary.")


def _control(what, pid):
    subprocess.run(
        ["callgrind_control", what, str(pid)], check=True, capture_output=True, timeout=60
    )
