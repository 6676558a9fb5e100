"""Asks the sensor on schedule and waits between attempts. Nobody else waits for the sensor."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from agent.clock import Clock, Stamp
from agent.worker import Worker
from hw import ClimateSensor, Reading
from hw.errors import Fault, HardwareError, SensorError
from hw.policy import Policy, SensorStatus

log = logging.getLogger(__name__)

DEADLINE_MARGIN = 1.0  # Seconds beyond what the driver promises, before it counts as hung.


class Sampler:
    """Reads one sensor for ever. Each believed reading goes to `on_reading`, with its stamp.

    `on_status` is told each change of the sensor's status. `one` asks for a reading out of turn
    and is still bound by the sensor's spacing.
    """

    def __init__(
        self,
        *,
        sensor: ClimateSensor,
        policy: Policy,
        clock: Clock,
        on_reading: Callable[[Reading, Stamp], Awaitable[None]],
        on_status: Callable[[SensorStatus, Stamp], None],
        wait: Callable[[asyncio.Event, float], Awaitable[None]] | None = None,
    ) -> None:
        self.policy = policy
        self.last: tuple[Reading, Stamp] | None = None
        self.last_error: str | None = None
        self.status_since = clock.stamp()
        self._sensor = sensor
        self._clock = clock
        self._on_reading = on_reading
        self._on_status = on_status
        self._wait = wait or _wait
        self._worker = Worker("sensor")
        self._rescheduled = asyncio.Event()

    def set_interval(self, seconds: float) -> None:
        """Read every `seconds` from now on."""
        self.policy.interval = seconds
        self._rescheduled.set()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            self._rescheduled.clear()
            due = self.policy.next_attempt()
            if due > self._clock.uptime():
                await self._wait(self._rescheduled, due - self._clock.uptime())
                continue
            await self._attempt()

    async def _attempt(self) -> None:
        began = self._clock.stamp()
        status = self.policy.status
        self.policy.began(began.uptime)
        try:
            reading = await self._read()
        except SensorError as error:
            self._failed(error)
            accepted = []
        else:
            accepted = self.policy.succeeded(reading, self._clock.uptime())
        if self.policy.status is not status:
            self._tell(self.policy.status, status)
        for one in accepted:
            # A suspect that was confirmed was read earlier than now, by the same clocks.
            earlier = began.uptime - one.at
            taken = Stamp(
                began.wall - earlier, began.uptime - earlier, began.boot_id, began.synchronised
            )
            self.last = (one.reading, taken)
            await self._on_reading(one.reading, taken)

    async def _read(self) -> Reading:
        deadline = self._sensor.deadline + DEADLINE_MARGIN
        try:
            return await self._worker.run(self._sensor.read, deadline=deadline)
        except TimeoutError:
            raise SensorError(
                f"The sensor's driver did not return within {deadline:g} s.", fault=Fault.FAILED
            ) from None
        except HardwareError:
            raise
        except Exception as error:
            log.exception("The sensor's driver broke its contract.")
            raise SensorError(
                f"The sensor's driver failed: {error!r}", fault=Fault.FAILED
            ) from error

    def _failed(self, error: SensorError) -> None:
        self.last_error = str(error)
        log.debug("No reading (%s): %s", error.fault, error)
        self.policy.failed(error.fault, self._clock.uptime())

    def _tell(self, status: SensorStatus, before: SensorStatus) -> None:
        self.status_since = self._clock.stamp()
        if status is SensorStatus.OK:
            if before is not SensorStatus.STARTING:
                log.info("The sensor gives readings again (it was: %s).", before)
            self.last_error = None
        else:
            reason = self.last_error if status is not SensorStatus.IMPLAUSIBLE else None
            log.warning(
                "The sensor gives no readings (%s): %s",
                status,
                reason or "its values cannot be true. Is it the model that is configured?",
            )
        self._on_status(status, self.status_since)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, but no longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
