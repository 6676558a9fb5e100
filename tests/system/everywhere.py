"""`make test` as a newcomer runs it: on a fresh Debian, as root or as somebody, with few files.

    python tests/system/everywhere.py [--quick] [CELL ...]

A cell is SUITE-USER-TOOLS, as in trixie-user-bare; without any, all eight are run. Each is a
container of its own without a network, with this project's source distribution, unpacked. `--quick`
runs `make check` and one file of integration tests in place of everything, in two cells at a time.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

SUPPORT = Path(__file__).parents[1] / "support"
sys.path.insert(0, str(SUPPORT))

from checkout import copy_project  # noqa: E402 - found in the directory above
from containers import CACHE, debian  # noqa: E402 - the same
from places import ROOT  # noqa: E402 - the same
from wheels import wheels  # noqa: E402 - the same

PYTHON = {"bookworm": "3.11", "trixie": "3.13"}
USERS = ("root", "user")
BARE = "make,python3,python3-venv,passwd"
TOOLS = (
    f"{BARE},chromium,libatomic1,nodejs,mosquitto-clients,python3-systemd,systemd,procps,shellcheck"
)
NODE_MODULES = "tests/support/node/node_modules"
SOMEBODY = "somebody"
# A newcomer's folder may have any name.
HOME = {"root": "/root/sensor-agent", "user": f"/home/{SOMEBODY}/Meine Übungen/sensor agent"}
QUICK = ("make check", "make test ARGS=tests/integration/agent/daemon/test_service.py")
WHOLE = ("make test",)
LIMIT = 3600  # Seconds for a cell.
COUNTS = re.compile(r"^=+ (.* in [\d.]+s.*?) =+$", re.MULTILINE)  # pytest's last line.


@dataclass(frozen=True)
class Cell:
    suite: str
    user: str
    tools: str

    def __str__(self):
        return f"{self.suite}-{self.user}-{self.tools}"


CELLS = {str(cell): cell for cell in (Cell(*c) for c in product(PYTHON, USERS, ("bare", "tools")))}


def main():
    parser = argparse.ArgumentParser(description="Run the tests on fresh systems.")
    parser.add_argument("--quick", action="store_true", help="a part of the tests")
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"one of {', '.join(CELLS)}")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # So that containers and folders go.
    unknown = [name for name in chosen.cells if name not in CELLS]
    if unknown:
        parser.error(f"no such cell: {', '.join(unknown)}")
    names = chosen.cells or list(CELLS)
    if chosen.quick and len(names) > 1:
        results = two_at_a_time(names)
    else:
        results = [run(CELLS[name], quick=chosen.quick) for name in names]
    print("\n== everywhere")
    for line, _ in results:
        print(line)
    return int(not all(passed for _, passed in results))


def two_at_a_time(names):
    """Run quick cells in processes of their own, and print the output of each when it ends.

    Much of a cell's time is pip's and mypy's, which use one processor, and waiting tests.
    """
    results, waiting = [], list(names)
    running: dict[str, subprocess.Popen[bytes]] = {}
    with tempfile.TemporaryDirectory() as place:
        try:
            while waiting or running:
                while waiting and len(running) < 2:
                    name = waiting.pop(0)
                    running[name] = _quick_cell(name, Path(place, name))
                time.sleep(0.5)
                for name in [name for name, cell in running.items() if cell.poll() is not None]:
                    output = Path(place, name).read_text(errors="replace")
                    print(output, end="", flush=True)
                    line = (output.splitlines() or [f"{name} printed nothing"])[-1]
                    results.append((line, running.pop(name).returncode == 0))
        finally:
            for cell in running.values():
                cell.terminate()
                cell.wait()
    return results


def _quick_cell(name, output):
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, __file__, "--quick", name],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            env=os.environ | {"WORKERS": "2"},
        )  # fmt: skip


def run(cell, *, quick):
    """Run the tests in a container; return a line that says how it went, and whether well."""
    print(f"\n== {cell}", flush=True)
    start = time.monotonic()
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent, prefix="everywhere-") as place:
        root = furnish(Path(place) / "root", cell)
        log = Path(place) / "log"
        status = enter(root, cell, QUICK if quick else WHOLE, log)
        counts = COUNTS.findall(log.read_text(errors="replace"))
    seconds = time.monotonic() - start
    outcome = "passed" if status == 0 else f"FAILED ({status})"
    line = f"{cell!s:22} {outcome} in {seconds:.0f} s: {'; '.join(counts) or 'no test ran'}"
    return line, status == 0


def furnish(root, cell):
    """Unpack a Debian with a copy of the project and the wheels that it needs."""
    include = TOOLS if cell.tools == "tools" else BARE
    root.mkdir()
    subprocess.run(
        ["tar", "-xf", debian(cell.suite, f"--include={include}"), "-C", root], check=True
    )
    inside(root, "useradd", "--create-home", SOMEBODY)
    home = root / HOME[cell.user].lstrip("/")
    unpack_project(home)
    if cell.tools == "tools":
        shutil.copytree(ROOT / NODE_MODULES, home / NODE_MODULES, symlinks=True)
    shutil.copytree(wheels(PYTHON[cell.suite], "test"), root / "wheels")
    if cell.user == "user":
        inside(root, "chown", "-R", f"{SOMEBODY}:", f"/home/{SOMEBODY}")
    return root


def unpack_project(home):
    """Unpack this project's source distribution in `home`."""
    home.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place:
        copy_project(Path(place) / "checkout")
        builder = Path(place) / "checkout" / "deploy" / "distributions.py"
        subprocess.run([sys.executable, builder, place], check=True)
        [source] = Path(place).glob("*.tar.gz")
        subprocess.run(["tar", "-xzf", source, "-C", home, "--strip-components=1"], check=True)


def inside(root, *command):
    subprocess.run(["chroot", root, *command], check=True)


def enter(root, cell, commands, log):
    """Run commands in the container, and return the exit status of the first that fails, or 0."""
    script = "\n".join([f"cd '{HOME[cell.user]}'", "ulimit -Sn 1024", *commands])
    as_user = ["--user", SOMEBODY] if cell.user == "user" else []
    environment = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "LANG": "C.UTF-8"}
    environment |= {name: os.environ[name] for name in ("WORKERS",) if name in os.environ}
    process = subprocess.Popen(
        [
            *("timeout", str(LIMIT), "systemd-nspawn", "--quiet", "--register=no", "--keep-unit"),
            *("--directory", root, f"--machine={cell}"),  # Two of one name would share a directory.
            *("--private-network", "--as-pid2", "--console=pipe", *as_user),
            *(f"--setenv={name}={value}" for name, value in environment.items()),
            *("sh", "-e", "-c", script),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        with log.open("wb") as kept:
            for line in process.stdout:
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
                kept.write(line)
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
