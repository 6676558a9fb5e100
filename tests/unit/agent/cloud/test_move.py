import asyncio

import pytest
from fakes import FakeHub, FakeSession, HandClock, open_outbox, until
from hypothesis import given
from rigs import SCOPE, MemoryAssignment, MemorySettings, Rig, moves_of
from strategies import json_values

from agent.cloud.home import PATIENCE, REFUSALS
from agent.cloud.move import FIELDS, SETTING, check_request
from agent.cloud.session import Command
from agent.device.validation import RefusedError
from agent.errors import ControlError, RegistrationError, UnreachableError
from agent.errors import RefusedError as HubRefusedError
from agent.storage.assignment import Assignment

NEW = "0ne000000BB"
REQUEST = dict.fromkeys(FIELDS, "") | {"idScope": NEW}
REFUSED = RegistrationError("pi-1", said="no enrolment", hint="Add it.")
BUSY = RegistrationError("pi-1", said="status 429", hint="Later.", is_busy=True)
AWAY = UnreachableError("dps.test", "no route")


async def moves(settings=None, **options):
    made = moves_of(settings, **options)
    await made.load()
    return made


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (None, "must be an object"),
        ([REQUEST], "must be an object"),
        ({}, "idScope is missing"),
        (REQUEST | {"idScope": ""}, "letters, digits"),
        (REQUEST | {"idScope": "0ne/../x"}, "letters, digits"),
        (REQUEST | {"idScope": "x" * 129}, "letters, digits"),
        (REQUEST | {"idScope": 5}, "idScope must be a string"),
        (REQUEST | {"dpsName": None}, "dpsName must be a string"),
        (REQUEST | {"password": "x"}, 'no field "password"'),
        ({"data": REQUEST}, 'no field "data"'),
    ],
)
def test_a_bad_request_is_refused_with_its_reason(payload, why):
    with pytest.raises(RefusedError, match=why) as refused:
        check_request(payload)
    assert refused.value.status == 400


@given(json_values)
def test_any_request_names_an_id_scope_or_is_refused(payload):
    try:
        target = check_request(payload)
    except RefusedError:
        return
    assert target == payload["idScope"]


def test_only_the_id_scope_is_required():
    assert check_request({"idScope": NEW}) == NEW


async def test_an_order_is_stored_before_it_is_answered():
    settings = MemorySettings()
    first = await moves(settings)
    first.connected("hub.old")
    assert await first.device_move(REQUEST) == (
        200,
        {"result": True, "data": f"Moving to ID scope {NEW}."},
    )
    again = await moves(settings)
    assert (again.id_scope, again.status, again.is_moving) == (NEW, "moving", True)
    assert again.describe(None).by == "DeviceMove from hub.old"


async def test_the_same_order_again_is_answered_alike_and_another_one_409():
    device = await moves()
    first = await device.device_move(REQUEST)
    assert await device.device_move(REQUEST) == first
    with pytest.raises(RefusedError, match="in progress") as refused:
        await device.device_move(REQUEST | {"idScope": "0ne000000CC"})
    assert refused.value.status == 409


@pytest.mark.parametrize(
    ("options", "request_", "status", "why"),
    [
        ({}, {"idScope": SCOPE}, 400, "already belongs"),
        ({"allowed": False}, REQUEST, 403, "allow_move = false"),
        ({"id_scope": None}, REQUEST, 400, "no provisioning service"),
    ],
)
async def test_a_move_that_cannot_be_is_refused(options, request_, status, why):
    settings = MemorySettings()
    device = await moves(settings, **options)
    with pytest.raises(RefusedError, match=why) as refused:
        await device.device_move(request_)
    assert refused.value.status == status
    assert SETTING not in settings.values
    assert not device.changed.is_set()


async def test_an_order_that_cannot_be_stored_is_refused():
    settings = MemorySettings()
    settings.fails = True
    device = await moves(settings)
    with pytest.raises(RefusedError, match="the disk fails") as refused:
        await device.device_move(REQUEST)
    assert refused.value.status == 500
    assert (await moves(settings)).id_scope == device.id_scope == SCOPE


