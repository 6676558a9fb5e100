import asyncio
import logging

import pytest
from fakes import FakeHub, FakeSession, open_outbox, until
from rigs import MemoryAssignment, Rig

from agent.cloud.connection_health import FAILING_BEFORE_REGISTERING
from agent.cloud.session import Command, DesiredPatch, QueuedCommand, Unreadable
from agent.cloud.uplink import LONGEST_DELAY, MAX_CHANGES, MAX_COMMANDS, RESULT_LIFETIME
from agent.errors import (
    HubClosedError,
    NoAnswerError,
    RefusedError,
    SdkStuckError,
    ServiceRefusedError,
    SessionLostError,
    UnreachableError,
)
from agent.logs.events import LogEvent
from agent.storage.assignment import Assignment


def refused_report(status):
    return ServiceRefusedError("hub.test", "a report", said=f"status {status}", status=status)


THROTTLED = refused_report(429)


@pytest.fixture
async def outbox():
    return await open_outbox()


async def test_each_change_of_connection_and_backlog_changes_the_status(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session, UnreachableError("hub.test", "no route")))

    async def change_to(hub, waiting):
        await rig.status_changed.wait()
        rig.status_changed.clear()
        await until(lambda: (rig.uplink.hub, outbox.waiting) == (hub, waiting))

    await rig.add(3)
    await change_to(None, 3)
    session.acknowledging.clear()
    async with rig.running():
        await change_to("hub.test", 3)
        await until(lambda: len(session.sent) == 3)
        rig.status_changed.clear()
        session.acknowledging.set()
        await change_to("hub.test", 0)
        rig.status_changed.clear()
        session.lose()
        await change_to(None, 0)


async def test_a_restart_uses_the_stored_assignment(outbox):
    rig = Rig(outbox, FakeHub(FakeSession(), FakeSession()))
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
        assert rig.hub.registrations == 1
        rig.hub.connects.clear()
    again = Rig(outbox, FakeHub(FakeSession()), assignment=rig.assignment)
    async with again.running():
        await until(lambda: again.uplink.connections == 1)
    assert again.hub.registrations == 0


async def test_two_refused_connections_lead_to_a_registration(outbox):
    refused = RefusedError("hub.test", "pi-1")
    session = FakeSession("hub.new")
    hub = FakeHub(refused, refused, session)
    hub.assignments = [Assignment("hub.new", "pi-1")]
    rig = Rig(outbox, hub, assignment=MemoryAssignment(Assignment("hub.old", "pi-1")))
    async with rig.running():
        await until(lambda: rig.uplink.hub == "hub.new")
    assert [assignment.hub for assignment in hub.connects] == ["hub.old", "hub.old", "hub.new"]
    assert hub.registrations == 1
    assert rig.assignment.assignment == Assignment("hub.new", "pi-1")


async def test_an_assignment_is_stored_only_after_it_has_worked(outbox):
    away = UnreachableError("hub.test", "no route")
    rig = Rig(outbox, FakeHub(away, away))
    async with rig.running():
        await until(lambda: len(rig.hub.connects) == 3)
    assert rig.hub.registrations == 1
    assert rig.assignment.assignment is None
    rig.hub.sessions.append(FakeSession())
    async with rig.running():
        await until(lambda: rig.assignment.assignment == Assignment("hub.test", "pi-1"))
    assert rig.hub.registrations == 1


async def test_an_assignment_that_the_hub_refuses_is_forgotten(outbox):
    refused = RefusedError("hub.test", "pi-1")
    hub = FakeHub(refused, refused)
    hub.assignments = [UnreachableError("dps.test", "no route")]
    rig = Rig(outbox, hub, assignment=MemoryAssignment(Assignment("hub.test", "pi-1")))
    async with rig.running():
        # The clock may have been wrong, so this process tries it again.
        await until(lambda: len(hub.connects) == 3)
    assert hub.registrations == 1
    assert rig.assignment.assignment is None


async def test_an_outage_forgets_no_assignment(outbox):
    away = UnreachableError("hub.test", "no route")
    hub = FakeHub(
        *[away, NoAnswerError("the connection to hub.test", 120), RefusedError("h", "d")] * 7
    )
    hub.assignments = [UnreachableError("dps.test", "no route")]
    rig = Rig(outbox, hub, assignment=MemoryAssignment(Assignment("hub.test", "pi-1")))
    async with rig.running():
        await until(lambda: not hub.sessions)
    assert hub.registrations > 1
    assert rig.assignment.assignment == Assignment("hub.test", "pi-1")


