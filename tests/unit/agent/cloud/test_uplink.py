import asyncio
import logging

import pytest
from fakes import FakeHub, FakeSession, open_outbox, until
from rigs import Memory, Rig

from agent.cloud.connection_health import FAILING_BEFORE_REGISTERING
from agent.cloud.sdk import Assignment
from agent.cloud.session import Command, DesiredPatch, QueuedCommand
from agent.cloud.uplink import LONGEST_DELAY, RESULT_LIFETIME
from agent.errors import (
    HubClosedError,
    NoAnswerError,
    RefusedError,
    SdkStuckError,
    ServiceRefusedError,
    SessionLostError,
    UnreachableError,
)


@pytest.fixture
async def outbox(tmp_path):
    store, outbox = await open_outbox(tmp_path)
    yield outbox
    store.close()


async def test_each_change_of_connection_and_backlog_is_announced(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session, UnreachableError("hub.test", "no route")))
    await rig.add(3)
    async with rig.running():
        await until(lambda: outbox.waiting == 0)
        session.lose()
        await until(lambda: rig.uplink.hub is None)
    assert list(dict.fromkeys(rig.changes)) == [("hub.test", 3), ("hub.test", 0), (None, 0)]


async def test_the_first_connection_registers_and_the_next_need_not(outbox):
    rig = Rig(outbox, FakeHub(FakeSession(), FakeSession()))
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
        assert rig.hub.registrations == 1
        rig.hub.connects.clear()
    again = Rig(outbox, FakeHub(FakeSession()), memory=rig.memory)
    async with again.running():
        await until(lambda: again.uplink.connections == 1)
    assert again.hub.registrations == 0


async def test_a_key_refused_twice_asks_the_provisioning_service_again(outbox):
    refused = RefusedError("hub.test", "pi-1")
    session = FakeSession("hub.new")
    hub = FakeHub(refused, refused, session)
    hub.assignments = [Assignment("hub.new", "pi-1")]
    rig = Rig(outbox, hub, memory=Memory(Assignment("hub.old", "pi-1")))
    async with rig.running():
        await until(lambda: rig.uplink.hub == "hub.new")
    assert [assignment.hub for assignment in hub.connects] == ["hub.old", "hub.old", "hub.new"]
    assert hub.registrations == 1


async def test_after_long_failure_the_provisioning_service_is_asked_and_the_hub_in_turn(outbox):
    away = UnreachableError("hub.test", "no route")
    hub = FakeHub(*[away] * 20)
    hub.assignments = [UnreachableError("dps.test", "no route")]
    rig = Rig(outbox, hub, memory=Memory(Assignment("hub.test", "pi-1")))
    async with rig.running():
        await until(lambda: hub.registrations >= 2)
    tried_before = len(hub.connects)
    assert sum(rig.sleeps[:tried_before]) >= FAILING_BEFORE_REGISTERING / 2
    # Between the two registrations the known hub was tried once.
    assert len(hub.connects) >= 2


async def test_delays_grow_with_full_jitter_up_to_five_minutes(outbox):
    rig = Rig(outbox, FakeHub(*[UnreachableError("hub.test", "no route")] * 15))
    async with rig.running():
        await until(lambda: not rig.hub.sessions)
    assert rig.sleeps[0] == 0.0
    assert rig.sleeps[1:10] == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert max(rig.sleeps) == LONGEST_DELAY


async def test_an_attempt_that_took_long_makes_no_delay_short(outbox):
    class SilentHub(FakeHub):
        def connect(self, assignment, left_over):
            rig.clock.move(120)
            return super().connect(assignment, left_over)

    rig = Rig(outbox, SilentHub(*[NoAnswerError("the connection to hub.test", 120)] * 5))
    async with rig.running():
        await until(lambda: not rig.hub.sessions)
    assert rig.sleeps[1:5] == [2, 4, 8, 16]


async def test_a_session_that_lasted_makes_the_next_delay_short(outbox):
    session = FakeSession()
    errors = [UnreachableError("hub.test", "no route")] * 5
    rig = Rig(outbox, FakeHub(*errors, session, FakeSession()))
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
        rig.clock.move(61)
        rig.sleeps.clear()
        session.lose()
        await until(lambda: rig.uplink.connections == 2)
    assert next(seconds for seconds in rig.sleeps if seconds != 60.0) == 2


