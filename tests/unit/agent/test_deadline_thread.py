import asyncio
import gc
import threading

import pytest
from fakes import until

from agent.deadline_thread import MOST_ABANDONED, Worker


async def test_it_returns_what_the_work_returns_and_raises_what_it_raises():
    worker = Worker("test")
    assert await worker.run(lambda: 42, deadline=10) == 42
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0, deadline=10)
    worker.close()


async def test_work_is_done_one_piece_at_a_time_in_order():
    worker, order = Worker("test"), []
    await asyncio.gather(*(worker.run(lambda n=n: order.append(n), deadline=10) for n in range(50)))
    assert order == list(range(50))
    worker.close()


async def test_work_that_is_late_holds_up_nobody():
    worker, release = Worker("test"), threading.Event()
    with pytest.raises(TimeoutError):
        await worker.run(lambda: release.wait(10), deadline=0.01)
    assert await worker.run(lambda: "next", deadline=10) == "next"
    release.set()
    worker.close()


async def test_work_that_always_hangs_does_not_fill_the_machine_with_threads():
    worker, release = Worker("hanging"), threading.Event()
    while not worker.begins_nothing:
        with pytest.raises(TimeoutError):
            await worker.run(lambda: release.wait(10), deadline=0.001)
    with pytest.raises(TimeoutError):
        await worker.run(lambda: release.wait(10), deadline=10)
    hanging = [thread for thread in threading.enumerate() if thread.name.startswith("hanging")]
    assert len(hanging) == MOST_ABANDONED
    release.set()
    await until(lambda: not any(thread.is_alive() for thread in hanging))
    await until(lambda: not worker._abandoned)
    assert await worker.run(lambda: "next", deadline=10) == "next"
    worker.close()


async def test_work_that_is_late_before_it_has_begun_does_not_begin():
    worker, hanging, release, done = Worker("test"), threading.Event(), threading.Event(), []

    def hang():
        hanging.set()
        release.wait(10)
        done.append("first")

    first = asyncio.create_task(worker.run(hang, deadline=10))
    await until(hanging.is_set)
    with pytest.raises(TimeoutError):
        await worker.run(lambda: done.append("late"), deadline=0.0)
    release.set()
    await first
    await worker.run(lambda: done.append("next"), deadline=10)
    assert done == ["first", "next"]
    worker.close()


async def test_work_that_nobody_waits_for_any_more_fails_in_silence(caplog):
    worker, hanging, release = Worker("test"), threading.Event(), threading.Event()

    def fail():
        hanging.set()
        release.wait(10)
        raise ZeroDivisionError

    given_up = asyncio.create_task(worker.run(fail, deadline=10))
    await until(hanging.is_set)
    given_up.cancel()
    await asyncio.wait({given_up})
    release.set()
    await worker.run(lambda: None, deadline=10)
    await until(lambda: not worker._abandoned)
    del given_up
    gc.collect()
    assert not caplog.records
    worker.close()
