"""Wires everything: start, run, stop."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from agent.config.loader import Config
from agent.daemon.control_requests import control_requests
from agent.daemon.control_socket import SOCKET_NAME, control_socket
from agent.daemon.systemd import Watch, notify_systemd
from agent.deadline_thread import DeadlineThread
from agent.device.information import device_information, software_version
from agent.device.led import AsyncLed
from agent.diagnostics import runner
from agent.diagnostics.status_text import status_line
from agent.logs import journal
from agent.logs.events import LogEvent
from agent.readings.clock import Clock
from agent.readings.sampler import Sampler
from agent.readings.sink import Sink
from agent.status import Status
from agent.storage.store import STORE_NAME
from hw import LedState, Reading, open_led, open_sensor
from hw.sensors.fake import Room, SimulatedSensor
from hw.sensors.policy import Policy

log = logging.getLogger(__name__)

FAREWELL_DEADLINE = 1.0  # Seconds for the last report.
SESSION_DEADLINE = 2.5  # Seconds for the session to end; it hurries when it is cancelled.
DOCTOR_MARGIN = 4.0  # Seconds beyond its budget.


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """The directories of the daemon's file and of its socket; the file it is configured by."""

    state: Path
    runtime: Path
    config: Path | None = None


class Service:
    """The daemon. `run` it once; setting `stop` ends it.

    `open_sink` opens where its readings and reports go.
    """

    def __init__(
        self,
        config: Config,
        *,
        places: Places,
        open_sink: Callable[["Service"], AbstractAsyncContextManager[Sink]],
    ) -> None:
        self.stop = asyncio.Event()
        self.clock = Clock()
        self.status_changed = asyncio.Event()
        self._config = config
        self._places = places
        self._open_sink = open_sink
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch = Watch()
        self._doctor = DeadlineThread("doctor")

    async def run(self) -> None:
        """Start, run until `stop` is set, and stop.

        Raises DriverError, StoreInUse, StoreTooNew or ControlError if it cannot start, and
        SdkStuckError (in a group) when only a fresh process can go on.
        """
        async with AsyncExitStack() as held:
            if await self._started(held):
                await self._work()
        log.info("Stopped.", extra=LogEvent.STOPPED.about())

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            sampling = self.start_task(self._sampler.run(), "sampler")
            delivering = self.start_task(self._sink.run(), "sink")
            notices = notify_systemd(
                ready=self._sampler.attempted,
                changed=self.status_changed,
                watch=self._watch,
                status=self._status_line,
            )
            noticing = self.start_task(notices, "systemd")
            await self.stop.wait()
            noticing.cancel()  # The status line stays "Stopping".
            await self._stop(sampling, delivering)

    async def _started(self, held: AsyncExitStack) -> bool:
        """Start; return whether that came to its end before somebody wanted to stop."""
        starting = asyncio.create_task(self._start(held), name="start")
        stopping = asyncio.create_task(self.stop.wait(), name="stop")
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            return starting.done()
        finally:
            starting.cancel()  # An LED may take 20 s to open, and a stop has 5.
            stopping.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)

    async def _start(self, held: AsyncExitStack) -> None:
        """Open file, LED, sensor and socket. They are closed in reverse order."""
        config = self._config
        self._sink = await held.enter_async_context(self._open_sink(self))
        stored = self._sink.stored
        led = open_led(config.led.driver, pin=config.led.pin, active_high=config.led.active_high)
        led.set_brightness(stored.get("brightness", 1))
        self._led = AsyncLed(led, on_change=self._on_led)
        held.push_async_callback(self._led.close)
        await self._led.open()
        self._sensor = open_sensor(
            config.sensor.driver,
            model=config.sensor.model,
            pin=config.sensor.pin,
            power_pin=config.sensor.power_pin,
            # The simulated room keeps its weather over a restart.
            seed=crc32(config.device.id.encode()),
        )
        held.callback(self._sensor.close)
        self._sampler = self._make_sampler(stored.get("telemetryInterval"))
        await held.enter_async_context(
            control_socket(self._places.runtime / SOCKET_NAME, control_requests(self))
        )
        log.info(
            "sensor-agent %s started as %s: sensor %s, LED %s.",
            software_version(),
            config.device.id,
            config.sensor.driver,
            config.led.driver,
            extra=LogEvent.STARTED.about(
                VERSION=software_version(), SENSOR=config.sensor.driver, LED=config.led.driver
            ),
        )

    async def _stop(self, sampling: "asyncio.Task[None]", delivering: "asyncio.Task[None]") -> None:
        """Stop sampling, LED off, say good-bye, end the session: under 5 s, whatever hangs."""
        log.info("Stopping.", extra=LogEvent.STOPPING.about())
        journal.notify(STOPPING="1", STATUS="Stopping")
        sampling.cancel()
        await self._led.close()
        try:
            async with asyncio.timeout(FAREWELL_DEADLINE):
                await self._sink.farewell({"state": False, "ledState": self._led.state})
        except TimeoutError:
            log.info(
                "The hub could not be told that this device stops.",
                extra=LogEvent.FAREWELL_MISSED.about(),
            )
        delivering.cancel()
        await asyncio.wait({delivering}, timeout=SESSION_DEADLINE)
        for task in self._tasks:
            task.cancel()

    def start_task(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _on_led(self, state: LedState) -> None:
        self.report({"ledState": state})

    def report(self, properties: Mapping[str, Any]) -> None:
        self._sink.report(properties)

    def snapshot(self) -> dict[str, Any]:
        return {
            "state": True,
            **self._sampler.properties(),
            "ledState": self._led.state,
            "deviceInformation": device_information(),
        }

    # The parts.

    def _make_sampler(self, interval: float | None) -> Sampler:
        config = self._config.sensor
        policy = Policy(
            model=self._sensor.model,
            spacing=self._sensor.spacing,
            interval=interval or config.interval,
            temperature_offset=config.temperature_offset,
            humidity_offset=config.humidity_offset,
            now=self.clock.uptime(),
        )
        return Sampler(
            sensor=self._sensor,
            policy=policy,
            clock=self.clock,
            sink=self._sink,
            expect=self._watch.expect,
        )

    async def diagnose(self) -> str:
        status, findings = await self.check(runner.IDS)
        return runner.diagnosis(findings, status)

    # What the control socket, commands and properties need: their protocols `Daemon`.

    @property
    def led(self) -> AsyncLed:
        return self._led

    @property
    def room(self) -> Room | None:
        return self._sensor.room if isinstance(self._sensor, SimulatedSensor) else None

    async def read(self) -> tuple[Reading, str]:
        reading, taken = await self._sampler.one()
        return reading, self.clock.true_utc(taken)

    async def check(self, ids: Sequence[str]) -> tuple[Status, runner.Findings]:
        """Make checks in a thread of their own; nothing else waits for them."""
        status = await self.status()
        hub = await self._sink.last_hub()
        findings = await self._doctor.run(
            lambda: runner.inside(
                self._config,
                self._places.config,
                store=self._places.state / STORE_NAME,
                status=status,
                hub=hub,
                ids=ids,
            ),
            deadline=runner.BUDGET + DOCTOR_MARGIN,
        )
        return status, findings

    async def status(self) -> Status:
        status = Status(
            time=self.clock.true_utc(self.clock.stamp()),
            version=software_version(),
            device_id=self._config.device.id,
            sensor=self._sampler.status(self._config.sensor.driver),
            led=self._led.status(self._config.led.driver),
        )
        return await self._sink.describe(status)

    def _status_line(self) -> str:
        sensor, sink = self._sampler.status(self._config.sensor.driver), self._sink
        return status_line(sensor, sink.cloud_status(), waiting=sink.waiting)

    def set_interval(self, seconds: float) -> None:
        self._sampler.set_interval(seconds)