async def test_only_the_first_failure_is_a_warning(outbox, caplog):
    caplog.set_level(logging.DEBUG)
    errors = [UnreachableError("hub.test", "no route")] * 3
    rig = Rig(outbox, FakeHub(*errors, FakeSession()))
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
    told = [(record.levelname, record.message) for record in caplog.records]
    sentence = "hub.test cannot be reached: no route."
    assert told.count(("WARNING", sentence)) == 1
    assert told.count(("DEBUG", sentence)) == 2
    assert ("INFO", "Connected again to hub.test as pi-1.") in told


async def test_a_machine_that_has_just_booted_waits_a_little(outbox):
    rig = Rig(outbox, FakeHub(FakeSession()), first_delay=20.0)
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
    assert rig.sleeps[0] == 20.0


async def test_a_stuck_sdk_twice_in_a_row_ends_the_process(outbox):
    stuck = SdkStuckError("The SDK could not make a client within 10 s.")
    rig = Rig(outbox, FakeHub(stuck, UnreachableError("hub.test", "x"), stuck, stuck))
    with pytest.raises(SdkStuckError):
        await rig.uplink.run()
    assert rig.hub.sessions == []


async def test_commands_are_answered_and_none_blocks_another(outbox):
    gate = asyncio.Event()

    async def command(name, payload):
        if name == "slow":
            await gate.wait()
        return 200, {"did": name, "with": payload}

    session = FakeSession()
    rig = Rig(outbox, FakeHub(session), command=command)
    async with rig.running():
        session.events.put_nowait(Command("1", "slow", None))
        session.events.put_nowait(Command("2", "quick", 5))
        await until(lambda: session.answers)
        assert session.answers == [("quick", 200, {"did": "quick", "with": 5})]
        gate.set()
        await until(lambda: len(session.answers) == 2)


async def test_a_result_that_could_not_be_sent_follows_over_the_next_connection(outbox):
    first, second = FakeSession(), FakeSession()
    rig = Rig(outbox, FakeHub(first, second))

    async def lost(command, status, payload):
        raise SessionLostError("gone")

    first.answer = lost
    async with rig.running():
        first.events.put_nowait(Command("1", "blink", 5))
        await until(lambda: second.answers)
    assert second.answers == [("blink", 200, {"did": "blink"})]


async def test_a_command_outlives_its_connection(outbox):
    gate = asyncio.Event()

    async def command(name, payload):
        await gate.wait()
        return 200, None

    first, second = FakeSession(), FakeSession()
    rig = Rig(outbox, FakeHub(first, second), command=command)
    async with rig.running():
        first.events.put_nowait(Command("1", "slow", None))
        await until(lambda: rig.background)
        first.lose()
        await until(lambda: rig.uplink.connections == 2)
        gate.set()
        await until(lambda: second.answers)
    assert second.answers == [("slow", 200, None)]


async def test_a_result_that_nobody_waits_for_any_more_is_let_go(outbox):
    first, second = FakeSession(), FakeSession()
    rig = Rig(outbox, FakeHub(first, second))

    async def lost(command, status, payload):
        rig.clock.move(RESULT_LIFETIME + 1)
        raise SessionLostError("gone")

    first.answer = lost
    async with rig.running():
        first.events.put_nowait(Command("1", "blink", 5))
        await until(lambda: rig.uplink.connections == 2)
        second.events.put_nowait(Command("2", "turnon", None))
        await until(lambda: second.answers)
    assert second.answers == [("turnon", 200, {"did": "turnon"})]


