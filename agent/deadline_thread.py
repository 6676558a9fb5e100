"""Run blocking calls in a separate thread, each with a deadline."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

MAX_ABANDONED = 8  # Threads. If this many hang, the next one would hang too.


class DeadlineThread:
    """One thread that runs one call at a time, in order.

    A thread cannot be killed. If a call misses its deadline, its thread is abandoned, and the next
    call gets a new thread. While MAX_ABANDONED threads hang, calls are not started and time out
    at once. A call that times out or is cancelled before it starts is never started.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._executor = self._new_executor()
        self._abandoned: list[Future[Any]] = []

    def _new_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max_workers=1, thread_name_prefix=self._name)

    @property
    def is_exhausted(self) -> bool:
        """Whether MAX_ABANDONED threads hang, so that no call can start."""
        self._abandoned = [call for call in self._abandoned if not call.done()]
        return len(self._abandoned) >= MAX_ABANDONED

    async def run(self, call: Callable[[], T], *, deadline: float) -> T:
        """Return the result of `call()`. Raises TimeoutError after `deadline` seconds."""
        if self.is_exhausted:
            raise TimeoutError
        submitted = self._executor.submit(call)
        try:
            async with asyncio.timeout(deadline) as timeout:
                return await asyncio.wrap_future(submitted)
        except asyncio.CancelledError:
            self._abandon(submitted)
            raise
        except TimeoutError:
            if timeout.expired():  # Otherwise the call itself raised it.
                self._abandon(submitted)
                self._executor.shutdown(wait=False)
                self._executor = self._new_executor()
            raise

    def close(self) -> None:
        """End the thread after its current call. Does not wait."""
        self._executor.shutdown(wait=False)

    def _abandon(self, call: Future[Any]) -> None:
        if not call.cancel():
            self._abandoned.append(call)
