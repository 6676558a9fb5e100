"""The signals that stop a program, and the effect of a second one."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agent.cli.terminal import FAILURE, leave

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

SAME_HANGUP = 1.0  # Seconds. The kernel and the shell both send SIGHUP if a terminal closes.


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return SIGINT, SIGTERM and, unless it is ignored, as under nohup, SIGHUP."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, signal.SIGHUP


class Stop:
    """A signal handler: the first signal calls `stop`, a second one `at_once`.

    A closing terminal sends SIGHUP twice. Two within a second count as one.
    """

    def __init__(
        self,
        stop: Callable[[], object],
        at_once: Callable[[], object],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stop = stop
        self._at_once = at_once
        self._now = now
        self._first: tuple[int, float] | None = None

    def __call__(self, number: int, _frame: object = None) -> None:
        if self._first is None:
            self._first = (number, self._now())
            self._stop()
            return
        first, at = self._first
        if not (number == first == signal.SIGHUP and self._now() - at < SAME_HANGUP):
            self._at_once()


def leave_at_once() -> None:
    """End the process without cleaning up, with status 1."""
    leave(FAILURE)


def catch(
    loop: "AbstractEventLoop",
    stop: Callable[[], object],
    at_once: Callable[[], object] = leave_at_once,
) -> None:
    """Call `stop` in `loop` at the first signal, `at_once` at the second."""
    handler = Stop(stop, at_once)
    for number in stop_signals():
        loop.add_signal_handler(number, handler, number)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block at the first signal; a second ends the process at once.

    This way, `with` blocks inside release GPIO lines whichever signal ends the command.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = Stop(_interrupt, leave_at_once)
    before = {number: signal.signal(number, handler) for number in stop_signals()}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _interrupt() -> None:
    raise KeyboardInterrupt
