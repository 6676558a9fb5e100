"""Reads the sensor on schedule."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agent.deadline_thread import DeadlineThread
from agent.logs.events import LogEvent
from agent.readings.clock import Clock, Stamp, wait_for
from agent.readings.sink import Sink
from agent.status import LastReading, SensorPart
from hw import ClimateSensor, Reading
from hw.errors import Fault, HardwareError, SensorError
from hw.sensors.policy import ATTEMPTS_PER_SLOT, JUMPS, Policy, SensorStatus
from hw.sensors.steadiness import ADVICE, SensorWarning

log = logging.getLogger(__name__)

DEADLINE_MARGIN = 1.0  # Seconds beyond the deadline of the driver.
ADD_DEADLINE = 60.0  # Seconds in which a slow card writes one reading.
SLACK = 30.0  # Seconds by which a busy machine may be late.


Observer = Callable[[Sequence[tuple[Reading, Stamp]], SensorStatus, SensorWarning], None]
"""Is called after each attempt, with the accepted readings and the sensor's status."""


@dataclass(slots=True)
class _Request:
    """A request for a reading outside the schedule."""

    answer: "asyncio.Future[tuple[Reading, Stamp]]"
    attempts_left: int = ATTEMPTS_PER_SLOT


class Sampler:
    """Reads one sensor, and passes accepted readings and changes of its status to `sink`.

    `observe` gets the readings first: a slow card does not delay it.
    `expect` is called before each step with the seconds until the next call, at most. Without one
    the sampler is stuck: a step hangs, or so many attempts hang that no other can start.
    `attempted` is set after the first attempt, successful or not.
    """

    def __init__(
        self,
        *,
        sensor: ClimateSensor,
        policy: Policy,
        clock: Clock,
        sink: Sink,
        expect: Callable[[float], None] = lambda _seconds: None,
        observe: Observer = lambda _accepted, _status, _warning: None,
        wait: Callable[[asyncio.Event, float], Awaitable[None]] | None = None,
    ) -> None:
        self.policy = policy
        self.last: tuple[Reading, Stamp] | None = None
        self.last_error: str | None = None
        self.status_since = clock.stamp()
        self.attempted = asyncio.Event()
        self._sensor = sensor
        self._clock = clock
        self._sink = sink
        self._expect = expect
        self._observe = observe
        self._wait = wait or wait_for
        self._thread = DeadlineThread("sensor")
        self._logged_exceptions: set[type[Exception]] = set()
        self._warned: set[SensorStatus] = set()
        self._rescheduled = asyncio.Event()
        self._requests: list[_Request] = []

    def status(self, driver: str, *, model: str, unit: str) -> SensorPart:
        """Return the sensor's part of the status, with what is configured."""
        return SensorPart(
            driver=driver,
            model=model,
            unit=unit,
            interval=self.policy.interval,
            status=self.policy.status.value,
            status_since=self._clock.true_utc(self.status_since),
            last=self.last
            and LastReading(
                temperature=self.last[0].temperature,
                humidity=self.last[0].humidity,
                taken=self._clock.true_utc(self.last[1]),
            ),
            counters=dict(self.policy.counters),
            error=self.last_error,
            warning=self.policy.warning.value,
        )

    def set_interval(self, seconds: float) -> None:
        """Take a reading every `seconds` from now on."""
        self.policy.interval = seconds
        self._rescheduled.set()

    def properties(self) -> dict[str, str]:
        """Return the reported properties of the sensor."""
        since = self._clock.true_utc(self.status_since)
        return {
            "sensorStatus": self.policy.status.value,
            "sensorStatusSince": since,
            "sensorWarning": self.policy.warning.value,
        }

    async def read_now(self) -> tuple[Reading, Stamp]:
        """Take a reading as soon as the sensor allows it. It goes to the sink, too.

        Raises SensorError with the last reason if five attempts give no accepted reading.
        """
        request = _Request(asyncio.get_running_loop().create_future())
        self._requests.append(request)
        self._rescheduled.set()
        try:
            return await request.answer
        finally:
            self._requests.remove(request)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            self._rescheduled.clear()
            is_requested = any(not request.answer.done() for request in self._requests)
            due = self.policy.earliest if is_requested else self.policy.next_attempt()
            pause = due - self._clock.uptime()
            if pause > 0:
                self._expect_next_within(pause + SLACK)
                await self._wait(self._rescheduled, pause)
                continue
            self._expect_next_within(self._sensor.deadline + DEADLINE_MARGIN + SLACK)
            await self._attempt()
            self.attempted.set()

    def _expect_next_within(self, seconds: float) -> None:
        if not self._thread.is_exhausted:
            self._expect(seconds)

    async def _attempt(self) -> None:
        requests = list(self._requests)  # Requests during the attempt need a newer reading.
        began = self._clock.stamp()
        status, warning = self.policy.status, self.policy.warning
        self.policy.began(began.uptime)
        failure = SensorError(JUMPS, fault=Fault.IMPLAUSIBLE)
        try:
            reading = await self._read()
        except SensorError as error:
            failure = error
            self._failed(error)
            accepted = []
        else:
            accepted = self.policy.succeeded(reading, self._clock.uptime())
            if self.policy.why:
                failure = SensorError(self.policy.why, fault=Fault.IMPLAUSIBLE)
                self._log_no_reading(failure)
        if self.policy.status is not status:
            self._status_changed(self.policy.status, status)
        if self.policy.warning is not warning:
            self._warning_changed(self.policy.warning, warning)
        readings = [(one.reading, _taken(one.at, began)) for one in accepted]
        self._observe(readings, self.policy.status, self.policy.warning)
        for reading, taken in readings:
            self.last = (reading, taken)
            log.debug(
                "%.1f °C, %.1f %%.",
                reading.temperature,
                reading.humidity,
                extra=LogEvent.READING.about(**_values(reading)),
            )
            self._expect(ADD_DEADLINE)
            await self._sink.add(reading, taken)
        self._answer(requests, failure if not accepted else None)

    def _answer(self, requests: list[_Request], failure: SensorError | None) -> None:
        """Answer requests with the reading just taken. Without one, count the failed attempt."""
        for request in requests:
            request.attempts_left -= 1
            if request.answer.done():  # Cancelled.
                continue
            if failure is None and self.last is not None:
                request.answer.set_result(self.last)
            elif failure is not None and request.attempts_left <= 0:
                request.answer.set_exception(failure)

    async def _read(self) -> Reading:
        deadline = self._sensor.deadline + DEADLINE_MARGIN
        try:
            return await self._thread.run(self._sensor.read, deadline=deadline)
        except TimeoutError:
            raise SensorError(
                f"The sensor's driver did not return within {deadline:g} s.", fault=Fault.FAILED
            ) from None
        except HardwareError:
            raise
        except Exception as error:
            if type(error) not in self._logged_exceptions:
                self._logged_exceptions.add(type(error))
                log.exception(
                    "The sensor's driver raised an unexpected exception.",
                    extra=LogEvent.SENSOR_DRIVER_BROKEN.about(FAULT=Fault.FAILED),
                )
            raise SensorError(
                f"The sensor's driver failed: {error!r}", fault=Fault.FAILED
            ) from error

    def _failed(self, error: SensorError) -> None:
        self._log_no_reading(error)
        self.policy.failed(error.fault, self._clock.uptime())

    def _log_no_reading(self, error: SensorError) -> None:
        self.last_error = str(error)
        log.debug(
            "No reading (%s): %s",
            error.fault,
            error,
            extra=LogEvent.NO_READING.about(FAULT=error.fault),
        )

    def _status_changed(self, status: SensorStatus, before: SensorStatus) -> None:
        self.status_since = self._clock.stamp()
        if status is SensorStatus.OK:
            if before is not SensorStatus.STARTING:
                log.info(
                    "The sensor gives readings again (before: %s).",
                    before,
                    extra=LogEvent.SENSOR_RECOVERED.about(SENSOR_STATUS=status),
                )
            self.last_error = None
            self._warned.clear()
            self._logged_exceptions.clear()
        else:
            log.log(
                logging.DEBUG if status in self._warned else logging.WARNING,
                "The sensor gives no readings (%s): %s",
                status,
                self.last_error,
                extra=LogEvent.SENSOR_FAILED.about(FAULT=status, SENSOR_STATUS=status),
            )
            self._warned.add(status)
        self._sink.report(self.properties())

    def _warning_changed(self, warning: SensorWarning, before: SensorWarning) -> None:
        if warning is SensorWarning.NONE:
            log.info(
                "The sensor's values change again (before: %s).",
                before,
                extra=LogEvent.SENSOR_TRUSTED.about(SENSOR_WARNING=warning),
            )
        else:
            log.warning(
                "The sensor's readings may not be true (%s): %s",
                warning,
                ADVICE[warning],
                extra=LogEvent.SENSOR_DOUBTED.about(SENSOR_WARNING=warning),
            )
        self._sink.report(self.properties())


def _taken(at: float, began: Stamp) -> Stamp:
    """Return when a reading was taken: a suspect one that is confirmed now was taken earlier."""
    earlier = began.uptime - at
    return Stamp(began.wall - earlier, began.uptime - earlier, began.boot_id, began.synchronised)


def _values(reading: Reading) -> dict[str, str]:
    return {
        "TEMPERATURE": f"{reading.temperature:.1f}",
        "HUMIDITY": f"{reading.humidity:.1f}",
    }
