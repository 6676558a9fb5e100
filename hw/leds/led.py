"""The contract of a light, and what every light shares: one owner, brightness, blinking."""

import threading
import time
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Self

from hw.contracts import Clock, Wait
from hw.errors import LightError

DUTY = {1: 1.0, 2: 0.3, 3: 0.1}
"""Brightness level to the part of the time that the light is on.

The eye sees light about as its square root, so these look like full, half and a third. Level 1 is
steady: no PWM. The others are whole percents, which is all that lgpio can do.
"""

SHORTEST_PERIOD, LONGEST_PERIOD = 0.02, 86400.0
"""Seconds. A faster blink looks steady and would keep a processor busy; a slower one is none."""

JOIN_TIMEOUT = 5.0
"""Seconds to wait for the thread of a blink that is over. It has nothing left to do but end."""


class LightState(StrEnum):
    """What the light does. The values are those of the property `ledState`."""

    OFF = "off"
    ON = "on"
    BLINKING = "blinking"


class Light(ABC):
    """A light with one owner: of `on`, `off` and `blink`, the newest wins.

    Every method may be called from any thread. A light is a context manager, closed at the end.

    Descendants *must* implement `_drive`, which this class never calls twice at once, and *may*
    implement `_release`. Their constructor *must* leave the light off. `clock` is monotonic
    seconds; `wait(event, seconds)` is true as soon as the event is set.
    """

    def __init__(self, *, clock: Clock = time.monotonic, wait: Wait = threading.Event.wait) -> None:
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._lit = False
        self._brightness = 1
        self._fault: LightError | None = None
        self._blinker: threading.Thread | None = None
        self._stop = threading.Event()
        self._state = LightState.OFF
        self._closed = False

    @abstractmethod
    def _drive(self, level: float) -> None:
        """Show this level, from 0.0 (off) to 1.0 (full), or raise `LightError`."""

    def _release(self) -> None:  # noqa: B027 - may be implemented, need not
        """Give back what the light holds. Called once, after the last `_drive`."""

    @property
    def state(self) -> LightState:
        """What was last driven with success. A blink that fails ends, and is no longer told.

        Waits for nobody, not even for a command that hangs.
        """
        return self._state

    @property
    def brightness(self) -> int:
        """1 is high (full), 2 medium, 3 low."""
        return self._brightness

    @property
    def fault(self) -> LightError | None:
        """Why the light was last not driven, by a command or in a blink; None once it is again."""
        return self._fault

    def on(self) -> None:
        """Light up at the current brightness. Raise `LightError` if that fails."""
        self._command(lit=True)

    def off(self) -> None:
        """Go dark. Raise `LightError` if that fails."""
        self._command(lit=False)

    def blink(self, period: float) -> None:
        """Blink until the next command: on for half of `period` seconds, then off for half.

        It starts with on, and keeps to its schedule however late a single change comes. Raise
        `ValueError` for a period outside 0.02 s to a day, `LightError` if the light cannot be
        switched on.
        """
        if isinstance(period, bool) or not SHORTEST_PERIOD <= period <= LONGEST_PERIOD:
            raise ValueError(
                f"A blink's period must be {SHORTEST_PERIOD:g} to {LONGEST_PERIOD:g} seconds, "
                f"not {period!r}."
            )
        self._command(lit=True, half=period / 2)

    def set_brightness(self, level: int) -> None:
        """Set the brightness: 1 high (full), 2 medium, 3 low. It applies at once if lit.

        Raise `ValueError` for another level. After a `LightError` the old level is kept.
        """
        if isinstance(level, bool) or level not in DUTY:
            raise ValueError(
                f"A light's brightness must be 1 (high), 2 (medium) or 3 (low), not {level!r}."
            )
        with self._lock:
            self._must_be_open()
            if self._lit:
                self._show(DUTY[level])
            self._brightness = level

    def close(self) -> None:
        """Go dark and give the line back. Again is harmless.

        The line is given back even where going dark fails; `LightError` is raised then.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            over = self._end_blink()
            try:
                self._show(0.0)
            finally:
                self._note_state()
                self._release()
        _join(over)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _command(self, *, lit: bool, half: float | None = None) -> None:
        with self._lock:
            self._must_be_open()
            over = self._end_blink()
            try:
                self._show(DUTY[self._brightness] if lit else 0.0)
                if half is not None:
                    self._start_blink(half)
            finally:
                self._note_state()
        _join(over)

    def _start_blink(self, half: float) -> None:
        self._stop = threading.Event()
        self._blinker = threading.Thread(
            target=self._blink_on,
            args=(self._stop, half, self._clock()),
            name="light-blink",
            daemon=True,
        )
        self._blinker.start()

    def _blink_on(self, stop: threading.Event, half: float, start: float) -> None:
        turn = 1  # Even turns are lit; turn 0 was the command's own.
        while not self._wait(stop, max(0.0, start + turn * half - self._clock())):
            with self._lock:
                if stop.is_set():  # A newer command came while this thread waited for the lock.
                    return
                # Turns that were slept through (a suspended machine) are not made up.
                turn = max(turn, int((self._clock() - start) / half))
                try:
                    self._show(0.0 if turn % 2 else DUTY[self._brightness])
                except LightError:
                    self._blinker = None  # `fault` and `state` tell.
                    self._note_state()
                    return
            turn += 1

    def _end_blink(self) -> threading.Thread | None:
        over, self._blinker = self._blinker, None
        self._stop.set()
        return over

    def _note_state(self) -> None:
        if self._blinker is not None:
            self._state = LightState.BLINKING
        else:
            self._state = LightState.ON if self._lit else LightState.OFF

    def _show(self, level: float) -> None:
        try:
            self._drive(level)
        except LightError as error:
            self._fault = error
            raise
        self._lit = level > 0.0
        self._fault = None

    def _must_be_open(self) -> None:
        if self._closed:
            raise LightError("The light is closed.")


def _join(thread: threading.Thread | None) -> None:
    # Never under the lock: the thread may be waiting for it, to find that it is over.
    if thread is not None:
        thread.join(JOIN_TIMEOUT)
