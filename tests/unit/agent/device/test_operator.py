import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.device.operator import MAX_DIAGNOSTICS, OWN, Actions, Device, quote, shorten
from hw.errors import LedError


class Board:
    """What the device did, and what it reported."""

    def __init__(self, *, property_format="plug-and-play", **values):
        self.done = []
        self.kept = {}
        self.reported = {}
        self.background = []
        self.broken = None
        self.diagnosis = "all is well"
        self.device = Device(
            actions=Actions(
                turn_on=self.note("on"),
                turn_off=self.note("off"),
                blink=self.note("blink"),
                set_brightness=self.note("brightness"),
                set_interval=self.note("interval"),
                diagnose=self.diagnose,
                remember=self.remember,
                report=self.reported.update,
                in_background=lambda work, name: self.background.append(work),
            ),
            defaults={"name": "", "brightness": 1, "telemetryInterval": 60},
            stored=values,
            property_format=property_format,
        )

    def note(self, what):
        async def do(*arguments):
            if self.broken:
                raise self.broken
            self.done.append((what, *arguments))

        return do

    async def diagnose(self):
        if self.broken:
            raise self.broken
        return self.diagnosis

    async def remember(self, name, value):
        self.kept[name] = value


@pytest.fixture
def board():
    return Board()


async def test_blink_answers_in_the_tutorials_words(board):
    assert await board.device.command("blink", 3) == (
        200,
        {"description": "Blinking LED every 3 seconds"},
    )
    assert board.done == [("blink", 3)]


@pytest.mark.parametrize(("name", "what"), [("turnon", "on"), ("turnoff", "off")])
@pytest.mark.parametrize("payload", [None, {}, "whatever", [1, 2]])
async def test_turning_on_and_off_ignores_the_payload(board, name, what, payload):
    assert await board.device.command(name, payload) == (200, None)
    assert board.done == [(what,)]


@pytest.mark.parametrize(
    "payload",
    [None, True, "3", 0, -1, 3601, 2.5, [3], {"interval": 3}, float("nan"), float("inf"), 10**400],
)
async def test_a_blink_of_nonsense_is_refused_with_a_reason(board, payload):
    status, answer = await board.device.command("blink", payload)
    assert status == 400
    assert "must be a whole number from 1 to 3600" in answer["error"]
    assert board.done == []


async def test_an_unknown_command_is_answered_404(board):
    status, answer = await board.device.command("selfdestruct", None)
    assert status == 404
    assert "blink, turnon, turnoff, rundiagnostics" in answer["error"]


async def test_an_led_that_fails_is_answered_500(board):
    board.broken = LedError("The line is busy.")
    assert await board.device.command("turnon", None) == (
        500,
        {"error": "turnon failed: The line is busy."},
    )


async def test_diagnostics_answer_at_once_and_report_later(board):
    assert await board.device.command("rundiagnostics", None) == (202, None)
    assert board.reported == {}
    status, answer = await board.device.command("rundiagnostics", None)
    assert status == 409
    assert "running already" in answer["error"]
    await board.background.pop()
    assert board.reported == {"rundiagnostics": {"value": "all is well"}}
    assert await board.device.command("rundiagnostics", None) == (202, None)
    board.background.pop().close()


async def test_diagnostics_that_fail_say_so(board):
    await board.device.command("rundiagnostics", None)
    board.broken = RuntimeError("no disk")
    await board.background.pop()
    assert board.reported["rundiagnostics"]["value"] == "The diagnostics failed: no disk"


async def test_diagnostics_fit_in_a_property(board):
    board.diagnosis = "å" * 5000
    await board.device.command("rundiagnostics", None)
    await board.background.pop()
    assert len(board.reported["rundiagnostics"]["value"].encode()) <= MAX_DIAGNOSTICS


@pytest.mark.parametrize("body", [b"", b"@", b" @ "])
async def test_a_queued_command_without_payload(board, body):
    await board.device.queued_command("turnon", body)
    assert board.done == [("on",)]


async def test_a_queued_command_with_payload(board):
    await board.device.queued_command("blink", b"5")
    assert board.done == [("blink", 5)]


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 200_000, b"nonsense"])
async def test_a_queued_command_that_is_no_json_does_nothing(board, body, caplog):
    await board.device.queued_command("blink", body)
    assert board.done == []
    assert "is not JSON" in caplog.text


async def test_the_twin_is_applied_and_acknowledged_with_its_version(board):
    await board.device.twin({"desired": {"brightness": 2, "name": "Ada", "$version": 7}})
    assert board.reported["brightness"] == {"value": 2, "ac": 200, "av": 7, "ad": "completed"}
    assert board.reported["name"] == {"value": "Ada", "ac": 200, "av": 7, "ad": "completed"}
    assert board.done == [("brightness", 2)]
    assert board.kept == {"brightness": 2, "name": "Ada"}


async def test_what_nobody_asked_for_is_reported_as_the_devices_own(board):
    await board.device.twin({"desired": {"$version": 1}, "reported": {}})
    for name, value in {"name": "", "brightness": 1, "telemetryInterval": 60}.items():
        ack = board.reported[name]
        assert (ack["value"], ack["ac"], ack["av"]) == (value, 203, 0)


async def test_a_wrapped_value_is_taken_as_a_bare_one(board):
    await board.device.desired({"brightness": {"value": 3}, "$version": 4})
    assert board.reported["brightness"]["value"] == 3
    assert board.done == [("brightness", 3)]


async def test_the_preview_format_is_the_tutorials(board):
    board = Board(property_format="preview")
    await board.device.desired({"brightness": {"value": 3}, "$version": 4})
    assert board.reported["brightness"] == {
        "value": 3,
        "status": "completed",
        "desiredVersion": 4,
        "message": "completed",
    }
    await board.device.desired({"brightness": {"value": 9}, "$version": 5})
    assert board.reported["brightness"]["status"] == "failed"
    assert board.reported["brightness"]["value"] == 3


