"""Centrals for tests: in a thread, or in a process that can be killed."""

import asyncio
import json
import os
import signal
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar, overload

from addresses import own_address
from daemons import AGENT, until
from places import ROOT

from central.application import Central, Settings
from central.console.run import open_central
from central.protocol import sas
from central.storage import history
from central.storage.store import Query

T = TypeVar("T")
P = ParamSpec("P")

DEADLINE = 30.0  # Seconds for whatever a test waits for.


class Reachable:
    """What a client needs to know of a central."""

    info: dict[str, Any]

    def key(self, device_id: str) -> str:
        """Return the key of a device of the group."""
        return sas.derive_device_key(Path(self.info["group_key_file"]).read_text(), device_id)

    @property
    def ca(self) -> str:
        return Path(self.info["ca_file"]).read_text()

    @property
    def address(self) -> tuple[str, int]:
        return self.info["mqtt_host"], self.info["mqtt_port"]


class RunningCentral(Reachable):
    """A central in a thread of its own, so that a test can block."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._central: Central
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="central-of-a-test")
        self.info = {}

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with open_central(self._settings) as self._central:
            self.info = self._central.info()
            self._ready.set_result(None)
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(DEADLINE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "central did not stop"

    @overload
    def call(self, function: Callable[[Central], Awaitable[T]]) -> T: ...

    @overload
    def call(self, function: Callable[[Central], T]) -> T: ...

    def call(self, function: Callable[[Central], T | Awaitable[T]]) -> T:
        """Call a function with the central in its event loop, and return its result."""

        async def in_loop() -> T:
            result = function(self._central)
            if isinstance(result, Awaitable):
                return await result
            return result

        return asyncio.run_coroutine_threadsafe(in_loop(), self._loop).result(DEADLINE)

    def read(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Look something up in the central's database: `central.read(history.commands, "pi-1")`."""
        return self._central.store.read(query, *args, **kwargs)

    def wait_for(self, function: Callable[[Central], T]) -> T:
        """Call a function with the central until the result is true, and return it."""
        found: T = until(lambda: self.call(function))
        return found

    def log_of(self, device_id: str) -> list[tuple[str, str]]:
        """Return the events of a device's connections with their details, newest first."""
        return [(c.event, c.detail) for c in self.read(history.connections, device_id)]

    def end_of_connection(self, device_id: str) -> str:
        """Wait for the end of a device's connection, and return its reason in the log."""

        def ended(central: Central) -> str | None:
            newest = central.store.read(history.connections, device_id, limit=1)
            return newest[0].detail if newest and newest[0].event == "disconnected" else None

        return str(self.wait_for(ended))


@contextmanager
def running_central(data_dir: Path, **settings: Any) -> Iterator[RunningCentral]:
    """Run a central in a thread of its own inside the `with` block.

    It listens on a loopback address and ports of its own, because tests run beside each other.
    """
    ours = {"listen": own_address(), "http_port": 0}
    with RunningCentral(Settings(data_dir, **ours | settings)) as central:
        yield central


class CentralProcess(Reachable):
    """A central in a process of its own, which can be killed and started again."""

    def __init__(
        self, data_dir: Path, *arguments: str, program: Sequence[str | Path] = AGENT
    ) -> None:
        self._program = program
        self._data_dir = data_dir
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, and wait until it listens. `info` is the content of its central.json."""
        announced = self._data_dir / "central.json"
        announced.unlink(missing_ok=True)
        command = [*self._program, "central", "--data", str(self._data_dir)]
        command += ["--listen", own_address(), "--http-port", "0"]
        process = subprocess.Popen([*command, *self._arguments], cwd=ROOT)
        self._process = process
        until(lambda: announced.exists() or process.poll() is not None)
        assert announced.exists(), "central did not start"
        self.info = json.loads(announced.read_text())
        return self

    @property
    def pid(self) -> int:
        """The process id of the running central."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stop it with SIGTERM, and return its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        os.kill(process.pid, number)
        try:
            return process.wait(DEADLINE)
        finally:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
