"""The session, with the real SDK against central over TLS."""

import asyncio
import errno
import gc
import json
import logging
import re
import socket
import ssl
import threading
import weakref
from contextlib import suppress
from dataclasses import replace
from unittest.mock import Mock

import pytest
from addresses import own_address
from azure.iot.device.exceptions import ClientError
from centrals import running_central
from clouds import Cloud
from fakes import until
from mqtt_client import packet as mqtt_packet
from mqtt_client import string
from ways import (
    CONNECTION_STRING,
    PROVISIONING,
    every_way,
    in_ways,
    with_provisioning,
    without_provisioning,
)

from agent.cloud import sdk
from agent.cloud.message import Message
from agent.cloud.paho_client import PahoClient
from agent.cloud.publisher import WINDOW
from agent.cloud.registration import _LoggedAnswer, _registration_error
from agent.cloud.session import (
    Command,
    DesiredPatch,
    Event,
    QueuedCommand,
    Unreadable,
)
from agent.config.credentials import Credentials, derive_device_key
from agent.device.model import CELSIUS
from agent.errors import (
    CloudError,
    HubClosedError,
    NoAnswerError,
    RefusedError,
    RegistrationError,
    SessionLostError,
    TlsError,
    UnreachableError,
)
from agent.storage.assignment import Assignment
from central.errors import NoAnswer
from central.protocol.mqtt import PubAck, SubAck
from central.storage import devices, history, telemetry
from central.transport import connection

OTHER_KEY = derive_device_key("b3RoZXI=", "pi-1")
pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def cloud(tmp_path, way):
    with running_central(tmp_path / "central") as central:
        yield Cloud(central, tmp_path / "pi", way)


@pytest.fixture
async def session(cloud):
    async with cloud.session(await cloud.register()) as session:
        yield session


@with_provisioning
async def test_registering_assigns_the_hub_and_announces_the_model(cloud):
    assignment = await cloud.register()
    assert assignment == Assignment(cloud.config.provisioning_host, "pi-1")
    device = cloud.central.read(devices.get, "pi-1")
    assert device.template == CELSIUS
    assert device.provisioned


@with_provisioning
async def test_a_wrong_key_is_refused_with_the_answer_of_the_provisioning_service(cloud):
    with pytest.raises(RegistrationError) as caught:
        await cloud.register(credentials=cloud.sign_in(OTHER_KEY))
    assert "401" in str(caught.value)
    assert "Check that the key or certificate belongs to this device" in str(caught.value)
    assert OTHER_KEY not in str(caught.value)


@with_provisioning
@pytest.mark.parametrize("fault", ["failed", "disabled"])
async def test_the_error_names_a_failed_or_disabled_registration(cloud, fault):
    await cloud.ask(lambda central: setattr(central.faults, "registration", fault))
    with pytest.raises(RegistrationError, match=f"the device is {fault}"):
        await cloud.register()


@with_provisioning
async def test_a_registration_without_an_answer_times_out(cloud):
    await cloud.ask(lambda central: setattr(central.faults, "registration", "silent"))
    with pytest.raises(NoAnswerError):
        await cloud.register(deadline=2.0)


def test_an_unfinished_registration_does_not_count_as_refused():
    answer, cut_short = _LoggedAnswer(), NoAnswerError("the registration at dps.test", 60)
    said = (
        'Received payload:b\'{"status":"assigning"}\' on topic:$dps/registrations/res/202/?$rid=1'
    )
    answer.emit(logging.makeLogRecord({"msg": said}))
    assert answer.status == 202
    assert _registration_error(cut_short, answer, "dps.test", "pi-1", known=False) is cut_short


@with_provisioning
async def test_a_server_with_its_own_ca_is_trusted_only_with_ca_file(cloud):
    key = cloud.credentials.key
    cloud.config = replace(cloud.config, ca_file=None)
    with pytest.raises(TlsError, match="set ca_file in"):
        await cloud.register(credentials=Credentials(key=key))


def threads():
    # The SDK's loops have a pool of threads for the whole process, which grows to its bound.
    return [t for t in threading.enumerate() if not t.name.startswith("asyncio_")]


@with_provisioning
async def test_failed_registrations_leave_no_thread_behind(cloud):
    with pytest.raises(RegistrationError):
        await cloud.register(credentials=cloud.sign_in(OTHER_KEY))
    before = len(threads())
    for _ in range(5):
        with pytest.raises(RegistrationError):
            await cloud.register(credentials=cloud.sign_in(OTHER_KEY))
    # Some threads end a moment later.
    await until(lambda: len(threads()) <= before)


