"""Wires everything: start, run, stop."""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

from agent import ranges
from agent.cloud import message
from agent.cloud.connection_health import ConnectionHealth
from agent.cloud.registration import register
from agent.cloud.registration_memory import RegistrationMemory
from agent.cloud.session import open_session
from agent.cloud.uplink import Handlers, Uplink
from agent.config.credentials import Credentials
from agent.config.loader import CloudConfig, Config
from agent.daemon.control_requests import control_requests
from agent.daemon.control_socket import SOCKET_NAME, control_socket
from agent.daemon.systemd import Watch, notify_systemd
from agent.deadline_thread import DeadlineThread
from agent.device import model
from agent.device.commands import Commands
from agent.device.information import device_information, software_version
from agent.device.led import AsyncLed
from agent.device.properties import Properties, stored_values
from agent.diagnostics import runner
from agent.diagnostics.status_text import status_line
from agent.logs import journal
from agent.logs.events import LogEvent
from agent.readings.clock import Clock, Stamp, utc
from agent.readings.outbox import Outbox
from agent.readings.sampler import Sampler
from agent.status import Status
from agent.storage.machine_id import board_id
from agent.storage.store import STORE_NAME, Store
from hw import LedState, Reading, open_led, open_sensor
from hw.sensors.fake import Room, SimulatedSensor
from hw.sensors.policy import Policy, SensorStatus

log = logging.getLogger(__name__)

FAREWELL_DEADLINE = 1.0  # Seconds for the last report.
SESSION_DEADLINE = 2.5  # Seconds for the session to end; it hurries when it is cancelled.
DOCTOR_MARGIN = 4.0  # Seconds beyond its budget.
JUST_BOOTED = 300.0  # Seconds of uptime within which a whole site may be coming back.
FIRST_DELAY = 20.0  # Seconds at most before the first connection then.


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """The directories of the daemon's file and of its socket; the file it is configured by."""

    state: Path
    runtime: Path
    config: Path | None = None


