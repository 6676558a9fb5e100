"""`sensor-agent demo`: the daemon with a simulated sensor, and a local IoT Central."""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO
from urllib.error import URLError
from urllib.request import urlopen

from agent.cli import signals
from agent.cli.terminal import leave
from agent.config.loader import state_directory
from agent.daemon.control_socket import SOCKET_NAME
from agent.diagnostics import installation
from agent.errors import AgentError, in_words

DONE, FAILURE = 0, 1

DEVICE_ID = "demo"
CENTRAL_DEADLINE = 30.0  # Seconds until central must listen; the first time it makes its keys.
STOP_DEADLINE = 8.0  # Seconds for each of the two to stop; they need at most 5.

CONFIG = """\
# Written by `sensor-agent demo` at each start.
[device]
id = {device_id}

[cloud]
id_scope = {id_scope}
provisioning_host = {mqtt_host}
group_key_file = {group_key_file}
ca_file = {ca_file}

[sensor]
driver = "fake"
interval = 2

[led]
driver = "fake"
"""

WELCOME = """
  The page:  {http}

  Try next:
    - Open the page, choose the device "{device_id}" and send it a command.
    - Set the simulated temperature to 30 degrees, or make the sensor fail, and watch.
    - Stop the demo with Ctrl-C and start it again: no reading is lost.

  All files of the demo are in:  {home}
"""


def demo(*, minutes: float | None) -> int:
    """Run both until Ctrl-C or for `minutes`. Return 1 if one of them ended by itself.

    Raises AgentError if a demo is already running.
    """
    home = state_directory({**os.environ, "STATE_DIRECTORY": ""}, None) / "demo"
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(home) as processes:
            return asyncio.run(_demo(home, minutes, processes))
    except OSError as error:
        where = error.filename or home
        raise AgentError(f"The demo cannot use {where}: {in_words(error)}.") from error


@contextmanager
def _locked(home: Path) -> Iterator[TextIO]:
    """Prevent other demos in `home`. Yields the file that lists the ids of our processes."""
    with (home / "demo.lock").open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AgentError(_already_running(home, _listed(lock)[:1])) from None
        if left := [process for process in _listed(lock)[1:] if _uses(process, home)]:
            raise AgentError(
                "A killed demo left processes behind. End them, then try again: "
                f"kill {' '.join(map(str, left))}"
            )
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        yield lock


def _already_running(home: Path, processes: Sequence[int]) -> str:
    try:
        info = json.loads((home / "central" / "central.json").read_text(encoding="utf-8"))
        where = f"at {info['http']}"
    except (OSError, ValueError):
        where = "(it is just starting)"
    ids = "".join(f" or with: kill {process}" for process in processes)
    return (
        f"The demo is already running {where}. Use that one, or stop it with Ctrl-C in its "
        f"terminal{ids}"
    )


def _listed(lock: TextIO) -> list[int]:
    lock.seek(0)
    return [int(line) for line in lock.read().split() if line.isdecimal()]


def _uses(process: int, home: Path) -> bool:
    """Return whether this process uses `home`. Its id may belong to another process by now."""
    if Path("/proc/self/cmdline").exists():
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            return False  # It has ended.
    else:  # macOS
        ps = ["/bin/ps", "-ww", "-o", "command=", "-p", str(process)]
        command = subprocess.run(ps, capture_output=True, check=False).stdout
    return os.fsencode(home) in command


async def _demo(home: Path, minutes: float | None, processes: TextIO) -> int:
    stop = asyncio.Event()
    running: list[asyncio.subprocess.Process] = []
    signals.catch(asyncio.get_running_loop(), stop.set, partial(_kill, running))
    try:
        running.append(await _start_central(home))
        print(running[0].pid, file=processes, flush=True)
        info = await _central_info(home, running[0], stop)
        if info is None:
            return DONE if stop.is_set() else FAILURE
        config = _write_config(home, info)
        print(WELCOME.format(home=home, device_id=DEVICE_ID, **info), flush=True)
        running.append(await _start_daemon(home, config))
        print(running[1].pid, file=processes, flush=True)
        ended = await _wait(running, stop, minutes)
        if ended is None and minutes is not None and not stop.is_set():
            await asyncio.to_thread(_print_last_reading, info["http"])
        return DONE if ended is None else FAILURE
    finally:
        # The daemon first, so that it can report that it stops.
        for process in reversed(running):
            await _end(process)


