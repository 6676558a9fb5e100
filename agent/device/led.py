"""The daemon's LED: commands with a deadline, signals, and a report of each change."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from agent.device.led_order import OFF, ON, LedChoice, Order
from agent.logs.events import LogEvent
from agent.status import LedPart
from hw import Led, LedError, LedState

log = logging.getLogger(__name__)

DEADLINE = 1.0  # Seconds for one command.
OPENING = 20.0  # Seconds for the first, in which a Pi Zero imports gpiozero.


class AsyncLed:
    """An `hw.Led` for asyncio, driven by a thread of its own.

    Commands run one after the other. One that takes longer than a second raises LedError, as does
    every command that fails; a command that has not started by then is never carried out.
    `on_change` is called in the event loop with each new state, and `on_choice` after each order
    and each signal. `choice` is what to show from the start. Create it in a running loop.
    """

    def __init__(
        self,
        led: Led,
        *,
        on_change: Callable[[LedState], None],
        on_choice: Callable[[], None] = lambda: None,
        choice: LedChoice = LedChoice(),  # noqa: B008 - it is immutable.
    ) -> None:
        self._led = led
        self._on_change = on_change
        self._on_choice = on_choice
        self._choice = choice  # Changed only in the LED's thread, in the order of the commands.
        self._is_wrong = choice.shown != OFF  # Whether the LED does not show it yet.
        self._signalling: asyncio.Future[None] | None = None
        # Its thread ends when nothing refers to the executor any more.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="led")
        self._failing = False
        self._is_closing = False
        loop = asyncio.get_running_loop()
        led.on_change = lambda state: loop.call_soon_threadsafe(self._changed, state)

    @property
    def state(self) -> LedState:
        """What the LED does: `off`, `on` or `blinking`."""
        return self._led.state

    @property
    def brightness(self) -> int:
        """1 (high), 2 (medium) or 3 (low)."""
        return self._led.brightness

    @property
    def choice(self) -> LedChoice:
        """The order and the signal that the LED follows."""
        return self._choice

    def status(self, driver: str) -> LedPart:
        """Return the LED's part of the status."""
        fault = None if self._led.fault is None else str(self._led.fault)
        return LedPart(
            driver=driver,
            state=self.state,
            brightness=self.brightness,
            signals=self._choice.is_signalling,
            fault=fault,
        )

    async def open(self) -> None:
        """Claim the line, with the LED off, and show the choice.

        Raise DriverError if this machine cannot. A LedError is logged: the agent can run without
        its LED, and each command tries again.
        """

        def claim() -> None:
            self._led.off()
            if self._is_wrong:
                self._show_choice()

        try:
            await self._drive(claim, OPENING)
        except LedError as error:
            self._log_failure("The LED cannot be driven: %s", error)

    async def on(self) -> None:
        """Turn the LED on."""
        await self._obey(ON)

    async def off(self) -> None:
        """Turn the LED off."""
        await self._obey(OFF)

    async def blink(self, period: float) -> None:
        """Blink once every `period` seconds until the next command."""
        await self._obey(Order(LedState.BLINKING, period))

    def signal(self, signal: Order | None) -> None:
        """Show a signal until the next order. With None, show again what was last ordered.

        Returns at once. A failure is logged, and `repair` tries again.
        """

        def change() -> None:
            before, self._choice = self._choice, self._choice.with_signal(signal)
            if self._is_wrong or self._choice.shown != before.shown:
                self._show_choice()

        self._submit(change)

    def repair(self) -> None:
        """Show a signal, or what was ordered before it, if the LED failed to. Returns at once."""
        is_lost = self._choice.is_signalling and self._led.fault is not None
        is_busy = self._signalling is not None and not self._signalling.done()
        if (self._is_wrong or is_lost) and not is_busy:
            self._submit(self._show_choice)

    async def set_brightness(self, level: int) -> None:
        """Set the brightness. A lit LED changes at once."""
        await self._drive(partial(self._led.set_brightness, level), DEADLINE)

    async def close(self) -> None:
        """Turn the LED off and release the line; a failure is logged. Closing again does nothing.

        If the driver hangs for a second, the LED is turned off when the driver returns. Later
        commands raise LedError.
        """
        if self._is_closing:
            return
        self._is_closing = True
        loop = asyncio.get_running_loop()
        closing = loop.run_in_executor(self._executor, self._led.close)
        done, _ = await asyncio.wait({closing}, timeout=DEADLINE)
        closing.add_done_callback(_retrieve)
        error = closing.exception() if done else _no_return(DEADLINE)
        is_harmless = isinstance(error, LedError) and self.state is LedState.OFF
        if error is not None and not is_harmless:
            self._log_failure("The LED could not be turned off: %s", error)

    async def _obey(self, order: Order) -> None:
        def obey() -> None:
            self._show(order)
            self._choice, self._is_wrong = self._choice.after_order(order), False

        await self._drive(obey, DEADLINE)
        self._on_choice()

    def _submit(self, command: Callable[[], None]) -> None:
        """Run a command that nobody waits for."""
        if self._is_closing:
            return
        loop = asyncio.get_running_loop()
        self._signalling = loop.run_in_executor(self._executor, command)
        self._signalling.add_done_callback(self._signalled)

    def _signalled(self, done: "asyncio.Future[None]") -> None:
        error = done.exception()
        if self._is_closing:  # Nothing can be kept any more.
            return
        if error is None:
            self._note_recovery()
        else:
            self._log_failure("The LED cannot signal: %s", error)
        self._on_choice()

    # In the thread.

    def _show_choice(self) -> None:
        self._is_wrong = True
        self._show(self._choice.shown)
        self._is_wrong = False

    def _show(self, order: Order) -> None:
        match order.state:
            case LedState.OFF:
                self._led.off()
            case LedState.ON:
                self._led.on()
            case LedState.BLINKING:
                self._led.blink(order.period)

    # In the event loop.

    async def _drive(self, command: Callable[[], None], deadline: float) -> None:
        try:
            async with asyncio.timeout(deadline):
                await asyncio.get_running_loop().run_in_executor(self._executor, command)
        except TimeoutError:
            raise _no_return(deadline) from None
        self._note_recovery()

    def _note_recovery(self) -> None:
        if self._failing and self._led.fault is None:
            self._failing = False
            log.info("The LED can be driven again.", extra=LogEvent.LED_RECOVERED.about())

    def _changed(self, state: LedState) -> None:
        if self._led.fault is not None:  # Nothing but a blink ends by itself.
            self._log_failure("The LED stopped blinking: %s", self._led.fault)
        self._on_change(state)

    def _log_failure(self, sentence: str, reason: object) -> None:
        level = logging.DEBUG if self._failing else logging.WARNING
        log.log(level, sentence, reason, extra=LogEvent.LED_FAILED.about())
        self._failing = True


def _no_return(deadline: float) -> LedError:
    return LedError(f"The LED's driver did not return within {deadline:g} s.")


def _retrieve(closing: "asyncio.Future[None]") -> None:
    closing.exception()  # asyncio logs exceptions that are never retrieved.
