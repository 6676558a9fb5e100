"""The contract of an LED, and what all drivers share: brightness, blinking and the state."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import StrEnum
from typing import Self

from hw.contracts import Clock, Wait
from hw.errors import LedError

DUTY = {1: 1.0, 2: 0.3, 3: 0.1}
"""Brightness to duty cycle: the fraction of the time that the LED is lit.

Perceived brightness is roughly the square root of the duty cycle, so the levels look like full,
half and a third. Level 1 uses no PWM. lgpio takes whole percents only.
"""

SHORTEST_PERIOD, LONGEST_PERIOD = 0.02, 86400.0  # Seconds. A faster blink looks steady.
JOIN_TIMEOUT = 5.0  # Seconds for the thread of a stopped blink, which only has to return.


class LedState(StrEnum):
    """What the LED does. The values are those of the property `ledState`."""

    OFF = "off"
    ON = "on"
    BLINKING = "blinking"


class Led(ABC):
    """An LED that is on, off or blinking, at one of three brightness levels.

    The first command claims the GPIO line. If that fails, the next command tries again. All
    methods may be called from any thread; the latest command wins. An LED is a context manager
    that closes itself.

    Every command raises `LedError` if the LED cannot be driven, or after `close`, and
    `DriverError` if the driver cannot work on this machine.

    Subclasses *must* implement `_drive` and *may* implement `_release`. Calls to the two never
    overlap. `clock` returns monotonic seconds; `wait(event, seconds)` returns true as soon as the
    event is set.
    """

    on_change: Callable[[LedState], object] | None = None
    """Called with each new `state`, in the thread that changed it. It *must* return at once and
    *must not* send the LED a command."""

    def __init__(self, *, clock: Clock = time.monotonic, wait: Wait = threading.Event.wait) -> None:
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._lit = False
        self._brightness = 1
        self._fault: LedError | None = None
        self._blinker: threading.Thread | None = None
        self._stop = threading.Event()
        self._state = LedState.OFF
        self._closed = False

    @abstractmethod
    def _drive(self, level: float) -> None:
        """Set the duty cycle, from 0.0 (off) to 1.0 (steadily on). Claim the line first if needed.

        Raise `LedError` or `DriverError`.
        """

    def _release(self) -> None:  # noqa: B027 - optional for subclasses
        """Release the line, if it is claimed. Called once, after the last `_drive`."""

    @property
    def state(self) -> LedState:
        """The result of the last successful change. A blink that fails has ended.

        Returns at once, even while a command hangs in the driver.
        """
        return self._state

    @property
    def brightness(self) -> int:
        """The brightness: 1 (high, 100 % duty cycle), 2 (medium, 30 %) or 3 (low, 10 %)."""
        return self._brightness

    @property
    def fault(self) -> LedError | None:
        """The error of the last change, whether by a command or a blink; None if it succeeded."""
        return self._fault

    def on(self) -> None:
        """Turn the LED on at the current brightness."""
        self._command(lit=True)

    def off(self) -> None:
        """Turn the LED off."""
        self._command(lit=False)

    def blink(self, period: float) -> None:
        """Blink until the next command: on for half of `period` seconds, then off for half.

        Blinking starts with on and does not drift when single changes are late. Raise
        `ValueError` for a period outside 0.02 to 86400 seconds.
        """
        if isinstance(period, bool) or not SHORTEST_PERIOD <= period <= LONGEST_PERIOD:
            raise ValueError(
                f"The period must be {SHORTEST_PERIOD:g} to {LONGEST_PERIOD:g} seconds, "
                f"not {period!r}."
            )
        self._command(lit=True, half=period / 2)

    def set_brightness(self, level: int) -> None:
        """Set the brightness: 1 (high), 2 (medium) or 3 (low). A lit LED changes at once.

        Raise `ValueError` for any other level. After a `LedError` the brightness is unchanged.
        """
        if isinstance(level, bool) or level not in DUTY:
            raise ValueError(
                f"The brightness must be 1 (high), 2 (medium) or 3 (low), not {level!r}."
            )
        with self._lock:
            self._must_be_open()
            if self._lit:
                self._show(DUTY[level])
            self._brightness = level

    def close(self) -> None:
        """Turn the LED off and release the line. Closing again does nothing.

        The line is released even if turning off fails with `LedError`.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            ended = self._end_blink()
            try:
                if self._lit:
                    self._show(0.0)
            finally:
                self._note_state()
                self._release()
        _join(ended)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _command(self, *, lit: bool, half: float | None = None) -> None:
        with self._lock:
            self._must_be_open()
            ended = self._end_blink()
            try:
                self._show(DUTY[self._brightness] if lit else 0.0)
                if half is not None:
                    self._start_blink(half)
            finally:
                self._note_state()
        _join(ended)

    def _start_blink(self, half: float) -> None:
        self._stop = threading.Event()
        self._blinker = threading.Thread(
            target=self._blink_on,
            args=(self._stop, half, self._clock()),
            name="led-blink",
            daemon=True,
        )
        self._blinker.start()

    def _blink_on(self, stop: threading.Event, half: float, start: float) -> None:
        turn = 1  # Even turns are lit. The command itself was turn 0.
        while not self._wait(stop, max(0.0, start + turn * half - self._clock())):
            with self._lock:
                if stop.is_set():  # A newer command came while this thread waited for the lock.
                    return
                # Skip the turns that passed while the machine was suspended.
                turn = max(turn, int((self._clock() - start) / half))
                try:
                    self._show(0.0 if turn % 2 else DUTY[self._brightness])
                except LedError:  # Kept in `fault`.
                    self._blinker = None
                    self._note_state()
                    return
            turn += 1

    def _end_blink(self) -> threading.Thread | None:
        ended, self._blinker = self._blinker, None
        self._stop.set()
        return ended

    def _note_state(self) -> None:
        before = self._state
        if self._blinker is not None:
            self._state = LedState.BLINKING
        else:
            self._state = LedState.ON if self._lit else LedState.OFF
        if self._state is not before and self.on_change is not None:
            self.on_change(self._state)

    def _show(self, level: float) -> None:
        try:
            self._drive(level)
        except LedError as error:
            self._fault = error
            raise
        self._lit = level > 0.0
        self._fault = None

    def _must_be_open(self) -> None:
        if self._closed:
            raise LedError("The LED is closed.")


def _join(thread: threading.Thread | None) -> None:
    # Never under the lock: the thread may be waiting for it.
    if thread is not None:
        thread.join(JOIN_TIMEOUT)
