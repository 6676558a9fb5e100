"""Blocking work in a thread of its own, with a deadline."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

MOST_ABANDONED = 8  # Threads. Where as many hang, the next one would, too.


class Worker:
    """One thread that does one thing at a time.

    A thread cannot be killed. One that misses its deadline is abandoned to finish whenever it
    likes, and the next piece of work gets a fresh one; while MOST_ABANDONED have not finished,
    work is not begun, and counts as late. Work that is late, or that nobody waits for any more,
    before it has begun does not begin.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._executor = self._fresh()
        self._abandoned: set[asyncio.Future[Any]] = set()

    def _fresh(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max_workers=1, thread_name_prefix=self._name)

    @property
    def begins_nothing(self) -> bool:
        """Whether as many pieces of work hang as may."""
        return len(self._abandoned) >= MOST_ABANDONED

    async def run(self, work: Callable[[], T], *, deadline: float) -> T:
        """Return what `work()` returns. Raises TimeoutError after `deadline` seconds."""
        if self.begins_nothing:
            raise TimeoutError
        submitted = self._executor.submit(work)
        future = asyncio.wrap_future(submitted)
        try:
            done, _ = await asyncio.wait({future}, timeout=deadline)
        except asyncio.CancelledError:
            self._abandon(submitted, future)
            raise
        if not done:
            self._abandon(submitted, future)
            self._executor.shutdown(wait=False)
            self._executor = self._fresh()
            raise TimeoutError
        return future.result()

    def close(self) -> None:
        """Let the thread end. Does not wait for it."""
        self._executor.shutdown(wait=False)

    def _abandon(self, submitted: Future[T], future: asyncio.Future[T]) -> None:
        if not submitted.cancel():
            self._abandoned.add(future)
        future.add_done_callback(self._forget)

    def _forget(self, future: "asyncio.Future[Any]") -> None:
        self._abandoned.discard(future)
        # Nobody waits for it any more; asking for the exception keeps asyncio from complaining.
        if not future.cancelled():
            future.exception()