@every_way
async def test_sessions_leave_no_thread_behind(cloud):
    assignment = await cloud.register()
    async with cloud.session(assignment):
        pass
    before = len(threads())
    for _ in range(5):
        async with cloud.session(assignment) as session:
            await session.twin()
    # Some threads end a moment later.
    await until(lambda: len(threads()) <= before)


@every_way
async def test_a_message_arrives_as_it_was_sent(cloud, session):
    properties = {"iothub-creation-time-utc": "2026-11-22T10:00:00.123Z", "a b": "å=&/"}
    await session.send(Message("box:1", '{"temp": 21.5, "humid": 45.0}', properties))
    (message,) = cloud.central.read(telemetry.messages, "pi-1")
    assert json.loads(message.body) == {"temp": 21.5, "humid": 45.0}
    assert message.properties == properties
    assert message.system["message_id"] == "box:1"
    assert message.system["content_type"] == "application/json"
    assert message.system["content_encoding"] == "utf-8"


@every_way
async def test_messages_sent_together_keep_their_order(cloud, session):
    await asyncio.gather(
        *(session.send(Message(f"box:{n}", "{}", {})) for n in range(200)),
    )
    messages = cloud.central.read(telemetry.messages, "pi-1", limit=200)
    assert [m.system["message_id"] for m in reversed(messages)] == [f"box:{n}" for n in range(200)]


def test_an_sdk_call_that_hangs_does_not_delay_the_end_of_the_loop():
    release, returned = threading.Event(), threading.Event()

    def hang():
        release.wait(20)
        returned.set()

    async def call():
        sdk._prepare(asyncio.get_running_loop())
        asyncio.get_running_loop().run_in_executor(None, hang)

    asyncio.run(call())
    assert not returned.is_set()
    release.set()
    assert returned.wait(5)


async def test_an_answer_that_comes_too_late_is_ignored(caplog):
    loop = asyncio.get_running_loop()
    sdk._prepare(loop)
    answer = loop.create_future()

    async def call():
        return await answer

    with pytest.raises(NoAnswerError):
        await sdk.within(0.01, "a call", call())
    loop.call_soon(answer.set_result, None)
    await asyncio.sleep(0)
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_the_failure_of_a_call_that_was_cancelled_on_its_way_in_is_ignored(caplog):
    async def call(enter, answer):
        await enter
        return await answer

    async def fail():
        loop = asyncio.get_running_loop()
        sdk._prepare(loop)
        answer = loop.create_future()
        with suppress(NoAnswerError):
            await sdk.within(0.01, "a call", call(loop.create_future(), answer))
        answer.set_exception(ClientError("lost"))

    caplog.set_level(logging.DEBUG)
    asyncio.run(fail())
    gc.collect()
    assert "The SDK: Future exception was never retrieved" in caplog.messages
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_a_mistake_in_a_callback_is_still_reported(caplog):
    sdk._prepare(asyncio.get_running_loop())
    asyncio.get_running_loop().call_soon(int, "x")
    await asyncio.sleep(0)
    assert "Exception in callback" in caplog.text


@every_way
async def test_properties_go_both_ways(cloud, session):
    await session.report({"state": True, "brightness": {"value": 1, "ac": 203, "av": 0}})
    twin = cloud.central.read(devices.get_twin, "pi-1")
    assert twin.reported["state"] is True
    await cloud.ask(lambda central: central.hub.set_desired("pi-1", {"brightness": 2}))
    event = await cloud.events.get()
    assert isinstance(event, DesiredPatch)
    assert event.patch["brightness"] == 2
    assert (await session.twin())["desired"]["brightness"] == 2


@pytest.mark.parametrize("payload", [None, 3, {"a": [1, None]}, "text"])
async def test_a_command_is_answered(cloud, session, payload):
    asked = asyncio.create_task(
        cloud.ask(lambda central: central.hub.call("pi-1", "blink", payload))
    )
    event = await cloud.events.get()
    assert isinstance(event, Command)
    assert (event.name, event.payload) == ("blink", payload)
    await session.answer(event, 200, {"description": "done"})
    answer = await asked
    assert (answer.status, answer.response) == (200, {"description": "done"})


