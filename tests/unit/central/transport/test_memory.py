"""Memory is given back after a crowd of clients has left, and only then."""

import asyncio
import gc
from contextlib import ExitStack

from central.transport import memory
from central.transport.admission import Admission


async def test_memory_is_given_back_once_a_crowd_has_left(clock, monkeypatch):
    given = []
    monkeypatch.setattr(memory, "CHECKED_EVERY", 0)
    monkeypatch.setattr(gc, "collect", lambda: given.append("collected"))
    monkeypatch.setattr(memory, "_trim", lambda: given.append("trimmed"))
    clients = Admission(clock, most_silent=4)

    async def pass_time():
        for _ in range(5):
            await asyncio.sleep(0)

    task = asyncio.create_task(memory.give_memory_back(clients))
    with ExitStack() as stack:
        for name in "abcd":
            stack.enter_context(clients.entering(name, lambda: None))
        await pass_time()
    await pass_time()
    assert given == []  # Nobody was in anybody's way.
    with ExitStack() as stack:
        for name in "abcde":
            stack.enter_context(clients.entering(name, lambda: None))
        await pass_time()
        assert given == []
    await pass_time()
    task.cancel()
    assert given == ["collected", "trimmed"]


def test_this_systems_c_library_takes_the_call():
    memory._trim()