async def test_a_value_in_force_is_acknowledged_and_not_done_again():
    board = Board(brightness=2)
    await board.device.desired({"brightness": 2, "$version": 4})
    assert board.reported["brightness"]["ac"] == 200
    assert board.done == []


async def test_asking_for_what_is_the_default_makes_it_the_operators(board):
    await board.device.desired({"telemetryInterval": 60, "$version": 4})
    assert board.done == [("interval", 60)]
    assert board.kept == {"telemetryInterval": 60}


REFUSED = {
    "brightness": [True, "2", 0, 4, 1.5, -1, [], {}, {"value": "2"}, float("nan"), 1e308 * 10],
    "telemetryInterval": [False, "60", 4, 86401, 5.5, None.__class__, -60],
    "name": [5, True, ["Ada"], {"first": "Ada"}, "x" * 257],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values]
)
async def test_a_bad_value_is_refused_with_a_reason_and_changes_nothing(board, name, value):
    before = dict(board.device.values)
    await board.device.desired({name: value, "$version": 4})
    ack = board.reported[name]
    assert (ack["value"], ack["ac"], ack["av"]) == (before[name], 400, 4)
    assert "must" in ack["ad"]
    assert board.device.values == before
    assert board.done == []
    assert board.kept == {}


async def test_a_removed_value_leaves_what_is_in_force(board):
    await board.device.desired({"brightness": 2, "$version": 4})
    await board.device.desired({"brightness": None, "$version": 5})
    ack = board.reported["brightness"]
    assert (ack["value"], ack["ac"], ack["av"]) == (2, 203, 0)


async def test_an_unknown_property_is_answered_404(board):
    await board.device.desired({"colour": "red", "$version": 4})
    assert board.reported["colour"]["ac"] == 404


async def test_many_unknown_properties_do_not_fill_the_twin(board):
    await board.device.desired({f"p{n}": n for n in range(1000)} | {"$version": 4})
    assert len(board.reported) == 16


async def test_an_unknown_property_that_is_removed_takes_its_answer_with_it(board):
    await board.device.desired({"colour": "red", "$version": 4})
    await board.device.desired({"colour": None, "size": None, "$version": 5})
    assert board.reported == {"colour": None}


@pytest.mark.parametrize("name", sorted(OWN))
async def test_what_the_device_reports_by_itself_is_not_overwritten(board, name, caplog):
    await board.device.desired({name: "something", "$version": 4})
    await board.device.desired({name: None, "$version": 5})
    assert board.reported == {}
    assert name in caplog.text


async def test_a_patch_with_nothing_but_its_version_changes_nothing(board):
    await board.device.desired({"$version": 4})
    assert board.reported == {}


async def test_a_patch_that_the_twin_already_had_is_skipped(board):
    await board.device.twin({"desired": {"brightness": 2, "$version": 7}})
    await board.device.desired({"brightness": 3, "$version": 6})
    assert board.device.values["brightness"] == 2
    await board.device.desired({"brightness": 3, "$version": 8})
    assert board.device.values["brightness"] == 3


async def test_a_device_made_anew_at_the_hub_starts_counting_again(board):
    await board.device.twin({"desired": {"brightness": 2, "$version": 70}})
    await board.device.twin({"desired": {"$version": 1}})
    await board.device.desired({"brightness": 3, "$version": 2})
    assert board.device.values["brightness"] == 3


async def test_an_led_that_fails_leaves_the_old_brightness(board):
    board.broken = LedError("The line is busy.")
    await board.device.desired({"brightness": 2, "$version": 4})
    ack = board.reported["brightness"]
    assert (ack["value"], ack["ac"]) == (1, 500)
    assert "The line is busy" in ack["ad"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
names = st.sampled_from(["blink", "turnon", "turnoff", "name", "brightness", "$version", ""])


@given(names | st.text(), json_values)
def test_any_command_is_answered(name, payload):
    async def scenario():
        board = Board()
        status, answer = await board.device.command(name, payload)
        assert status in {200, 202, 400, 404}
        assert status < 400 or answer["error"].endswith(".")
        json.dumps(answer, allow_nan=False)
        for work in board.background:
            work.close()

    asyncio.run(scenario())


@given(st.dictionaries(names | st.text(), json_values, max_size=6))
def test_any_patch_leaves_values_that_can_be(patch):
    async def scenario():
        board = Board()
        await board.device.desired(patch)
        await board.device.twin({"desired": patch})
        values = board.device.values
        assert values["brightness"] in {1, 2, 3}
        assert not isinstance(values["brightness"], bool)
        assert 5 <= values["telemetryInterval"] <= 86400
        assert isinstance(values["name"], str)
        assert len(values["name"]) <= 256
        json.dumps(board.reported, allow_nan=False)
        assert not any(name.startswith("$") for name in board.reported)

    asyncio.run(scenario())


@given(json_values)
def test_any_twin_is_taken(twin):
    async def scenario():
        if isinstance(twin, dict):
            await Board().device.twin(twin)
        await Board().device.twin({"desired": twin})

    asyncio.run(scenario())


def test_a_quoted_value_is_short_and_cannot_forge_a_line():
    assert len(quote("x" * 1000)) == 60
    assert "\n" not in quote("a\nb\x1b[31m")
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert quote(nested) == "a list"


@given(st.text(), st.integers(min_value=3, max_value=60))
def test_shortening_keeps_whole_characters(text, limit):
    short = shorten(text, limit)
    assert len(short.encode()) <= limit
    assert text.encode("utf-8", "replace").decode().startswith(short.removesuffix("…"))