async def test_an_answer_does_not_wait_for_unacknowledged_readings(cloud, session):
    await cloud.ask(lambda central: central.faults.withheld.add(PubAck))
    readings = [Message(f"box:{number}", "{}", {}) for number in range(WINDOW)]
    under_way = [asyncio.create_task(session.send(reading)) for reading in readings]
    asked = asyncio.create_task(cloud.ask(lambda central: central.hub.call("pi-1", "turnon", None)))
    under_way.append(asyncio.create_task(session.answer(await cloud.events.get(), 200, None)))
    assert (await asked).status == 200
    for task in under_way:
        task.cancel()
    await asyncio.wait(under_way)


async def test_no_packet_waits_for_an_acknowledgement(cloud, way, monkeypatch):
    connections: list[socket.socket] = []

    def connect(client):
        connection = real(client)
        connections.append(connection.dup())  # TLS takes the first over.
        return connection

    real = PahoClient._create_socket_connection
    monkeypatch.setattr(PahoClient, "_create_socket_connection", connect)
    async with cloud.session(await cloud.register()):
        options = [each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for each in connections]
    for each in connections:
        each.close()
    assert options == ([1, 1] if way == PROVISIONING else [1])


@every_way
async def test_a_command_queued_while_away_is_delivered_on_connecting(cloud):
    assignment = await cloud.register()
    async with cloud.session(assignment):
        pass  # The hub keeps commands for a device that has subscribed once.
    for name in ("turnon", "blink"):
        await cloud.ask(lambda central, name=name: central.hub.queue_command("pi-1", name, None))
    async with cloud.session(assignment):
        events = [await cloud.events.get() for _ in range(2)]
    assert events == [QueuedCommand("turnon", b"@"), QueuedCommand("blink", b"@")]


async def test_a_command_that_arrives_during_a_failed_connect_is_kept(cloud):
    assignment = await cloud.register()
    async with cloud.session(assignment):
        pass  # The hub keeps commands for a device that has subscribed once.
    await cloud.ask(lambda central: central.hub.queue_command("pi-1", "turnon", None))
    await cloud.ask(lambda central: central.faults.withheld.add(SubAck))
    with pytest.raises(NoAnswerError, match="A subscription was not answered"):
        async with cloud.session(assignment):
            pass  # It is not reached.
    # The hub counts it as delivered, and does not send it again.
    assert cloud.events.get_nowait() == QueuedCommand("turnon", b"@")


@every_way
async def test_a_closed_connection_ends_the_session_at_once(cloud, session):
    await cloud.ask(lambda central: central.faults.drop_connections())
    with pytest.raises(HubClosedError):
        await session.ended()
    with pytest.raises(HubClosedError):
        await session.send(Message("box:1", "{}", {}))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EHOSTUNREACH, "No route to host"),
        TimeoutError(errno.ETIMEDOUT, "Connection timed out"),
        ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("call", ["recv", "send"])
async def test_any_error_of_the_connection_ends_the_session_at_once(
    cloud, monkeypatch, call, error
):
    # Central uses asyncio, which calls neither.
    async with cloud.session(await cloud.register()) as session:
        monkeypatch.setattr(ssl.SSLSocket, call, Mock(side_effect=error))
        sending = asyncio.create_task(session.send(Message("box:1", "{}", {})))
        with pytest.raises(CloudError):
            await asyncio.wait_for(session.ended(), 30.0)
        with pytest.raises(CloudError):
            await asyncio.wait_for(sending, 30.0)


TOPIC = b"$iothub/methods/POST/blink/?$rid=1"


@pytest.mark.parametrize(
    "packet",
    [
        b"\x90\x00",  # SUBACK without a packet id.
        b"\x30\x01\x00",  # PUBLISH without a topic.
        b"\x30\x05\x00\x03\xff\xfe\xfd",  # A topic that is not UTF-8.
        b"\x30\x04\x00\xffab",  # A topic shorter than it says.
        b"\x32\x04\x00\x02ab",  # Quality of service 1 without a packet id.
        b"\x36" + bytes([len(TOPIC) + 2, 0, len(TOPIC)]) + TOPIC,  # Quality of service 3.
        b"\x40\x00",  # PUBACK without a packet id.
        b"\x20\x02\x00\x01",  # CONNACK in the middle: an MQTT version that is not known.
        b"\x00\x00",  # Reserved.
        b"\xf0\x00",
        b"\x30\xff\xff\xff\xff\xff\x01",  # A length of more than four bytes.
        b"\x30\xff\xff\xff\x7f",  # 256 MB follow.
        b"HTTP/1.1 400 Bad Request\r\n" + b"Server: other\r\n" * 5,
    ],
)
async def test_a_packet_that_is_not_mqtt_ends_the_session_at_once(cloud, session, packet):
    await cloud.ask(lambda central: write(central, packet))
    with pytest.raises(SessionLostError, match="the server sent data that is not valid MQTT"):
        await asyncio.wait_for(session.ended(), 30.0)


