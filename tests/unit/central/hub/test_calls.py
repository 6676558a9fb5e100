"""Calls that wait for a device's answer."""

import asyncio
import re

import pytest

from central.errors import UnknownDevice
from central.hub.calls import LARGEST_ID, Calls
from central.protocol.sas import new_key
from central.records import Command
from central.storage.registry import Registry


@pytest.fixture
def registry(store, clock):
    registry = Registry(store, group_key=new_key(), clock=clock)
    registry.add_device("pi")
    return registry


@pytest.fixture
def calls(registry, clock):
    return Calls(registry, clock)


@pytest.fixture
async def command(registry):
    command = Command("1", "pi", "blink", 5, asked=1000.0)
    await registry.record_command(command)
    return command


async def called(calls, command):
    """Call the command; return the task, and the request id that was sent."""
    sent = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(calls.call(command, sent.set_result, 30))
    return task, await sent


async def test_each_call_has_a_request_id_of_its_own(calls, command):
    first, first_id = await called(calls, command)
    second, second_id = await called(calls, command)
    assert first_id != second_id
    assert await calls.answered("pi", second_id, 202, None)
    assert await calls.answered("pi", first_id, 200, None)
    assert [(await first).status, (await second).status] == [200, 202]


async def test_request_ids_are_short_hexadecimal_numbers_without_repetition(calls, command):
    """As IoT Hub's: clients keep them in 16 bits. An id that waits is not given again."""
    waiting = [await called(calls, command) for _ in range(20)]
    calls._last_id = LARGEST_ID - 10
    waiting += [await called(calls, command) for _ in range(20)]
    calls._last_id = int(waiting[0][1], 16) - 1
    waiting.append(await called(calls, command))
    ids = [request_id for _, request_id in waiting]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[1-9a-f][0-9a-f]{0,3}", request_id) for request_id in ids)
    for task, request_id in waiting:
        assert await calls.answered("pi", request_id, 200, None)
        await task


async def test_a_request_id_comes_again_only_after_all_others(calls):
    ids = [calls._next_id() for _ in range(2 * LARGEST_ID)]
    assert ids[:LARGEST_ID] == ids[LARGEST_ID:]
    assert {int(request_id, 16) for request_id in ids} == set(range(1, LARGEST_ID + 1))


async def test_only_the_first_answer_of_the_called_device_counts(calls, command):
    task, request_id = await called(calls, command)
    assert not await calls.answered("another", request_id, 500, None)
    assert not await calls.answered("pi", "another", 500, None)
    assert await calls.answered("pi", request_id, 200, None)
    assert not await calls.answered("pi", request_id, 500, None)
    assert (await task).status == 200
    assert not await calls.answered("pi", request_id, 500, None)


async def test_a_device_that_is_deleted_meanwhile_is_unknown(calls, command, registry):
    task, request_id = await called(calls, command)
    registry.delete_device("pi")
    assert await calls.answered("pi", request_id, 200, None)
    with pytest.raises(UnknownDevice):
        await task


async def test_a_call_that_cannot_be_sent_waits_for_nothing(calls, command):
    def send(_):
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await calls.call(command, send, 30)
    assert not calls._waiting
