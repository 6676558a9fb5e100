"""Which devices are connected."""

import asyncio

import pytest

from central.errors import NotConnected
from central.events import Events
from central.hub.presence import BLOCKED, DELETED, TAKEN_OVER, Presence
from central.records import Device, Event


class FakeSession:
    """A session whose connection ends as soon as it is aborted."""

    takes_commands = True

    def __init__(self, presence, device_id="pi", since=1.0):
        self.presence = presence
        self.device_id = device_id
        self.since = since
        self.ended = asyncio.Event()
        self.reasons = []

    def abort(self, reason):
        self.reasons.append(reason)
        self.presence.leave(self)
        self.ended.set()


@pytest.fixture
def events():
    return Events()


@pytest.fixture
def presence(events, clock):
    return Presence(events, clock)


async def test_a_new_session_ends_the_older_one(presence):
    old, new = FakeSession(presence), FakeSession(presence)
    await presence.enter(old)
    await presence.enter(new)
    assert old.reasons == [TAKEN_OVER]
    presence.leave(old)  # Late: the device is connected over another session by now.
    assert presence.session("pi") is new


@pytest.mark.parametrize(
    ("device", "reasons"),
    [
        (None, [DELETED]),
        (Device("pi", "pi", 0.0, "1", enabled=False), [BLOCKED]),
        (Device("pi", "pi", 0.0, "1"), []),
    ],
)
async def test_a_device_that_is_deleted_or_blocked_is_disconnected(
    presence, events, device, reasons
):
    session, other = FakeSession(presence), FakeSession(presence, "other")
    await presence.enter(session)
    await presence.enter(other)
    events.publish(Event("twin", "pi", None))
    events.publish(Event("device", "pi", device))
    assert session.reasons == reasons
    assert other.reasons == []


def test_when_a_device_was_last_seen_is_forgotten_with_the_device(presence, events, clock):
    assert presence.last_seen("pi") is None
    clock.now = 7.0
    presence.saw("pi")
    assert presence.last_seen("pi") == 7.0
    events.publish(Event("device", "pi", None))
    assert presence.last_seen("pi") is None


async def test_waiting_ends_when_the_device_takes_commands(presence):
    session = FakeSession(presence)
    session.takes_commands = False
    waiting = asyncio.create_task(presence.wait_until_ready("pi", 30))
    await asyncio.sleep(0)
    await presence.enter(session)
    await presence.notify_ready()
    await asyncio.sleep(0)
    assert not waiting.done()
    session.takes_commands = True
    await presence.notify_ready()
    assert await waiting is session
    assert await presence.wait_until_ready("pi", 0) is session


async def test_a_device_that_takes_no_commands_is_not_waited_for_longer_than_asked(presence):
    with pytest.raises(NotConnected):
        await presence.wait_until_ready("pi", 0)
    session = FakeSession(presence)
    session.takes_commands = False
    await presence.enter(session)
    with pytest.raises(NotConnected):
        await presence.wait_until_ready("pi", 0)