async def test_a_first_packet_that_is_not_mqtt_ends_the_connection_at_once(cloud, monkeypatch):
    assignment = await cloud.register()
    monkeypatch.setattr(connection, "encode", lambda packet: b"\x90\x00")
    with pytest.raises(SessionLostError, match="the server sent data that is not valid MQTT"):
        async with asyncio.timeout(3.0), cloud.session(assignment):
            pass  # It is not reached.


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        (TOPIC, b"{"),
        (TOPIC, b"\xff"),
        (TOPIC, b"[" * 100_000),
        (TOPIC, b"1" * 5000),
        (b"$iothub/methods/POST/blink/", b"1"),
        (b"$iothub/methods/POST/blink/?$rid=" + b"1" * 2000, b"1"),
        (b"$iothub/methods/POST", b"1"),
        (b"$iothub/twin/res/", b"{}"),
        (b"$iothub/twin/res/abc/?$rid=1", b"{}"),
        (b"$iothub/twin/PATCH/properties/desired/?$version=1", b"{"),
        (b"devices/pi-1/messages/devicebound/%24.mid=1", b"text"),
        (b"$iothub/devices/pi-1/messages/devicebound", b"text"),
    ],
)
async def test_a_message_that_cannot_be_read_is_handed_over_as_such(cloud, session, topic, body):
    await cloud.ask(lambda central: write(central, mqtt_packet(0x30, string(topic) + body)))
    assert isinstance(await asyncio.wait_for(cloud.events.get(), 30.0), Unreadable)
    await session.twin()


@pytest.mark.parametrize("body", ["[]", "7", "null", '"text"', "NaN", '{"a": 1, "a": 2}', "1e999"])
async def test_desired_properties_of_any_shape_are_handed_over(cloud, session, body):
    topic = "$iothub/twin/PATCH/properties/desired/?$version=1"
    await cloud.ask(
        lambda central: write(central, mqtt_packet(0x30, string(topic) + body.encode()))
    )
    event = await asyncio.wait_for(cloud.events.get(), 30.0)
    assert isinstance(event, DesiredPatch)


def write(central, data):
    """Send bytes to every client, whether they are MQTT or not."""
    for client in central.faults._connections:
        client._writer.write(data)


async def test_a_connection_lost_during_the_close_does_not_delay_it(cloud):
    # The SDK clears its handlers' inboxes when a connection ends, including the stop message for
    # which its shutdown() waits. Here that happens each time.
    async with cloud.session(await cloud.register()) as session:
        pipeline, handlers = session._client._mqtt_pipeline, session._client._handler_manager
        order_to_end = handlers.stop

        def stop(**changes):
            if pipeline.on_disconnected is not None:
                threading.Timer(0.001, pipeline.on_disconnected).start()
            order_to_end(**changes)

        handlers.stop = stop


@every_way
async def test_a_hub_that_refuses_the_key_is_named(cloud):
    assignment = await cloud.register()
    with pytest.raises(RefusedError, match="refused the credentials of pi-1"):
        async with cloud.session(assignment, credentials=cloud.sign_in(OTHER_KEY)):
            pass


@without_provisioning
@pytest.mark.parametrize("change", ["blocked", "deleted"])
async def test_a_configured_hub_that_refuses_the_device_does_not_speak_of_registering(
    cloud, change
):
    if change == "blocked":
        await cloud.ask(lambda c: c.registry.update_device("pi-1", enabled=False))
    else:
        await cloud.ask(lambda c: c.registry.delete_device("pi-1"))
    assignment = await cloud.register()
    with pytest.raises(RefusedError) as caught:
        async with cloud.session(assignment):
            pass
    assert not re.search("regist|id_scope|provisioning", str(caught.value))


EVERY_CHARACTER = "a.b%41_*?!(),:=@$'-1"


@without_provisioning
async def test_a_device_id_may_have_every_character_of_a_hub(tmp_path, way):
    with running_central(tmp_path / "central") as central:
        cloud = Cloud(central, tmp_path / "pi", way, device_id=EVERY_CHARACTER)
        async with cloud.session(await cloud.register()) as session:
            await session.send(Message("box:1", '{"temp": 21.5}', {}))
            await session.report({"state": True})
            assert (await session.twin())["reported"]["state"] is True
            await cloud.ask(lambda c: c.hub.queue_command(EVERY_CHARACTER, "blink", 1))
            queued = await cloud.events.get()
            assert isinstance(queued, QueuedCommand)
            asked = asyncio.create_task(
                cloud.ask(lambda c: c.hub.call(EVERY_CHARACTER, "blink", 5))
            )
            command = await cloud.events.get()
            assert isinstance(command, Command)
            await session.answer(command, 200, None)
            assert (await asked).status == 200
        [message] = central.read(telemetry.messages, EVERY_CHARACTER)
        assert json.loads(message.body) == {"temp": 21.5}


