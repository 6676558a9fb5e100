"""The hub of a bench: a central that notes what arrives when, and acknowledges late if asked to."""

import asyncio
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from centrals import RunningCentral, running_central

from agent.device import model
from central.protocol.mqtt import PubAck
from central.transport.connection import Connection

PATIENCE = 300.0  # Seconds for anything; only what hangs takes that long.
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it.


class BenchFailed(Exception):  # noqa: N818 - says what is the case.
    """Something did not happen; its log may say why."""


class Hub:
    """A central in this process, away from both programs that are compared.

    `acknowledges_after` is the time in seconds from a message's being kept to its PUBACK. It
    holds up neither the messages behind it nor anything else.
    """

    def __init__(self, central: RunningCentral):
        self.acknowledges_after = 0.0
        self._central = central
        self._arrivals: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        central.call(lambda c: c.registry.events.listen(self._note))

    @property
    def info(self):
        return self._central.info

    def key(self, device_id):
        return self._central.key(device_id)

    def arrivals(self, device_id):
        """Return when each message was accepted (monotonic clock, seconds), oldest first."""
        return [at for at, _ in self._arrivals[device_id]]

    def until_arrived(self, device_id, count, program):
        """Wait until a device's first `count` messages are here, and return their arrivals.

        A message that comes twice fails the bench: nothing goes wrong here that explains it.
        """
        until(lambda: len(self._arrivals[device_id]) >= count, program)
        if len({name for _, name in self._arrivals[device_id]}) != len(self._arrivals[device_id]):
            raise BenchFailed(f"A message of {device_id} arrived twice.\n{program.log()}")
        return self.arrivals(device_id)[:count]

    def until_it_takes_commands(self, device_id, program):
        def ready():
            session = self._central.call(lambda c: c.hub.presence.session(device_id))
            return session is not None and session.takes_commands

        until(ready, program)

    def command(self, device_id):
        """Call `turnoff`, and return the time in seconds until its answer was here."""

        async def call(central):
            began = time.perf_counter()
            command = await central.hub.call(device_id, "turnoff", None)
            took = time.perf_counter() - began
            if command.status != 200:
                raise BenchFailed(f"{device_id} answered {command.status} to turnoff.")
            return took

        return self._central.call(call)

    def _note(self, event):
        if event.kind == "telemetry":
            name = event.data.system.get("message_id")
            self._arrivals[event.device_id].append((time.monotonic(), name))

    @contextmanager
    def acknowledging_after(self, seconds):
        """Acknowledge late for as long as the `with` block lasts."""
        self.acknowledges_after = seconds
        try:
            yield
        finally:
            self.acknowledges_after = 0.0

    @contextmanager
    def _able_to_be_late(self):
        send = Connection.send

        def send_late(connection, packet):
            if isinstance(packet, PubAck) and self.acknowledges_after:
                loop = asyncio.get_running_loop()
                loop.call_later(self.acknowledges_after, send, connection, packet)
            else:
                send(connection, packet)

        with patch.object(Connection, "send", send_late):
            yield


@contextmanager
def running_hub():
    """Run a hub. Its file is in memory where that can be, so that its disk is not measured."""
    where = IN_MEMORY if IN_MEMORY.is_dir() else None
    templates = tuple(model.interface(name) for name in (model.CELSIUS, model.DEVICE_INFORMATION))
    with (
        tempfile.TemporaryDirectory(prefix="sensor-agent-bench-", dir=where) as directory,
        running_central(Path(directory), templates=templates) as central,
    ):
        hub = Hub(central)
        with hub._able_to_be_late():
            yield hub


def until(condition, program):
    """Wait until `condition()` holds; raise BenchFailed with the program's log if it never does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if program.ended() or time.monotonic() > end:
            raise BenchFailed(f"{program.name} did not get there. Its log:\n{program.log()}")
        time.sleep(0.01)
