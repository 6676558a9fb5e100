import asyncio

import pytest

from agent.daemon.control_requests import control_requests
from agent.device.led import Lamp
from agent.errors import ControlError
from hw import Reading
from hw.errors import Fault, SensorError
from hw.leds.fake_led import FakeLight
from hw.sensors.fake import FakeSensor, Room


async def status():
    return {"version": "1"}


async def check(ids):
    return {"findings": [[name, "fine"] for name in ids]}


@pytest.fixture
async def rig():
    class Rig:
        light = FakeLight(wait=lambda event, seconds: event.wait(10))
        lamp = Lamp(lambda light=light: light, brightness=1, on_change=lambda state: None)
        sensor = FakeSensor(Room(seed=1))
        broken = None

        def __init__(self):
            self.handlers = control_requests(
                status=status, check=check, read=self.read, lamp=self.lamp, sensor=self.sensor
            )

        async def read(self):
            if self.broken:
                raise self.broken
            return Reading(21.5, 45.0), "2026-11-25T21:00:00.000Z"

        async def ask(self, **request):
            return await self.handlers[request["command"]](request)

    rig = Rig()
    yield rig
    await rig.lamp.close()


async def test_the_status_is_the_daemons(rig):
    assert await rig.ask(command="status") == {"status": {"version": "1"}}


async def test_a_reading_is_taken_or_it_is_said_why_there_is_none(rig):
    answer = await rig.ask(command="read")
    assert answer == {
        "reading": {"temperature": 21.5, "humidity": 45.0, "taken": "2026-11-25T21:00:00.000Z"}
    }
    rig.broken = SensorError("The sensor did not answer.", fault=Fault.NO_ANSWER)
    with pytest.raises(ControlError, match="did not answer"):
        await rig.ask(command="read")


@pytest.mark.parametrize(
    ("request_", "state"),
    [
        ({"do": "on"}, "on"),
        ({"do": "blink", "seconds": 2}, "blinking"),
        ({"do": "off"}, "off"),
    ],
)
async def test_the_led_obeys_and_says_what_it_does(rig, request_, state):
    assert await rig.ask(command="led", **request_) == {"led": {"state": state, "brightness": 1}}


async def test_brightness_is_set(rig):
    answer = await rig.ask(command="led", do="brightness", level=3)
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
    ],
)
async def test_a_wrong_request_is_refused(rig, request_):
    with pytest.raises((ControlError, ValueError)):
        await rig.ask(command="led", **request_)
    assert rig.lamp.state == "off"


async def test_a_broken_light_is_named(rig):
    rig.light.broken = "The line is busy."
    with pytest.raises(ControlError, match="busy"):
        await rig.ask(command="led", do="on")
    rig.light.broken = None


async def test_the_room_is_played_with_and_shown(rig):
    shown = await rig.ask(command="room")
    assert shown["room"]["temperature"] is None
    shown = await rig.ask(command="room", set={"temperature": 30.0, "fault": "no_answer"})
    assert shown["room"]["temperature"] == 30.0
    assert shown["room"]["fault"] == "no_answer"
    await rig.ask(command="room", set={"fault": None})
    assert (await asyncio.to_thread(rig.sensor.read)).temperature == pytest.approx(30.0, abs=0.5)


@pytest.mark.parametrize("changes", [5, [], "hot", {"colour": 1}, {"temperature": "hot"}])
async def test_nonsense_changes_no_room(rig, changes):
    before = rig.sensor.room.state()
    with pytest.raises((ControlError, ValueError)):
        await rig.ask(command="room", set=changes)
    assert rig.sensor.room.state()["temperature"] == before["temperature"]


async def test_a_real_sensor_has_no_room(rig):
    handlers = control_requests(
        status=status, check=check, read=rig.read, lamp=rig.lamp, sensor=object()
    )
    with pytest.raises(ControlError, match="real"):
        await handlers["room"]({})


async def test_checks_are_made_as_chosen(rig):
    answer = await rig.ask(command="check", only=["led", "hub"], skip=["hub-tls"])
    assert [name for name, _ in answer["findings"]] == ["led", "hub-dns", "hub-tcp"]
    assert len((await rig.ask(command="check"))["findings"]) > 20


@pytest.mark.parametrize(
    "choice", [{"only": "led"}, {"only": [5]}, {"skip": {}}, {"only": ["lid"]}, {"skip": None}]
)
async def test_checks_that_are_not_there_are_refused(rig, choice):
    with pytest.raises((ControlError, ValueError), match="check"):
        await rig.ask(command="check", **choice)
