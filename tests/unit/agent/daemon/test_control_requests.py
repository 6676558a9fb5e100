import asyncio

import pytest
from statuses import PLACE, STATUS

from agent.config.changes import Applied
from agent.daemon.control_requests import control_requests
from agent.device.led import AsyncLed
from agent.diagnostics.finding import ok
from agent.diagnostics.runner import chosen
from agent.errors import ConfigError, ControlError
from agent.status import status_to_json
from hw import Reading
from hw.errors import Fault, SensorError
from hw.leds.fake_led import SimulatedLed
from hw.sensors.fake import Room, SimulatedSensor


class Daemon:
    """A daemon for the control socket, without sensor and hub."""

    def __init__(self):
        self.simulated_led = SimulatedLed(wait=lambda event, seconds: event.wait(10))
        self.led = AsyncLed(self.simulated_led, on_change=lambda state: None)
        self.sensor = SimulatedSensor(Room(seed=1))
        self.room = self.sensor.room
        self.device_id = "pi-1"
        self.broken = None
        self.mistakes = []
        self.handlers = control_requests(self)

    async def status(self):
        return STATUS

    async def check(self, only=(), skip=()):
        return STATUS, [(name, ok("Fine.")) for name in chosen(only, skip)]

    async def read(self):
        if self.broken:
            raise self.broken
        return Reading(21.5, 45.0), "2026-11-25T21:00:00.000Z"

    async def undo_move(self):
        return PLACE

    async def apply_config(self):
        if self.mistakes:
            raise ConfigError(*self.mistakes)
        return Applied("/etc/x.toml", ["interval in [sensor]"], [], [])

    async def ask(self, **request):
        return await self.handlers[request["command"]](request)


@pytest.fixture
async def daemon():
    daemon = Daemon()
    yield daemon
    await daemon.led.close()


async def test_status_returns_the_daemons_status(daemon):
    assert await daemon.ask(command="status") == {"status": status_to_json(STATUS)}


async def test_move_undo_returns_the_id_scope(daemon):
    assert await daemon.ask(command="move", do="undo") == {"id_scope": PLACE.id_scope}
    with pytest.raises(ControlError, match='"do" must be "undo"'):
        await daemon.ask(command="move", do="redo")


async def test_config_apply_returns_the_outcome_or_raises_the_mistakes(daemon):
    answer = await daemon.ask(command="config", do="apply")
    assert Applied(**answer["config"]).applied == ["interval in [sensor]"]
    with pytest.raises(ControlError, match='"do" must be "apply"'):
        await daemon.ask(command="config", do="forget")
    daemon.mistakes = ["x.toml: no.", "x.toml: neither."]
    with pytest.raises(ConfigError, match="neither"):
        await daemon.ask(command="config", do="apply")


async def test_read_returns_a_reading_or_the_reason_why_there_is_none(daemon):
    answer = await daemon.ask(command="read")
    assert answer == {
        "reading": {"temperature": 21.5, "humidity": 45.0, "taken": "2026-11-25T21:00:00.000Z"}
    }
    daemon.broken = SensorError("The sensor did not answer.", fault=Fault.NO_ANSWER)
    with pytest.raises(ControlError, match="did not answer"):
        await daemon.ask(command="read")


@pytest.mark.parametrize(
    ("request_", "state"),
    [
        ({"do": "on"}, "on"),
        ({"do": "blink", "seconds": 2}, "blinking"),
        ({"do": "off"}, "off"),
    ],
)
async def test_led_drives_the_led_and_returns_its_state(daemon, request_, state):
    assert await daemon.ask(command="led", **request_) == {"led": {"state": state, "brightness": 1}}


async def test_led_sets_the_brightness(daemon):
    answer = await daemon.ask(command="led", do="brightness", level=3)
    assert answer["led"]["brightness"] == 3


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"do": "explode"},
        {"do": "blink"},
        {"do": "blink", "seconds": True},
        {"do": "blink", "seconds": 0},
        {"do": "brightness", "level": 4},
        {"do": "on", "seconds": 2},
        {"do": "blink", "seconds": 2, "level": 1},
    ],
)
async def test_a_wrong_led_request_is_refused(daemon, request_):
    with pytest.raises((ControlError, ValueError)):
        await daemon.ask(command="led", **request_)
    assert daemon.led.state == "off"


@pytest.mark.parametrize("command", ["status", "check", "read", "room", "config", "move"])
async def test_an_unknown_key_is_refused(daemon, command):
    with pytest.raises(ControlError, match=rf"The request {command} has no key \"colour\"\."):
        await daemon.ask(command=command, colour=1)


async def test_a_broken_led_is_reported(daemon):
    daemon.simulated_led.broken = "The line is busy."
    with pytest.raises(ControlError, match="busy"):
        await daemon.ask(command="led", do="on")
    daemon.simulated_led.broken = None


async def test_room_changes_and_returns_the_simulated_room(daemon):
    shown = await daemon.ask(command="room")
    assert shown["room"]["temperature"] is None
    assert shown["device"] == "pi-1"
    shown = await daemon.ask(command="room", set={"temperature": 30.0, "fault": "no_answer"})
    assert shown["room"]["temperature"] == 30.0
    assert shown["room"]["fault"] == "no_answer"
    await daemon.ask(command="room", set={"fault": None})
    assert (await asyncio.to_thread(daemon.sensor.read)).temperature == pytest.approx(30.0, abs=0.5)


@pytest.mark.parametrize("changes", [5, [], "hot", {"colour": 1}, {"temperature": "hot"}])
async def test_a_wrong_change_leaves_the_room_as_it_is(daemon, changes):
    before = daemon.room.state()
    with pytest.raises((ControlError, ValueError)):
        await daemon.ask(command="room", set=changes)
    assert daemon.room.state()["temperature"] == before["temperature"]


async def test_a_real_sensor_has_no_room(daemon):
    daemon.room = None
    with pytest.raises(ControlError, match="not simulated"):
        await daemon.ask(command="room")


async def test_only_the_chosen_checks_are_made(daemon):
    answer = await daemon.ask(command="check", only=["led", "hub"], skip=["hub-tls"])
    assert [name for name, _ in answer["findings"]] == ["led", "hub-dns", "hub-tcp"]
    assert len((await daemon.ask(command="check"))["findings"]) > 20


@pytest.mark.parametrize(
    "choice", [{"only": "led"}, {"only": [5]}, {"skip": {}}, {"only": ["lid"]}, {"skip": None}]
)
async def test_unknown_checks_are_refused(daemon, choice):
    with pytest.raises((ControlError, ValueError), match="check"):
        await daemon.ask(command="check", **choice)