async def test_a_changed_id_scope_in_the_file_wins(caplog):
    settings = MemorySettings()
    await (await moves(settings)).device_move(REQUEST)
    edited = await moves(settings, id_scope="0ne000000CC")
    assert (edited.id_scope, edited.status) == ("0ne000000CC", "none")
    assert f"Forgot the move to ID scope {NEW}" in caplog.text
    assert (await moves(settings)).id_scope == SCOPE


@given(json_values)
async def test_a_damaged_setting_is_forgotten(value):
    device = await moves(MemorySettings(**{SETTING: value}))
    assert (device.id_scope, device.is_moving) == (SCOPE, False)


async def test_a_person_undoes_a_move_and_no_move_is_an_error():
    settings = MemorySettings()
    device = await moves(settings)
    with pytest.raises(ControlError, match="no move to undo"):
        await device.undo()
    await device.device_move(REQUEST)
    await device.worked(NEW)
    device.changed.clear()
    place = await device.undo()
    assert (place.id_scope, place.by) == (SCOPE, "sensor-agent move undo")
    assert device.changed.is_set()
    assert (await moves(settings)).id_scope == SCOPE


async def test_a_service_that_is_busy_has_not_refused():
    clock = HandClock()
    device = await moves(clock=clock)
    await device.device_move(REQUEST)
    for _ in range(3 * REFUSALS):
        clock.move(1)
        await device.failed(NEW, BUSY)
    assert device.id_scope == NEW
    clock.move(PATIENCE)
    await device.failed(NEW, BUSY)
    assert device.id_scope == SCOPE


async def test_attempts_at_another_place_count_for_nothing():
    device = await moves()
    await device.device_move(REQUEST)
    await device.worked(SCOPE)  # It was connecting there when the order came.
    await device.failed(SCOPE, REFUSED)
    assert (device.id_scope, device.is_moving) == (NEW, True)


# With an uplink.


class MovableRig(Rig):
    """An uplink that obeys DeviceMove, with a stored assignment for each ID scope."""

    def __init__(self, outbox, hub, settings=None):
        super().__init__(outbox, hub)
        self.moves = moves_of(settings, clock=self.clock)
        self.stored = {}
        self.uplink._moves = self.moves
        self.uplink._assignments = self._of
        self.uplink._assignment = self._of(SCOPE)

    def _of(self, id_scope):
        return self.stored.setdefault(id_scope, MemoryAssignment())

    async def execute(self, name, payload):
        return await self.moves.device_move(payload)


@pytest.fixture
async def outbox():
    return await open_outbox()


def order(session):
    session.events.put_nowait(Command("1", "migration*DeviceMove", REQUEST))


async def test_the_device_answers_leaves_in_order_and_registers_with_the_new_id_scope(outbox):
    old, new = FakeSession("hub.old"), FakeSession("hub.new")
    hub = FakeHub(old, new)
    hub.assignments = [Assignment("hub.old", "pi-1"), Assignment("hub.new", "pi-1")]
    rig = MovableRig(outbox, hub)
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
        order(old)
        await until(lambda: rig.uplink.hub == "hub.new" and new.reports)
    assert [status for _, status, _ in old.answers] == [200]
    assert new.answers == []
    assert old.reported["state"] is False
    assert old.reported["moveStatus"] == "moving"
    assert new.reported["state"] is True
    assert new.reported["moveStatus"] == "moved"
    assert hub.asked == [SCOPE, NEW]
    assert rig.stored[SCOPE].assignment == Assignment("hub.old", "pi-1")
    assert rig.stored[NEW].assignment == Assignment("hub.new", "pi-1")
    place = rig.uplink.cloud_status().place
    assert place is not None
    assert (place.id_scope, place.hub, place.status) == (NEW, "hub.new", "moved")


async def test_a_device_that_the_new_place_refuses_returns_and_says_why(outbox, caplog):
    old, probe, again = (FakeSession("hub.old") for _ in range(3))
    hub = FakeHub(old, probe, again)
    hub.assignments = [Assignment("hub.old", "pi-1"), REFUSED]
    rig = MovableRig(outbox, hub)
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
        order(old)
        await until(lambda: again.reports)
    assert hub.asked == [SCOPE] + [NEW] * (REFUSALS + 1)
    assert probe.reports == []
    assert "no enrolment" in again.reported["moveStatus"]
    assert f"Undid the move to ID scope {NEW}, so this device belongs to {SCOPE}" in caplog.text


