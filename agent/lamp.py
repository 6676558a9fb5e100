"""The one owner of the light: every command goes through here, and what it really does is told."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from agent.worker import Worker
from hw import Light
from hw.errors import LightError

log = logging.getLogger(__name__)

DEADLINE = 1.0  # Seconds for one command to the light.
WATCH = 10.0  # Seconds between looks at whether the light still does what it was told.


class Lamp:
    """A light, driven from a thread of its own. `on_change` is told each change of its state."""

    def __init__(
        self,
        light: Light,
        *,
        on_change: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._light = light
        self._on_change = on_change
        self._sleep = sleep
        self._worker = Worker("light")
        self._told: str | None = None

    @property
    def state(self) -> str:
        """What the light does: `off`, `on` or `blinking`."""
        return self._light.state.value

    @property
    def brightness(self) -> int:
        """1 high, 2 medium, 3 low."""
        return self._light.brightness

    @property
    def fault(self) -> str | None:
        """Why the light cannot be driven, if it cannot."""
        return None if self._light.fault is None else str(self._light.fault)

    async def on(self) -> None:
        """Light up. Raises LightError, as all that follow do."""
        await self._drive(self._light.on)

    async def off(self) -> None:
        """Go dark."""
        await self._drive(self._light.off)

    async def blink(self, period: float) -> None:
        """Blink once every `period` seconds until the next command."""
        await self._drive(lambda: self._light.blink(period))

    async def set_brightness(self, level: int) -> None:
        """Shine at `level`, now if lit."""
        await self._drive(lambda: self._light.set_brightness(level))

    async def close(self) -> None:
        """Go dark and release the line, for the last time."""
        try:
            await self._drive(self._light.close)
        except LightError as error:
            log.warning("The LED could not be turned off: %s", error)
        self._worker.close()

    async def watch(self) -> None:
        """Tell when the light stops doing what it was told, until cancelled."""
        while True:
            await self._sleep(WATCH)
            if self.state != self._told and self.fault is not None:
                log.warning("The LED went out: %s", self.fault)
            self._tell()

    async def _drive(self, work: Callable[[], None]) -> None:
        try:
            await self._worker.run(work, deadline=DEADLINE)
        except TimeoutError:
            raise LightError(f"The LED's driver did not return within {DEADLINE:g} s.") from None
        finally:
            self._tell()

    def _tell(self) -> None:
        if self.state != self._told:
            self._told = self.state
            self._on_change(self.state)
