"""The daemon: connects its parts, starts, runs and stops them."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from agent import __version__
from agent.config.changes import Applied, changes
from agent.config.loader import Config
from agent.daemon.control_requests import control_requests
from agent.daemon.control_socket import SOCKET_NAME, control_socket
from agent.daemon.limit_watch import KEPT, LimitWatch, choice_before
from agent.daemon.systemd import Watch, notify_systemd, status_line
from agent.deadline_thread import DeadlineThread
from agent.device.information import device_information
from agent.device.led import AsyncLed
from agent.device.limits import LIMITS, Values, configured, in_force
from agent.diagnostics import CHECKS_BUDGET, installation, runner
from agent.diagnostics.service_advice import how_to_restart
from agent.errors import ConfigError, ControlError
from agent.logs import journal
from agent.logs.events import LogEvent
from agent.readings.clock import Clock
from agent.readings.sampler import Sampler
from agent.readings.sink import Sink
from agent.status import PlacePart, Status
from hw import ClimateSensor, LedState, Reading, open_led, open_sensor
from hw.sensors.fake import Room, SimulatedSensor
from hw.sensors.policy import Policy

log = logging.getLogger(__name__)

LED_DEADLINE = 0.3  # Seconds for the LED to be off, so that the last report says so.
FAREWELL_DEADLINE = 1.0  # Seconds for the last report.
SESSION_DEADLINE = 2.5  # Seconds for the session to end after it is cancelled.
CHECKS_MARGIN = 4.0  # Seconds beyond the budget of the checks.
READ_DEADLINE = 20.0  # Seconds to read the configuration again, from a disk that may hang.


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """The state directory, the control socket's directory, and the configuration file."""

    state: Path
    runtime: Path
    config: Path | None = None