async def test_after_long_failure_registrations_and_connections_alternate(outbox):
    away = UnreachableError("hub.test", "no route")
    hub = FakeHub(*[away] * 20)
    hub.assignments = [UnreachableError("dps.test", "no route")]
    rig = Rig(outbox, hub, assignment=MemoryAssignment(Assignment("hub.test", "pi-1")))
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


async def test_a_long_attempt_does_not_shorten_the_delay(outbox):
    class SilentHub(FakeHub):
        def connect(self, assignment, events):
            rig.clock.move(120)
            return super().connect(assignment, events)

    rig = Rig(outbox, SilentHub(*[NoAnswerError("the connection to hub.test", 120)] * 5))
    async with rig.running():
        await until(lambda: not rig.hub.sessions)
    assert rig.sleeps[1:5] == [2, 4, 8, 16]


async def test_a_connection_that_lasted_shortens_the_delay(outbox):
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


async def test_the_first_attempt_waits_for_first_delay(outbox):
    rig = Rig(outbox, FakeHub(FakeSession()), first_delay=20.0)
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
    assert rig.sleeps[0] == 20.0


async def test_a_stuck_sdk_ends_the_process_the_second_time_in_a_row(outbox):
    stuck = SdkStuckError("The SDK did not create a client within 10 s.")
    rig = Rig(outbox, FakeHub(stuck, UnreachableError("hub.test", "x"), stuck, stuck))
    with pytest.raises(SdkStuckError):
        await rig.uplink.run()
    assert rig.hub.sessions == []


async def test_a_slow_command_does_not_delay_another(outbox, monkeypatch):
    gate = asyncio.Event()

    async def command(name, payload):
        if name == "slow":
            await gate.wait()
        return 200, {"did": name, "with": payload}

    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    monkeypatch.setattr(rig, "execute", command)
    async with rig.running():
        session.events.put_nowait(Command("1", "slow", None))
        session.events.put_nowait(Command("2", "quick", 5))
        await until(lambda: session.answers)
        assert session.answers == [("quick", 200, {"did": "quick", "with": 5})]
        gate.set()
        await until(lambda: len(session.answers) == 2)


async def test_a_result_that_could_not_be_sent_is_sent_over_the_next_connection(
    outbox, monkeypatch
):
    first, second = FakeSession(), FakeSession()
    rig = Rig(outbox, FakeHub(first, second))

    async def lost(command, status, payload):
        raise SessionLostError("gone")

    monkeypatch.setattr(first, "answer", lost)
    async with rig.running():
        first.events.put_nowait(Command("1", "blink", 5))
        await until(lambda: second.answers)
    assert second.answers == [("blink", 200, {"did": "blink"})]


async def test_a_command_outlives_its_connection(outbox, monkeypatch):
    gate = asyncio.Event()

    async def command(name, payload):
        await gate.wait()
        return 200, None

    first, second = FakeSession(), FakeSession()
    rig = Rig(outbox, FakeHub(first, second))
    monkeypatch.setattr(rig, "execute", command)
    async with rig.running():
        first.events.put_nowait(Command("1", "slow", None))
        await until(lambda: rig.background)
        first.lose()
        await until(lambda: rig.uplink.connections == 2)
        gate.set()
        await until(lambda: second.answers)
    assert second.answers == [("slow", 200, None)]


async def test_an_expired_result_is_discarded(outbox, monkeypatch):
    first, second = FakeSession(), FakeSession()
    rig = Rig(outbox, FakeHub(first, second))

    async def lost(command, status, payload):
        rig.clock.move(RESULT_LIFETIME + 1)
        raise SessionLostError("gone")

    monkeypatch.setattr(first, "answer", lost)
    async with rig.running():
        first.events.put_nowait(Command("1", "blink", 5))
        await until(lambda: rig.uplink.connections == 2)
        second.events.put_nowait(Command("2", "turnon", None))
        await until(lambda: second.answers)
    assert second.answers == [("turnon", 200, {"did": "turnon"})]


