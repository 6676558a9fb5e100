import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operated import OperatedDaemon
from strategies import json_values

from agent.device.commands import MAX_DIAGNOSTICS, Commands, shorten
from hw import LedError


class Rig(OperatedDaemon):
    def __init__(self):
        super().__init__()
        self.commands = Commands(self)


@pytest.fixture
def rig():
    return Rig()


async def test_blink_answers_in_the_tutorials_words(rig):
    assert await rig.commands.execute("blink", 3) == (
        200,
        {"description": "Blinking LED every 3 seconds"},
    )
    assert rig.done == [("blink", 3)]


@pytest.mark.parametrize(("name", "what"), [("turnon", "on"), ("turnoff", "off")])
@pytest.mark.parametrize("payload", [None, {}, "whatever", [1, 2]])
async def test_turning_on_and_off_ignores_the_payload(rig, name, what, payload):
    assert await rig.commands.execute(name, payload) == (200, None)
    assert rig.done == [(what,)]


@pytest.mark.parametrize(
    "payload",
    [None, True, "3", 0, -1, 3601, 2.5, [3], {"interval": 3}, float("nan"), float("inf"), 10**400],
)
async def test_blink_refuses_a_bad_payload_with_a_reason(rig, payload):
    status, answer = await rig.commands.execute("blink", payload)
    assert status == 400
    assert "must be a whole number from 1 to 3600" in answer["error"]
    assert rig.done == []


async def test_an_unknown_command_is_answered_404(rig):
    status, answer = await rig.commands.execute("selfdestruct", None)
    assert status == 404
    assert "blink, turnon, turnoff, rundiagnostics" in answer["error"]


async def test_a_command_whose_led_fails_is_answered_500(rig, caplog):
    rig.broken = LedError("The line is busy.")
    assert await rig.commands.execute("turnon", None) == (
        500,
        {"error": "turnon failed: The line is busy."},
    )
    assert caplog.messages == ["Command turnon failed: The line is busy."]
    assert caplog.records[0].exc_info is False


async def test_rundiagnostics_answers_at_once_and_reports_later(rig):
    assert await rig.commands.execute("rundiagnostics", None) == (202, None)
    assert rig.reported == {}
    status, answer = await rig.commands.execute("rundiagnostics", None)
    assert status == 409
    assert "already running" in answer["error"]
    await rig.background.pop()
    assert rig.reported == {"rundiagnostics": {"value": "all is well"}}
    assert await rig.commands.execute("rundiagnostics", None) == (202, None)
    rig.background.pop().close()


async def test_a_failure_of_the_diagnostics_is_reported(rig):
    await rig.commands.execute("rundiagnostics", None)
    rig.broken = RuntimeError("no disk")
    await rig.background.pop()
    assert rig.reported["rundiagnostics"]["value"] == "Diagnostics failed: no disk"


async def test_diagnostics_fit_in_a_property(rig):
    rig.diagnosis = "å" * 5000
    await rig.commands.execute("rundiagnostics", None)
    await rig.background.pop()
    assert len(rig.reported["rundiagnostics"]["value"].encode()) <= MAX_DIAGNOSTICS


@pytest.mark.parametrize("body", [b"", b"@", b" @ "])
async def test_a_queued_command_without_payload_is_executed(rig, body):
    await rig.commands.execute_queued("turnon", body)
    assert rig.done == [("on",)]


async def test_a_queued_command_with_payload_is_executed(rig):
    await rig.commands.execute_queued("blink", b"5")
    assert rig.done == [("blink", 5)]


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 200_000, b"nonsense"])
async def test_a_queued_command_that_is_not_json_is_refused(rig, body, caplog):
    await rig.commands.execute_queued("blink", body)
    assert rig.done == []
    assert "is not JSON" in caplog.text


@given(st.sampled_from(["blink", "turnon", "turnoff", ""]) | st.text(), json_values)
def test_any_command_is_answered(name, payload):
    async def scenario():
        rig = Rig()
        status, answer = await rig.commands.execute(name, payload)
        assert status in {200, 202, 400, 404}
        assert status < 400 or answer["error"].endswith(".")
        json.dumps(answer, allow_nan=False)
        for work in rig.background:
            work.close()

    asyncio.run(scenario())


@given(st.text(), st.integers(min_value=3, max_value=60))
def test_shortening_keeps_whole_characters(text, limit):
    short = shorten(text, limit)
    assert len(short.encode()) <= limit
    assert text.encode("utf-8", "replace").decode().startswith(short.removesuffix("…"))