async def test_readings_that_wait_keep_their_ids_and_their_proof(outbox):
    old, new = FakeSession("hub.old"), FakeSession("hub.new")
    rig = MovableRig(outbox, FakeHub(old, new))
    async with rig.running():
        await rig.add(3)
        await until(lambda: len(old.sent) == 3 and not outbox.waiting)
        old.acknowledging.clear()
        await rig.add(3)
        await until(lambda: len(old.sent) == 6)
        order(old)
        await until(lambda: len(new.sent) == 3)
        await rig.add(1)
        await until(lambda: len(new.sent) == 4)
    ids = [message.id for message in old.sent[:3] + new.sent]
    run = ids[0].partition(":")[0]
    assert ids == [f"{run}:{number}" for number in range(1, 8)]
    assert [m.id for m in old.sent[3:]] == [m.id for m in new.sent[:3]]


async def test_a_move_undone_by_hand_ends_the_session_at_once(outbox):
    old, new, again = FakeSession("hub.old"), FakeSession("hub.new"), FakeSession("hub.old")
    hub = FakeHub(old, new, again)
    rig = MovableRig(outbox, hub)
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
        order(old)
        await until(lambda: new.reports)
        await rig.moves.undo()
        await until(lambda: again.reports)
    assert "undone by sensor-agent move undo" in again.reported["moveStatus"]


async def test_an_order_wakes_a_device_that_waits_before_its_next_attempt(outbox):
    hub = FakeHub(AWAY, FakeSession("hub.new"))
    rig = MovableRig(outbox, hub)

    async def for_ever(seconds):
        rig.sleeps.append(seconds)
        if seconds:
            await asyncio.Event().wait()

    rig.uplink._sleep = for_ever
    async with rig.running():
        await until(lambda: rig.sleeps[-1:] == [2.0])
        await rig.moves.device_move(REQUEST)
        await until(lambda: rig.uplink.hub == "hub.new")
    assert hub.asked == [SCOPE, NEW]


async def test_a_restart_in_the_middle_of_a_move_goes_on(outbox):
    settings = MemorySettings()
    await (await moves(settings)).device_move(REQUEST)
    hub = FakeHub(HubRefusedError("hub.new", "pi-1"), FakeSession("hub.new"))
    rig = MovableRig(outbox, hub, settings)
    await rig.moves.load()
    async with rig.running():
        await until(lambda: rig.moves.status == "moved")
    assert set(hub.asked) == {NEW}


class KilledError(Exception):
    """The process ended here."""


class MortalSettings(MemorySettings):
    """Settings whose process is killed at one of the writes, before or after it."""

    def __init__(self, write, *, after):
        super().__init__()
        self.left = write
        self.after = after

    async def put(self, name, value):
        self.left -= 1
        if self.left == 0 and not self.after:
            raise KilledError
        await super().put(name, value)
        if self.left == 0:
            raise KilledError


async def live(settings, accepts):
    """Let a device try until it is at home, and return its moves."""
    device = await moves(settings)
    for _ in range(4 * REFUSALS):
        id_scope = device.id_scope
        if id_scope in accepts:
            await device.worked(id_scope)
        else:
            await device.failed(id_scope, REFUSED)
    return device


@pytest.mark.parametrize("accepts", [{SCOPE, NEW}, {SCOPE}, {NEW}])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("write", range(1, 7))
async def test_a_kill_at_any_write_strands_no_device(write, after, accepts):
    settings = MortalSettings(write, after=after)
    ordered = False
    try:
        device = await moves(settings)
        await device.device_move(REQUEST)
        ordered = True
        await live(settings, accepts)
    except KilledError:
        pass
    settings.left = 0
    was_stored = SETTING in settings.values
    device = await live(settings, accepts)
    assert was_stored or not ordered
    assert not device.is_moving
    assert device.id_scope == (NEW if was_stored and NEW in accepts else SCOPE)