async def test_what_was_delivered_in_the_last_moment_is_carried_out(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
        session.lose()
        session.events.put_nowait(QueuedCommand("turnon", b"@"))
        await until(lambda: rig.queued)
    assert rig.queued == [("turnon", b"@")]


async def test_being_stopped_while_a_connection_is_being_lost_is_heeded(outbox, monkeypatch):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    losing, go_on = asyncio.Event(), asyncio.Event()

    async def slow_removal(entries):
        losing.set()
        await go_on.wait()

    monkeypatch.setattr(outbox, "remove", slow_removal)
    async with rig.running() as task:
        await until(lambda: session.reports)
        session.lose()
        await losing.wait()
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()


async def test_connections_closed_one_after_another_name_the_other_device(outbox, caplog):
    sessions = [FakeSession() for _ in range(4)]
    rig = Rig(outbox, FakeHub(*sessions))
    async with rig.running():
        for number, session in enumerate(sessions[:3], start=1):
            await until(lambda number=number: rig.uplink.connections == number)
            session.lost.set_result(HubClosedError("hub.test closed it."))
        await until(lambda: rig.uplink.connections == 4)
        assert "another device signs in as pi-1" in rig.uplink.last_error
    assert caplog.text.count("another device signs in as pi-1") == 1


async def test_attempts_are_counted(outbox):
    hub = FakeHub(UnreachableError("hub.test", "no route"), FakeSession())
    rig = Rig(outbox, hub)
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
    assert rig.uplink.attempts == 2


async def test_queued_commands_and_desired_properties_are_handed_on_in_order(outbox):
    session = FakeSession(twin={"desired": {"brightness": 2, "$version": 3}, "reported": {}})
    rig = Rig(outbox, FakeHub(session))
    async with rig.running():
        session.events.put_nowait(QueuedCommand("turnon", b"@"))
        for version in range(4, 10):
            session.events.put_nowait(DesiredPatch({"$version": version}))
        await until(lambda: len(rig.patches) == 6)
    assert rig.twins == [session.twins[0]]
    assert [patch["$version"] for patch in rig.patches] == list(range(4, 10))
    assert rig.queued == [("turnon", b"@")]


async def test_everything_is_reported_on_connecting(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    rig.uplink.report({"rundiagnostics": {"value": "done while away"}})
    async with rig.running():
        await until(lambda: session.reports)
    assert session.reported == {
        "state": True,
        "backlog": 0,
        "rundiagnostics": {"value": "done while away"},
    }


async def test_a_report_that_was_lost_follows_with_the_latest_value(outbox):
    first, second = FakeSession(), FakeSession()
    rig = Rig(outbox, FakeHub(first, second))
    async with rig.running():
        await until(lambda: first.reports)
        first.report_errors = [SessionLostError("gone")]
        rig.uplink.report({"ledState": "on"})
        await until(lambda: rig.hub.open == 0 or rig.uplink.connections == 2)
        rig.uplink.report({"ledState": "off"})
        await until(lambda: second.reported.get("ledState") == "off")


async def test_a_throttled_report_is_tried_again_in_the_same_session(outbox):
    session = FakeSession()
    session.report_errors = [ServiceRefusedError("429"), ServiceRefusedError("429")]
    rig = Rig(outbox, FakeHub(session))
    async with rig.running():
        await until(lambda: session.reports)
    assert rig.uplink.connections == 1


async def test_a_property_that_the_hub_will_never_take_holds_up_no_other(outbox, caplog):
    class Strict(FakeSession):
        async def report(self, patch):
            if "fat" in patch:
                raise ServiceRefusedError("hub.test refused a report.", status=413)
            await super().report(patch)

    session = Strict()
    rig = Rig(outbox, FakeHub(session))
    async with rig.running():
        await until(lambda: session.reports)
        rig.uplink.report({"fat": "x" * 100_000, "ledState": "on"})
        await until(lambda: session.reported.get("ledState") == "on")
        rig.uplink.report({"ledState": "off"})
        await until(lambda: session.reported.get("ledState") == "off")
    assert rig.uplink.connections == 1
    assert caplog.text.count("It was: fat") == 1


async def test_a_throttled_twin_is_asked_for_again(outbox):
    session = FakeSession()
    session.twins = [ServiceRefusedError("429"), {"desired": {"$version": 1}}]
    rig = Rig(outbox, FakeHub(session))
    async with rig.running():
        await until(lambda: rig.twins)
    assert rig.uplink.connections == 1


async def test_an_emptied_backlog_is_reported(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    await rig.add(5)
    async with rig.running():
        await until(lambda: session.reported.get("backlog") == 0)
    assert session.reports[0]["backlog"] == 5


async def test_the_last_words_need_a_connection_and_nothing_else(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    await rig.uplink.farewell({"state": False})
    async with rig.running():
        await until(lambda: session.reports)
        await rig.uplink.farewell({"state": False})
    assert session.reports[-1] == {"state": False}


async def test_the_last_words_are_not_overtaken_by_a_report_under_way(outbox):
    session, gate = FakeSession(), asyncio.Event()
    report = session.report

    async def slow_report(patch):
        if patch["state"]:
            await gate.wait()
        await report(patch)

    session.report = slow_report
    rig = Rig(outbox, FakeHub(session))
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
        await asyncio.sleep(0)
        last = asyncio.create_task(rig.uplink.farewell({"state": False}))
        for _ in range(10):
            await asyncio.sleep(0)
        gate.set()
        await last
    assert session.reports[-1]["state"] is False
    assert session.reported["state"] is False


async def test_cancelling_ends_the_session(outbox):
    rig = Rig(outbox, FakeHub(FakeSession()))
    async with rig.running():
        await until(lambda: rig.hub.open == 1)
    assert rig.hub.open == 0
    assert rig.uplink.hub is None
