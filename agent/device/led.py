"""The one owner of the light: every command goes through here, and what it really does is told."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

from agent.deadline_thread import Worker
from agent.logs.events import LogEvent
from hw import Light, LightState
from hw.errors import LightError

log = logging.getLogger(__name__)

DEADLINE = 1.0  # Seconds for one command to the light.
OPENING = 20.0  # Seconds for the first, which a Pi Zero spends on importing gpiozero.
WATCH = 10.0  # Seconds between looks at whether the light still does what it was told.


class Lamp:
    """A light, driven from a thread of its own. `on_change` is told each change of its state.

    `open_light` is called by `open`. Where the line cannot be had, a LED is no reason to stop
    reading the sensor: it is tried again with each command.
    """

    def __init__(
        self,
        open_light: Callable[[], Light],
        *,
        brightness: int,
        on_change: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._open_light = open_light
        self._brightness = brightness
        self._on_change = on_change
        self._sleep = sleep
        self._worker = Worker("light")
        self._light: Light | None = None
        self._opening = threading.Lock()
        self._not_open: LightError | None = None
        self._told: str | None = None
        self._failing = False
        self._retired = False

    @property
    def state(self) -> str:
        """What the light does: `off`, `on` or `blinking`."""
        return str(LightState.OFF if self._light is None else self._light.state)

    @property
    def brightness(self) -> int:
        """1 high, 2 medium, 3 low."""
        return self._brightness

    @property
    def fault(self) -> str | None:
        """Why the light cannot be driven, if it cannot."""
        fault = self._not_open if self._light is None else self._light.fault
        return None if fault is None else str(fault)

    async def open(self) -> None:
        """Take the line, with the light off. A failure is only told; DriverError is raised."""
        try:
            await self._drive(lambda _light: None, deadline=OPENING)
        except LightError as error:
            self._failed("The LED cannot be driven: %s", error)

    async def on(self) -> None:
        """Light up. Raises LightError, as all that follow do."""
        self._must_serve()
        await self._drive(lambda light: light.on())

    async def off(self) -> None:
        """Go dark."""
        await self._drive(lambda light: light.off())

    async def blink(self, period: float) -> None:
        """Blink once every `period` seconds until the next command."""
        self._must_serve()
        await self._drive(lambda light: light.blink(period))

    async def set_brightness(self, level: int) -> None:
        """Shine at `level`, now if lit."""
        await self._drive(lambda light: light.set_brightness(level))
        self._brightness = level

    async def retire(self) -> None:
        """Go dark and stay so, whoever asks for light from now on."""
        self._retired = True
        await self.off()

    async def close(self) -> None:
        """Go dark and release the line, for the last time."""
        if self._light is not None:
            try:
                await self._drive(lambda light: light.close())
            except LightError as error:
                self._failed("The LED could not be turned off: %s", error)
        self._worker.close()

    async def watch(self) -> None:
        """Tell when the light stops doing what it was told, until cancelled."""
        while True:
            await self._sleep(WATCH)
            if self.state != self._told and self.fault is not None:
                self._failed("The LED went out: %s", self.fault)
            self._tell()

    async def _drive(self, work: Callable[[Light], None], *, deadline: float | None = None) -> None:
        deadline = DEADLINE if deadline is None else deadline
        over = threading.Event()

        def carry_out() -> None:
            light = self._opened()
            # That may have taken long: one that was told as failed must not come after a newer.
            if not over.is_set():
                work(light)

        try:
            await self._worker.run(carry_out, deadline=deadline)
        except TimeoutError:
            raise LightError(f"The LED's driver did not return within {deadline:g} s.") from None
        else:
            if self._failing and self.fault is None:
                self._failing = False
                log.info("The LED can be driven again.", extra=LogEvent.LED_RECOVERED.about())
        finally:
            over.set()
            self._tell()

    def _must_serve(self) -> None:
        if self._retired:
            raise LightError("The daemon is stopping; the LED stays off.")

    def _failed(self, sentence: str, reason: object) -> None:
        level = logging.DEBUG if self._failing else logging.WARNING
        log.log(level, sentence, reason, extra=LogEvent.LED_FAILED.about())
        self._failing = True

    def _opened(self) -> Light:
        # An opening that was too slow goes on in its thread; a second would find the line taken.
        with self._opening:
            if self._light is None:
                try:
                    light = self._open_light()
                except LightError as error:
                    self._not_open = error
                    raise
                light.set_brightness(self._brightness)
                self._light = light
            return self._light

    def _tell(self) -> None:
        if self.state != self._told:
            self._told = self.state
            self._on_change(self.state)