async def test_a_command_that_arrives_with_the_end_of_the_connection_is_executed(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
        session.lose()
        session.events.put_nowait(QueuedCommand("turnon", b"@"))
        await until(lambda: rig.queued)
    assert rig.queued == [("turnon", b"@")]


async def test_a_cancellation_during_the_loss_of_a_connection_ends_the_uplink(outbox, monkeypatch):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    removing, losing, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow_end(_entries, **_reported):
        removing.set()
        try:
            await asyncio.Event().wait()
        finally:
            losing.set()
            await go_on.wait()

    monkeypatch.setattr(outbox, "remove", slow_end)
    await rig.add(1)
    async with rig.running() as task:
        await removing.wait()
        session.lose()
        await losing.wait()
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()


async def test_connections_closed_one_after_another_suggest_another_device(outbox, caplog):
    sessions = [FakeSession() for _ in range(4)]
    rig = Rig(outbox, FakeHub(*sessions))
    async with rig.running():
        for number, session in enumerate(sessions[:3], start=1):
            await until(lambda number=number: rig.uplink.connections == number)
            session.lost.set_result(HubClosedError("hub.test", "pi-1"))
        await until(lambda: rig.uplink.connections == 4)
        assert "Most likely another device signs in as pi-1" in str(rig.uplink.cloud_status().error)
    assert caplog.text.count("Most likely another device signs in as pi-1") == 1


async def test_attempts_are_counted(outbox):
    hub = FakeHub(UnreachableError("hub.test", "no route"), FakeSession())
    rig = Rig(outbox, hub)
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
    assert rig.uplink.attempts == 2


async def test_queued_commands_are_executed_and_patches_applied_in_order(outbox):
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


async def test_what_the_hub_sends_and_nobody_can_read_is_one_warning(outbox, caplog):
    first, second = FakeSession(), FakeSession()
    rig = Rig(outbox, FakeHub(first, second))
    async with rig.running():
        for number, session in enumerate((first, second), start=1):
            await until(lambda number=number: rig.uplink.connections == number)
            for _ in range(3):
                session.events.put_nowait(Unreadable("it is not JSON"))
            session.events.put_nowait(Command(str(number), "turnon", None))
            await until(lambda session=session: session.answers)
            if session is first:
                session.lose()
    warnings = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert warnings.count("Ignored something that the hub sent: it is not JSON.") == 1


async def test_all_properties_are_reported_after_connecting(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    rig.uplink.report({"rundiagnostics": {"value": "done while away"}})
    async with rig.running():
        await until(lambda: session.reports)
    assert session.reported == {
        "state": True,
        "moveStatus": "none",
        "backlog": 0,
        "rundiagnostics": {"value": "done while away"},
    }


async def test_a_lost_report_is_repeated_with_the_latest_value(outbox):
    first, second = FakeSession(), FakeSession()
    rig = Rig(outbox, FakeHub(first, second))
    async with rig.running():
        await until(lambda: first.reports)
        first.report_errors = [SessionLostError("gone")]
        rig.uplink.report({"ledState": "on"})
        await until(lambda: rig.hub.open == 0 or rig.uplink.connections == 2)
        rig.uplink.report({"ledState": "off"})
        await until(lambda: second.reported.get("ledState") == "off")


async def test_a_throttled_report_is_repeated_over_the_same_connection(outbox):
    session = FakeSession()
    session.report_errors = [THROTTLED, THROTTLED]
    rig = Rig(outbox, FakeHub(session))
    async with rig.running():
        await until(lambda: session.reports)
    assert rig.uplink.connections == 1


async def test_a_property_that_the_hub_refuses_does_not_block_others(outbox, caplog):
    class Strict(FakeSession):
        async def report(self, patch):
            if "fat" in patch:
                raise refused_report(413)
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
    assert caplog.text.count("Cannot report fat") == 1


async def test_each_reason_why_a_property_is_refused_is_logged_once(outbox, monkeypatch, caplog):
    class Strict(FakeSession):
        def __init__(self, refusal):
            super().__init__()
            self.refusal = refusal

        async def report(self, patch):
            if "fat" in patch and self.refusal is not None:
                raise self.refusal
            await super().report(patch)

    full = refused_report(413)
    bad = refused_report(400)
    sessions = [Strict(refusal) for refusal in (full, full, bad, None, full)]
    rig = Rig(outbox, FakeHub(*sessions))
    monkeypatch.setattr(rig, "snapshot", lambda: {"fat": "x", "state": True})
    async with rig.running():
        for session in sessions:
            await until(lambda session=session: session.reported.get("state"))
            session.lose()
    logged = [r.message for r in caplog.records if r.message.startswith("Cannot report fat")]
    assert [message.partition("status ")[2][:3] for message in logged] == ["413", "400", "413"]


async def test_commands_beyond_the_limit_are_refused_at_once(outbox, monkeypatch, caplog):
    gate = asyncio.Event()

    async def command(name, payload):
        await gate.wait()
        return 200, None

    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    monkeypatch.setattr(rig, "execute", command)
    async with rig.running():
        for number in range(10_000):
            session.events.put_nowait(Command(str(number), "turnon", None))
        session.events.put_nowait(QueuedCommand("turnon", b"@"))
        await until(lambda: len(session.answers) >= MAX_COMMANDS)
        assert {status for _, status, _ in session.answers} == {429}
        assert len(rig.background) == MAX_COMMANDS
        gate.set()
        await until(lambda: sum(status == 200 for _, status, _ in session.answers) == MAX_COMMANDS)
        assert len(session.answers) <= 3 * MAX_COMMANDS
        session.events.put_nowait(Command("last", "turnon", None))
        await until(lambda: sum(status == 200 for _, status, _ in session.answers) > MAX_COMMANDS)
    assert rig.queued == []
    assert caplog.text.count('Refused command "turnon": 100 commands are in progress.') == 1


async def test_too_many_changes_of_properties_end_the_connection(outbox, monkeypatch):
    async def stuck(patch):
        await asyncio.Event().wait()

    first, second = FakeSession(), FakeSession()
    rig = Rig(outbox, FakeHub(first, second))
    monkeypatch.setattr(rig, "apply_patch", stuck)
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
        for version in range(MAX_CHANGES + 2):
            first.events.put_nowait(DesiredPatch({"$version": version}))
        await until(lambda: len(rig.twins) == 2)
    assert "1000 changes of desired properties are waiting" in str(rig.uplink.cloud_status().error)


async def test_a_daemon_that_stops_executes_no_more_commands(outbox, monkeypatch):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))

    async def remove(_entries):
        session.events.put_nowait(QueuedCommand("turnon", b"@"))

    monkeypatch.setattr(outbox, "remove", remove)  # Called when the connection is closed.
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
    assert session.events.empty()
    assert rig.queued == []