async def test_a_registration_id_may_have_every_character_of_the_service(tmp_path):
    with running_central(tmp_path / "central") as central:
        central.call(lambda c: c.registry.add_device("a.b_c:D-"))
        cloud = Cloud(central, tmp_path / "pi", device_id="a.b_c:D-")
        assignment = await cloud.register()
        assert assignment.device_id == "a.b_c:D-"
        async with cloud.session(assignment) as session:
            await session.twin()


async def test_an_unreachable_hub_is_named(cloud):
    with pytest.raises(UnreachableError, match=r"127\.\d+\.\d+\.\d+ cannot be reached"):
        async with cloud.session(Assignment(own_address(), "pi-1")):
            pass


async def test_a_hanging_hub_times_out(cloud):
    assignment = await cloud.register()
    await cloud.ask(lambda central: setattr(central.faults, "hang", "tls"))
    with pytest.raises(CloudError):
        async with cloud.session(assignment):
            pass
    await cloud.ask(lambda central: setattr(central.faults, "hang", None))
    async with cloud.session(assignment) as session:
        await session.twin()


async def test_a_twin_request_without_an_answer_times_out(cloud, session):
    await cloud.ask(lambda central: setattr(central.faults, "twin", "silent"))
    with pytest.raises(NoAnswerError, match="The request for the twin was not answered within 8 s"):
        await session.twin()


async def test_a_request_that_is_never_answered_ends_with_its_session(cloud):
    assignment = await cloud.register()
    await cloud.ask(lambda central: setattr(central.faults, "twin", "silent"))
    async with cloud.session(assignment) as session:
        with pytest.raises(NoAnswerError):
            await session.twin()
        client = weakref.ref(session._client)
    del session

    def is_gone():
        gc.collect()
        return client() is None

    await until(is_gone)


@in_ways(PROVISIONING, CONNECTION_STRING)
async def test_a_renewal_of_the_token_loses_nothing(cloud, monkeypatch):
    # The SDK renews 120 s before the end, and so every 2 s with this lifetime.
    monkeypatch.setattr(sdk, "SAS_TOKEN_LIFETIME", 122)
    assignment = await cloud.register()
    received: list[Event] = []
    answered, sent = [], 0

    def queued():
        return [int(event.body) for event in received if isinstance(event, QueuedCommand)]

    async def call(number):
        # The hub sends a command once and waits for no acknowledgement. What it sends into a
        # connection that is just closing does not arrive, and the caller gets NoAnswer.
        with suppress(NoAnswer):
            command = await cloud.ask(
                lambda c: c.hub.call(
                    "pi-1", "turnon", number, connect_timeout=10, response_timeout=5
                )
            )
            assert (command.status, command.response) == (200, number)
            answered.append(number)

    async with cloud.session(assignment) as session:

        async def obey():
            while True:
                event = await cloud.events.get()
                received.append(event)
                if isinstance(event, Command):
                    await session.answer(event, 200, event.payload)

        obeying = asyncio.create_task(obey())
        while await cloud.ask(connections) < 4:
            sent += 1
            await session.send(Message(f"box:{sent}", "{}", {}))
            await cloud.ask(lambda c, n=sent: c.hub.queue_command("pi-1", "blink", n))
            await call(sent)
        # A command may arrive twice if its acknowledgement was lost with the connection.
        await until(lambda: obeying.done() or len(set(queued())) == sent)
        assert not obeying.done(), obeying
        obeying.cancel()
    messages = cloud.central.read(telemetry.messages, "pi-1", limit=10_000)
    # A message may arrive twice if its acknowledgement was lost with the connection.
    arrived = dict.fromkeys(m.system["message_id"] for m in messages[::-1])
    assert list(arrived) == [f"box:{n}" for n in range(1, sent + 1)]
    assert list(dict.fromkeys(queued())) == list(range(1, sent + 1))
    assert [e.payload for e in received if isinstance(e, Command)] == answered
    assert len(answered) >= sent - 3


def connections(central):
    return sum(
        line.event == "connected" for line in central.store.read(history.connections, "pi-1")
    )