class Service:
    """The daemon. `run` it once; setting `stop` ends it.

    With `credentials` None there is no cloud: readings go to `show`, and nothing is kept.
    """

    def __init__(
        self,
        config: Config,
        *,
        places: Places,
        credentials: Credentials | None,
        show: Callable[[str], None] = print,
        clock: Clock | None = None,
    ) -> None:
        self.stop = asyncio.Event()
        self._config = config
        self._places = places
        self._credentials = credentials
        self._show = show
        self._clock = clock or Clock()
        self._outbox: Outbox | None = None
        self._uplink: Uplink | None = None
        self._properties: Properties | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch = Watch()
        self._changed = asyncio.Event()  # Set when the status line may have changed.
        self._doctor = DeadlineThread("doctor")
        self._memory: RegistrationMemory | None = None

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
            linking = self.start_task(self._uplink.run(), "uplink") if self._uplink else None
            notices = notify_systemd(
                ready=self._sampler.attempted,
                changed=self._changed,
                watch=self._watch,
                status=self._status_line,
            )
            noticing = self.start_task(notices, "systemd")
            await self.stop.wait()
            noticing.cancel()  # The status line stays "Stopping".
            await self._stop(sampling, linking)

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
        store = None
        if self._credentials is not None:
            store = Store(self._places.state / STORE_NAME, board=board_id())
            held.callback(store.close)
            await store.begin()
            self._outbox = await Outbox.open(
                store,
                clock=self._clock,
                max_age_days=config.outbox.max_age_days,
                max_megabytes=config.outbox.max_megabytes,
            )
            held.push_async_callback(self._outbox.close)
        values = await stored_values(store) if store else {}
        led = open_led(config.led.driver, pin=config.led.pin, active_high=config.led.active_high)
        led.set_brightness(values.get("brightness", 1))
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
        self._sampler = self._make_sampler(values.get("telemetryInterval"))
        if store is not None and config.cloud is not None and self._credentials is not None:
            self._connect_parts(store, config.cloud, self._credentials, values)
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

    async def _stop(
        self, sampling: "asyncio.Task[None]", linking: "asyncio.Task[None] | None"
    ) -> None:
        """Stop sampling, LED off, say good-bye, end the session: under 5 s, whatever hangs."""
        log.info("Stopping.", extra=LogEvent.STOPPING.about())
        journal.notify(STOPPING="1", STATUS="Stopping")
        sampling.cancel()
        await self._led.close()
        if self._uplink is not None and linking is not None:
            try:
                async with asyncio.timeout(FAREWELL_DEADLINE):
                    await self._uplink.farewell({"state": False, "ledState": self._led.state})
            except TimeoutError:
                log.info(
                    "The hub could not be told that this device stops.",
                    extra=LogEvent.FAREWELL_MISSED.about(),
                )
            linking.cancel()
            await asyncio.wait({linking}, timeout=SESSION_DEADLINE)
        for task in self._tasks:
            task.cancel()

    def start_task(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Readings and changes of state, on their way out.

    async def _on_reading(self, reading: Reading, taken: Stamp) -> None:
        if self._outbox is None or self._uplink is None:
            self._show(
                f"{utc(taken.wall)}  {reading.temperature:6.1f} °C  {reading.humidity:5.1f} %"
            )
            self._changed.set()
            return
        await self._outbox.add(reading, taken)
        self._uplink.reading_added()
        self._changed.set()

    def _on_sensor_status(self, status: SensorStatus, since: Stamp) -> None:
        self._changed.set()
        self.report(
            {"sensorStatus": status.value, "sensorStatusSince": self._clock.true_utc(since)}
        )

    def _on_led(self, state: LedState) -> None:
        self.report({"ledState": state})

    def report(self, properties: Mapping[str, Any]) -> None:
        if self._uplink is not None:
            self._uplink.report(properties)

    def _snapshot(self) -> dict[str, Any]:
        return {
            "state": True,
            "sensorStatus": self._sampler.policy.status.value,
            "sensorStatusSince": self._clock.true_utc(self._sampler.status_since),
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
            now=self._clock.uptime(),
        )
        return Sampler(
            sensor=self._sensor,
            policy=policy,
            clock=self._clock,
            on_reading=self._on_reading,
            on_status=self._on_sensor_status,
            expect=self._watch.expect,
        )

    def _connect_parts(
        self, store: Store, cloud: CloudConfig, credentials: Credentials, stored: dict[str, Any]
    ) -> None:
        assert self._outbox is not None  # noqa: S101 - opened with the store.
        device_id, unit = self._config.device.id, self._config.sensor.unit
        model_id = model.model_id(unit)
        # The model has whole seconds.
        interval = max(ranges.INTERVAL.low, math.ceil(self._config.sensor.interval))
        commands = Commands(self)
        self._properties = Properties(
            self,
            store,
            defaults={"name": "", "brightness": 1, "telemetryInterval": interval},
            stored=stored,
            property_format=cloud.property_format,
        )
        just_booted = self._clock.uptime() < JUST_BOOTED and self._config.sensor.driver != "fake"
        self._memory = RegistrationMemory(store, cloud, device_id)
        self._uplink = Uplink(
            outbox=self._outbox,
            handlers=Handlers(
                command=commands.execute,
                queued=commands.execute_queued,
                twin=self._properties.apply_twin,
                desired=self._properties.apply_patch,
                snapshot=self._snapshot,
                in_background=self.start_task,
            ),
            compose=lambda entry: message.message(entry, unit=unit, clock=self._clock),
            connect=partial(open_session, cloud=cloud, credentials=credentials, model_id=model_id),
            register=lambda: register(
                cloud=cloud, credentials=credentials, device_id=device_id, model_id=model_id
            ),
            memory=self._memory,
            health=ConnectionHealth(self._clock),
            on_change=self._changed.set,
            max_rate=cloud.max_rate,
            now=self._clock.uptime,
            first_delay=FIRST_DELAY if just_booted else 0.0,
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
        return reading, self._clock.true_utc(taken)

    async def check(self, ids: Sequence[str]) -> tuple[Status, runner.Findings]:
        """Make checks in a thread of their own; nothing else waits for them."""
        status = await self.status()
        assignment = None if self._memory is None else await self._memory.recall()
        findings = await self._doctor.run(
            lambda: runner.inside(
                self._config,
                self._places.config,
                store=self._places.state / STORE_NAME,
                status=status,
                hub=None if assignment is None else assignment.hub,
                ids=ids,
            ),
            deadline=runner.BUDGET + DOCTOR_MARGIN,
        )
        return status, findings

    async def status(self) -> Status:
        sensor = self._sampler.status(self._config.sensor.driver)
        return Status(
            time=self._clock.true_utc(self._clock.stamp()),
            version=software_version(),
            device_id=self._config.device.id,
            sensor=sensor,
            led=self._led.status(self._config.led.driver),
            cloud=None if self._uplink is None else self._uplink.status(),
            properties=None if self._properties is None else self._properties.values,
            outbox=None if self._outbox is None else await self._outbox.status(sensor.interval),
        )

    def _status_line(self) -> str:
        return status_line(
            self._sampler.status(self._config.sensor.driver),
            None if self._uplink is None else self._uplink.status(),
            waiting=0 if self._outbox is None else self._outbox.waiting,
        )

    def set_interval(self, seconds: float) -> None:
        self._sampler.set_interval(seconds)