async def test_a_throttled_twin_request_is_repeated(outbox):
    session = FakeSession()
    session.twins = [THROTTLED, {"desired": {"$version": 1}}]
    rig = Rig(outbox, FakeHub(session))
    async with rig.running():
        await until(lambda: rig.twins)
    assert rig.uplink.connections == 1


@pytest.mark.parametrize(
    ("status", "event"),
    [
        (429, LogEvent.HUB_THROTTLED),
        (503, LogEvent.HUB_FAILING),
        (400, LogEvent.REQUEST_REFUSED),
    ],
)
async def test_a_refused_request_is_explained_by_its_status(outbox, caplog, status, event):
    session = FakeSession()
    session.twins = [refused_report(status), {"desired": {"$version": 1}}]
    rig = Rig(outbox, FakeHub(session))
    async with rig.running():
        await until(lambda: rig.twins)
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.MESSAGE_ID for record in warned] == [event]


async def test_the_service_is_asked_with_what_is_known_of_its_id_scope(outbox):
    hub = FakeHub(*[UnreachableError("hub.test", "no route")] * 40)
    async with Rig(outbox, hub).running():
        await until(lambda: hub.registrations >= 2)
    assert hub.known[:2] == [False, True]


async def test_an_emptied_backlog_is_reported(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    await rig.add(5)
    async with rig.running():
        await until(lambda: session.reported.get("backlog") == 0)
    assert session.reports[0]["backlog"] == 5


async def test_the_farewell_is_reported_if_there_is_a_connection(outbox):
    session = FakeSession()
    rig = Rig(outbox, FakeHub(session))
    await rig.uplink.farewell({"state": False})
    async with rig.running():
        await until(lambda: session.reports)
        await rig.uplink.farewell({"state": False})
    assert session.reports[-1] == {"state": False}


async def test_an_earlier_report_never_arrives_after_the_farewell(outbox, monkeypatch):
    session, gate = FakeSession(), asyncio.Event()
    report = session.report

    async def slow_report(patch):
        if patch["state"]:
            await gate.wait()
        await report(patch)

    monkeypatch.setattr(session, "report", slow_report)
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


async def test_the_status_has_the_time_until_the_next_attempt(outbox):
    rig = Rig(outbox, FakeHub(*[UnreachableError("hub.test", "no route")] * 3, FakeSession()))
    seen = []

    async def look(seconds):
        seen.append((seconds, rig.uplink.cloud_status().next_attempt))
        await rig.sleep(seconds)

    rig.uplink._sleep = look
    async with rig.running():
        await until(lambda: rig.uplink.connections == 1)
    assert seen[:4] == [(0.0, 0.0), (2.0, 2.0), (4.0, 4.0), (8.0, 8.0)]
    assert rig.uplink.cloud_status().next_attempt is None