class Service:
    """The daemon. `run` it once, and set `stop` to end it.

    `open_sink` opens the destination of its readings and reports. `read_config` reads the
    configuration file again and checks it; None if there is no file.
    """

    def __init__(
        self,
        config: Config,
        *,
        places: Places,
        open_sink: Callable[["Service"], AbstractAsyncContextManager[Sink]],
        read_config: Callable[[], Config] | None = None,
    ) -> None:
        self.stop = asyncio.Event()
        self.clock = Clock(trust_rtc=config.clock.trust_rtc)
        self.status_changed = asyncio.Event()  # Set it when the status line may have changed.
        self._config = config
        self._places = places
        self._open_sink = open_sink
        self._read_config = read_config
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch = Watch()
        self._checks_thread = DeadlineThread("checks")
        self._config_thread = DeadlineThread("configuration")
        # Read once: it stays the same, also if an upgrade replaces the files of this version.
        self._version, self._origin = __version__, installation.origin()
        self._information = device_information()

    async def run(self) -> None:
        """Start, run until `stop` is set, and stop.

        Raises DriverError, StoreInUse or ControlError if the daemon cannot start, and SdkStuckError
        (in a group) if only a new process can go on.
        """
        async with AsyncExitStack() as resources:
            if await self._start_unless_stopped(resources):
                await self._serve()
        log.info("Stopped.", extra=LogEvent.STOPPED.about())

    async def _start(self, resources: AsyncExitStack) -> None:
        """Open sink, LED, sensor and control socket. `resources` closes them in reverse order."""
        self._sink = await resources.enter_async_context(self._open_sink(self))
        kept = await self._sink.kept(KEPT)
        self._led = self._make_led(kept)
        self._limits = self._make_limits(kept)
        resources.push_async_callback(self._led.close)
        await self._led.open()
        self._sensor = resources.enter_context(self._make_sensor())
        self._sampler = self._make_sampler()
        await resources.enter_async_context(
            control_socket(self._places.runtime / SOCKET_NAME, control_requests(self))
        )
        version, sensor, led = self._version, self._config.sensor, self._config.led
        log.info(
            "sensor-agent %s started as %s: sensor %s, LED %s.",
            version,
            self._config.device.id,
            sensor.driver,
            led.driver,
            extra=LogEvent.STARTED.about(VERSION=version, SENSOR=sensor.driver, LED=led.driver),
        )

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            sampling = self.start_task(self._sampler.run(), "sampler")
            delivering = self.start_task(self._sink.run(), "sink")
            notices = notify_systemd(
                ready=self._sampler.attempted,
                changed=self.status_changed,
                watch=self._watch,
                status=self._status_line,
            )
            notifying = self.start_task(notices, "systemd")
            await self.stop.wait()
            notifying.cancel()  # The status line stays "Stopping".
            await self._stop(sampling, delivering)

    async def _stop(self, sampling: "asyncio.Task[None]", delivering: "asyncio.Task[None]") -> None:
        """Stop sampling, turn the LED off, report it, and end the session: within 5 s."""
        log.info("Stopping.", extra=LogEvent.STOPPING.about())
        journal.notify(STOPPING="1", STATUS="Stopping")
        sampling.cancel()
        # If the LED hangs, its second passes while the session ends.
        closing = asyncio.create_task(self._led.close(), name="led")
        await asyncio.wait({closing}, timeout=LED_DEADLINE)
        try:
            async with asyncio.timeout(FAREWELL_DEADLINE):
                await self._sink.farewell({"state": False, "ledState": self._led.state})
        except TimeoutError:
            log.info(
                "The hub has not confirmed within %g s that the daemon stops.",
                FAREWELL_DEADLINE,
                extra=LogEvent.FAREWELL_MISSED.about(),
            )
        delivering.cancel()
        await asyncio.wait({delivering}, timeout=SESSION_DEADLINE)
        await closing
        for task in self._tasks:
            task.cancel()

    async def _start_unless_stopped(self, resources: AsyncExitStack) -> bool:
        """Start, and return True; if `stop` is set first, abandon the start and return False."""
        starting = asyncio.create_task(self._start(resources), name="start")
        stopping = asyncio.create_task(self.stop.wait(), name="stop")
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            return starting.done()
        finally:
            starting.cancel()  # Opening an LED may take 20 s, but stopping only 5.
            stopping.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)

    def _make_led(self, kept: Any) -> AsyncLed:
        config, limits = self._config.led, self._config.limits
        led = open_led(config.driver, pin=config.pin, active_high=config.active_high)
        led.set_brightness(self._sink.set_by_operator.get("brightness", 1))
        return AsyncLed(
            led,
            on_change=self._on_led,
            on_choice=self._on_led_choice,
            choice=choice_before(kept, self._limits_in_force(), limits.led),
        )

    def _on_led(self, state: LedState) -> None:
        self.report({"ledState": state})

    def _make_limits(self, kept: Any) -> LimitWatch:
        return LimitWatch(
            values=self._limits_in_force(),
            look=self._config.limits.led,
            led=self._led,
            clock=self.clock,
            report=self.report,
            keep=self._keep_limits,
            kept=kept,
        )

    def _limits_in_force(self) -> Values:
        return in_force(configured(self._config.limits), self._sink.limits_by_operator)

    def _on_led_choice(self) -> None:
        self._limits.save()

    def _keep_limits(self, state: Any) -> None:
        # Not by `start_task`: someone may order the LED before the group of tasks is there.
        task = asyncio.create_task(self._sink.keep(KEPT, state), name="limits")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _make_sensor(self) -> ClimateSensor:
        config = self._config.sensor
        return open_sensor(
            config.driver,
            model=config.model,
            pin=config.pin,
            bus=config.bus,
            address=config.address,
            power_pin=config.power_pin,
            # The simulated room keeps its weather over a restart.
            seed=crc32(self._config.device.id.encode()),
        )

    def _make_sampler(self) -> Sampler:
        config = self._config.sensor
        policy = Policy(
            model=self._sensor.model,
            spacing=self._sensor.spacing,
            interval=self._sink.set_by_operator.get("telemetryInterval", config.interval),
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
            observe=self._limits.attempted,
        )

    def _status_line(self) -> str:
        last = self._sampler.last
        return status_line(
            self._sampler.policy.status,
            None if last is None else (last[0], self.clock.true_time(last[1])[0]),
            self._sink.cloud_status(),
            waiting=self._sink.waiting,
            unit=self._config.sensor.unit,
        )

    # What the other parts need of the daemon: their protocols `Daemon`.

    @property
    def led(self) -> AsyncLed:
        return self._led

    @property
    def device_id(self) -> str:
        """The id of the device that this daemon is."""
        return self._config.device.id

    @property
    def room(self) -> Room | None:
        return self._sensor.room if isinstance(self._sensor, SimulatedSensor) else None

    def start_task(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def set_interval(self, seconds: float) -> None:
        self._sampler.set_interval(seconds)

    def set_limits(self, values: Values) -> None:
        self._limits.set_values(values)

    def report(self, properties: Mapping[str, Any]) -> None:
        self._sink.report(properties)

    def snapshot(self) -> dict[str, Any]:
        return {
            "state": True,
            **self._sampler.properties(),
            "ledState": self._led.state,
            "limitStatus": self._limits.status,
            "deviceInformation": self._information,
        }

    async def read(self) -> tuple[Reading, str]:
        reading, taken = await self._sampler.read_now()
        return reading, self.clock.true_utc(taken)

    async def check(
        self, only: Sequence[str] = (), skip: Sequence[str] = ()
    ) -> tuple[Status, runner.Findings]:
        status = await self.status()
        hub = await self._sink.last_hub()

        def run_checks() -> runner.Findings:
            return runner.inside(
                self._config,
                self._places.config,
                state=self._places.state,
                status=status,
                hub=hub,
                ids=runner.chosen(only, skip),
            )

        deadline = CHECKS_BUDGET + CHECKS_MARGIN
        return status, await self._checks_thread.run(run_checks, deadline=deadline)

    async def apply_config(self) -> Applied:
        file = self._places.config
        if file is None or self._read_config is None:
            raise ControlError(
                "The daemon runs without a configuration file, so there is nothing to apply.",
                how_to_restart(),
            )
        # One thread reads, in order, and nothing is awaited after that: requests are serialised.
        try:
            wanted = await self._config_thread.run(self._read_config, deadline=READ_DEADLINE)
        except ConfigError as error:
            _log_refusal(error)
            raise
        except TimeoutError:
            raise ControlError(
                f"Reading {file} did not finish within {READ_DEADLINE:g} s, so the daemon keeps "
                "its settings."
            ) from None
        found = changes(self._config, wanted)
        overridden = self._take_over(found.config)
        outcome = Applied(str(file.absolute()), found.applied, found.restart, overridden)
        log.info(
            "%s",
            " ".join(outcome.sentences(how_to_restart())),
            extra=LogEvent.CONFIGURATION_APPLIED.about(),
        )
        journal.set_level(found.config.log.level)
        return outcome

    def _take_over(self, config: Config) -> list[str]:
        """Use these settings. Return those in whose place the operator's value stays in force."""
        before, self._config = self._config, config
        sensor = config.sensor
        self._sampler.policy.set_offsets(sensor.temperature_offset, sensor.humidity_offset)
        self._limits.set_look(config.limits.led)
        self._limits.set_values(self._limits_in_force())
        self._sink.apply(config)
        overridden = []
        if sensor.interval != before.sensor.interval:
            if "telemetryInterval" in self._sink.set_by_operator:
                overridden.append("interval in [sensor]")
            else:
                self._sampler.set_interval(sensor.interval)
        wanted, known = configured(config.limits), configured(before.limits)
        return overridden + [
            f"{LIMITS[name].key} in [limits]"
            for name, value in self._limits_in_force().items()
            if wanted[name] != known[name] and value != wanted[name]
        ]

    async def undo_move(self) -> PlacePart:
        return await self._sink.undo_move()

    async def status(self) -> Status:
        sensor = self._config.sensor
        status = Status(
            time=self.clock.true_utc(self.clock.stamp()),
            version=self._version,
            origin=self._origin,
            device_id=self._config.device.id,
            sensor=self._sampler.status(sensor.driver, model=sensor.model, unit=sensor.unit),
            led=self._led.status(self._config.led.driver),
            limits=self._limits.describe(),
        )
        return await self._sink.describe(status)

    async def diagnose(self) -> str:
        status, findings = await self.check()
        return runner.diagnosis(findings, status)


def _log_refusal(error: ConfigError) -> None:
    log.error(
        "Cannot apply the changed configuration, so the daemon keeps its settings. %s",
        error.in_one_line(),
        extra=LogEvent.CONFIGURATION_REFUSED.about(),
    )
