import asyncio
import gc
import threading

import pytest
from fakes import until

from agent.deadline_thread import MAX_ABANDONED, DeadlineThread


@pytest.fixture
def thread():
    thread = DeadlineThread("deadline-test")
    yield thread
    thread.close()


@pytest.fixture
def release():
    """Ends every call that hangs in `release.wait`."""
    release = threading.Event()
    yield release
    release.set()


async def test_results_and_exceptions_of_the_call_are_passed_on(thread):
    assert await thread.run(lambda: 42, deadline=10) == 42
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0, deadline=10)


async def test_calls_run_one_at_a_time_in_order(thread):
    order = []
    await asyncio.gather(*(thread.run(lambda n=n: order.append(n), deadline=10) for n in range(50)))
    assert order == list(range(50))


async def test_a_late_call_does_not_block_the_next(thread, release):
    with pytest.raises(TimeoutError):
        await thread.run(lambda: release.wait(10), deadline=0.01)
    assert await thread.run(lambda: "next", deadline=10) == "next"


async def test_calls_that_always_hang_create_a_limited_number_of_threads(thread, release):
    while not thread.is_exhausted:
        with pytest.raises(TimeoutError):
            await thread.run(lambda: release.wait(10), deadline=0.001)
    with pytest.raises(TimeoutError):
        await thread.run(lambda: release.wait(10), deadline=10)
    # A call that timed out before it started leaves a thread that ends at once.
    await until(lambda: len(_threads()) == MAX_ABANDONED)
    release.set()
    await until(lambda: not _threads())
    assert not thread.is_exhausted
    assert await thread.run(lambda: "next", deadline=10) == "next"


def _threads():
    return [each for each in threading.enumerate() if each.name.startswith("deadline-test")]


async def test_a_call_that_times_out_before_it_starts_is_never_started(thread, release):
    hanging, done = threading.Event(), []

    def hang():
        hanging.set()
        release.wait(10)
        done.append("first")

    first = asyncio.create_task(thread.run(hang, deadline=10))
    await until(hanging.is_set)
    with pytest.raises(TimeoutError):
        await thread.run(lambda: done.append("late"), deadline=0.0)
    release.set()
    await first
    await thread.run(lambda: done.append("next"), deadline=10)
    assert done == ["first", "next"]


async def test_the_exception_of_a_cancelled_call_is_not_logged(thread, release, caplog):
    hanging = threading.Event()

    def fail():
        hanging.set()
        release.wait(10)
        raise ZeroDivisionError

    cancelled = asyncio.create_task(thread.run(fail, deadline=10))
    await until(hanging.is_set)
    cancelled.cancel()
    await asyncio.wait({cancelled})
    release.set()
    await thread.run(lambda: None, deadline=10)
    del cancelled
    gc.collect()
    assert not caplog.records
