"""Whatever a hub sends, the daemon goes on: with the real SDK, which has no network here."""

import asyncio
import json
import socket
import threading
from typing import Any

import pytest
from fakes import FakeHub, FakeSession, HandClock, until
from fuzzing import fuzz
from hypothesis import strategies as st
from operated import OperatedDaemon, limit_properties
from paho.mqtt.client import MQTT_ERR_SUCCESS
from rigs import moves_of
from strategies import json_values

from agent.cloud import sdk, uplink
from agent.cloud.move import COMMAND
from agent.cloud.paho_client import PahoClient
from agent.cloud.sdk import CloudAccess
from agent.cloud.session import AzureSession, Event
from agent.cloud.uplink import Uplink
from agent.config.credentials import Credentials
from agent.config.loader import CloudConfig
from agent.device.commands import Commands
from agent.device.properties import Properties
from agent.storage.assignment import Assignment, StoredAssignment

ACCESS = CloudAccess(
    cloud=CloudConfig(id_scope="0ne00000000"),
    credentials=Credentials(key="a2V5"),
    device_id="pi-1",
    model_id="dtmi:test;1",
)
HUB = Assignment("hub.test", "pi-1")
CANARY = "$iothub/methods/POST/turnon/?$rid=canary", b""


class RunningDaemon(OperatedDaemon):
    """What an uplink needs of a daemon, with real commands and properties; and its hub."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.status_changed = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.unhandled: list[dict[str, Any]] = []
        self.hub = FakeHub(FakeSession(HUB.hub))
        self.session = self.hub.sessions[0]
        parts: Any = self
        # Whatever a hub sends may order a move; the test goes on at the hub that is there.
        moves = moves_of(clock=self.clock, allowed=False)
        self.uplink = Uplink(
            parts,
            outbox=parts,
            hub=parts.hub,
            moves=moves,
            assignments=lambda scope: StoredAssignment(parts, ("dps.test", scope or "", "pi-1")),
            commands=Commands(parts, {COMMAND: moves.device_move}),
            properties=Properties(
                parts,
                parts,
                defaults={"name": "", "brightness": 1, "telemetryInterval": 60},
                stored={},
                limits=limit_properties(),
                property_format="plug-and-play",
            ),
            settings=parts,
            unit="celsius",
            max_rate=10,
            sleep=self.sleep,
        )

    # The outbox.
    waiting = 0
    removed = asyncio.Event()

    def report(self, properties):
        self.uplink.report(properties)

    def snapshot(self):
        return {"state": True}

    def start_task(self, work, name):
        task = asyncio.create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def sleep(self, seconds):
        if seconds == 60.0:  # An interval while connected, not a delay before connecting.
            await asyncio.Event().wait()

    async def start(self):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: self.unhandled.append(context))
        self.running = asyncio.create_task(self.uplink.run())
        await self.until(lambda: self.uplink.connections == 1)
        self.client = sdk.hub_client(ACCESS, HUB)
        received: asyncio.Queue[Event] = self.session.events
        session = AzureSession(self.client, HUB, received)
        with pytest.raises(Exception, match=r"hub\.test"):
            await session.connect()  # Without a network, this only sets the handlers.
        stage = self.client._mqtt_pipeline._pipeline
        while stage.next is not None:
            stage = stage.next
        self.receive = stage.transport.on_mqtt_message_received_handler

    async def until(self, condition):
        await until(lambda: condition() or self.running.done())
        assert not self.running.done(), self.running
        assert not self.unhandled

    async def feed(self, twin, messages):
        """Connect again with this twin, receive the messages, and then obey a command."""
        before, count = self.session, self.uplink.connections
        self.session = FakeSession(HUB.hub)
        self.session.twins = [twin]
        self.hub.sessions.append(self.session)
        before.lose()
        await self.until(lambda: self.uplink.connections == count + 1)
        for topic, body in [*messages, CANARY]:
            self.receive(topic, body)
        await self.until(lambda: ("turnon", 200, None) in self.session.answers)
        assert all(200 <= status <= 500 for _, status, _ in self.session.answers)
        json.dumps([self.session.answers, self.session.reports], allow_nan=False)

    async def stop(self):
        self.running.cancel()
        await asyncio.wait({self.running})
        await sdk.close(self.client)


async def nothing(*_, **__):
    await asyncio.Event().wait()


@pytest.fixture(scope="module")
def feed():
    """Feed the running daemon: `feed(twin, messages)`. One daemon gets all inputs."""
    with pytest.MonkeyPatch.context() as context, asyncio.Runner() as runner:
        context.setattr(uplink, "publish_readings", nothing)
        context.setattr(socket, "getaddrinfo", offline)
        daemon = runner.run(make())
        yield lambda twin, messages: runner.run(daemon.feed(twin, messages))
        runner.run(daemon.stop())


def offline(*_, **__):
    raise ConnectionRefusedError("hub.test is not there")


async def make():
    daemon = RunningDaemon()
    await daemon.start()
    return daemon


names = st.sampled_from(
    ["name", "brightness", "telemetryInterval", "state", "$version", "value", "desired", "x y"]
)
objects = st.dictionaries(names | st.text(), json_values, max_size=5)
bodies = st.one_of(
    json_values.map(lambda value: json.dumps(value).encode()),
    objects.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=50),
    st.sampled_from(
        [b"[" * 5000, b"1" * 5000, b"-Infinity", b"1e999", b'"\\ud800"', b'{"name":1,"name":"a"}']
    ),
)
words = st.sampled_from(["blink", "turnon", "rundiagnostics", "%ff", "%00", ""]) | st.text()
topics = st.one_of(
    st.builds("$iothub/methods/POST/{}/?$rid={}".format, words, words),
    st.builds("$iothub/twin/PATCH/properties/desired/{}".format, words),
    st.builds("$iothub/twin/res/{}/?$rid={}".format, words, words),
    st.builds("devices/pi-1/messages/devicebound/{}={}&method-name={}".format, words, words, words),
    st.builds("{}$iothub/{}".format, words, words),
    st.text(min_size=1),
)
twins = st.one_of(json_values, objects, st.builds(lambda value: {"desired": value}, objects))


@fuzz(
    inputs_each=5, twin=twins, messages=st.lists(st.tuples(topics, bodies), min_size=4, max_size=4)
)
def test_whatever_the_hub_sends_the_daemon_obeys_the_next_command(feed, twin, messages):
    feed(twin, messages)


packets = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.builds(
            lambda first, content: bytes([first, len(content)]) + content,
            st.integers(0, 255),
            st.binary(max_size=100),
        ),
        st.builds(
            lambda flags, topic, content: (
                bytes([0x30 | flags, 2 + len(topic + content)])
                + len(topic).to_bytes(2)
                + topic
                + content
            ),
            st.integers(0, 15),
            st.binary(max_size=60),
            st.binary(max_size=60),
        ),
    ),
    max_size=5,
).map(b"".join)


@fuzz(packets)
def test_the_end_of_any_stream_is_noticed_once(stream):
    ends = []
    here, there = socket.socketpair()
    client = PahoClient()
    client.on_message = lambda _client, _data, message: message.topic
    client.on_disconnect = lambda _client, _data, reason: ends.append(reason)
    client._sock = here
    client._thread = threading.current_thread()
    here.setblocking(False)
    there.sendall(stream)
    there.close()
    client.loop_forever()
    assert len(ends) == 1
    assert ends[0] != MQTT_ERR_SUCCESS
    here.close()