async def _start_central(home: Path) -> asyncio.subprocess.Process:
    (home / "central" / "central.json").unlink(missing_ok=True)
    room = home / "run" / SOCKET_NAME
    arguments = ["central", "--data", str(home / "central"), "--room-socket", str(room)]
    # The addresses that central prints are in central.json; its log goes to the terminal.
    return await _spawn(arguments, {}, stdout=asyncio.subprocess.DEVNULL)


async def _start_daemon(home: Path, config: Path) -> asyncio.subprocess.Process:
    places = {"STATE_DIRECTORY": str(home / "state"), "RUNTIME_DIRECTORY": str(home / "run")}
    return await _spawn(["run", "--fake-hw", "--config", str(config)], places)


async def _spawn(
    arguments: list[str], environ: Mapping[str, str], *, stdout: int | None = None
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *installation.own_command(),
        *arguments,
        env={**os.environ, **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        # Ctrl-C would reach every process of the terminal's group at once, in any order.
        start_new_session=True,
    )


async def _central_info(
    home: Path, central: asyncio.subprocess.Process, stop: asyncio.Event
) -> dict[str, str] | None:
    """Wait until central listens. Return None if it ended or `stop` was set."""
    path = home / "central" / "central.json"
    waited = 0.0
    while waited < CENTRAL_DEADLINE:
        if stop.is_set() or central.returncode is not None:
            return None
        if path.exists():
            info: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
            return info
        await asyncio.sleep(0.05)
        waited += 0.05
    print(f"Central did not start within {CENTRAL_DEADLINE:g} s.", file=sys.stderr)
    return None


def _write_config(home: Path, info: Mapping[str, str]) -> Path:
    path = home / "config.toml"
    # A JSON string is a TOML string too. Paths are relative, because TOML cannot represent the
    # name of every directory.
    quoted = {
        name: json.dumps(str(value).removeprefix(f"{home.absolute()}/"))
        for name, value in info.items()
    }
    path.write_text(CONFIG.format(device_id=json.dumps(DEVICE_ID), **quoted), encoding="utf-8")
    return path


async def _wait(
    running: list[asyncio.subprocess.Process], stop: asyncio.Event, minutes: float | None
) -> asyncio.subprocess.Process | None:
    """Wait for Ctrl-C or `minutes`. Return the process that ended before that, if any."""
    ends = {asyncio.create_task(process.wait()): process for process in running}
    stopped = asyncio.create_task(stop.wait())
    done, pending = await asyncio.wait(
        {stopped, *ends},
        timeout=None if minutes is None else minutes * 60,
        return_when=asyncio.FIRST_COMPLETED,
    )
    for task in pending:
        task.cancel()
    early = [ends[task] for task in done if task is not stopped]
    if early:
        print(f"A process of the demo ended with status {early[0].returncode}.", file=sys.stderr)
        return early[0]
    return None


def _print_last_reading(http: str) -> None:
    """Print the last reading that central received."""
    url = f"{http.rstrip('/')}/api/devices/{DEVICE_ID}/telemetry/temp"
    try:
        with urlopen(url, timeout=5) as answer:  # noqa: S310 - central's own address.
            last = json.load(answer)
    except (URLError, ValueError) as error:
        print(f"Cannot read the last reading from central: {error}", file=sys.stderr)
        return
    print(
        f"\nThe last reading that central received: {last['value']} °C, taken {last['timestamp']}."
    )


def _kill(running: Sequence[asyncio.subprocess.Process]) -> None:
    """End everything at once, after a second signal."""
    for process in running:
        if process.returncode is None:
            process.kill()
    leave(FAILURE)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_DEADLINE):
            await process.wait()
    except TimeoutError:
        print(f"Process {process.pid} did not stop; ending it.", file=sys.stderr)
        process.kill()
        await process.wait()
