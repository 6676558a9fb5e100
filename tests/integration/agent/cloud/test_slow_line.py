"""Connections over a slow line and over one that hangs, with extreme values of keep_alive."""

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import replace
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from centrals import running_central
from clouds import Cloud
from daemons import STOPPED_WITHIN, Daemon, until
from fakes import until as until_async
from faults import at_once
from slow_line import slow_line

from agent.cloud import paho_client, registration, sdk
from agent.cloud import session as session_module
from agent.cloud.message import Message
from agent.cloud.paho_client import PahoClient
from agent.errors import NoAnswerError, RegistrationError, SessionLostError
from central.hub import provisioning
from central.protocol.mqtt import ConnAck
from central.storage import telemetry


@pytest.fixture
def central(tmp_path):
    with running_central(tmp_path / "central") as central:
        yield central


async def test_a_slow_line_connects_and_sends_with_the_shortest_keep_alive(
    central, tmp_path, way, monkeypatch
):
    cloud = Cloud(central, tmp_path / "pi", way, keep_alive=2)
    assignment = await cloud.register()
    async with slow_line(monkeypatch, central.address), cloud.session(assignment) as session:
        await asyncio.gather(session.twin(), session.send(Message("box:1", "{}", {})))
    assert len(central.read(telemetry.messages, "pi-1")) == 1


async def test_a_slow_line_connects_with_websockets_through_a_proxy(
    central, tmp_path, way, monkeypatch
):
    cloud = Cloud(central, tmp_path / "pi", way, keep_alive=2)
    assignment = await cloud.register()
    proxy = urlsplit(central.info["proxy"])
    async with slow_line(monkeypatch, (proxy.hostname, proxy.port)) as port:
        cloud.config = replace(
            cloud.config, transport="websockets", proxy=f"http://127.0.0.1:{port}"
        )
        async with cloud.session(assignment) as session:
            await session.send(Message("box:1", "{}", {}))
    assert len(central.read(telemetry.messages, "pi-1")) == 1


async def test_a_slow_line_registers(central, tmp_path, monkeypatch):
    cloud = Cloud(central, tmp_path / "pi", keep_alive=2)
    async with slow_line(monkeypatch, central.address):
        assert (await cloud.register()).device_id == "pi-1"


async def test_a_slow_line_renews_the_token(central, tmp_path, monkeypatch):
    monkeypatch.setattr(sdk, "SAS_TOKEN_LIFETIME", 150)  # The SDK renews it 120 s earlier.
    cloud = Cloud(central, tmp_path / "pi", keep_alive=60)
    assignment = await cloud.register()
    async with cloud.session(assignment) as session, slow_line(monkeypatch, central.address):
        await until_async(lambda: not session._client.connected)
        await session.send(Message("box:1", "{}", {}))
    assert len(central.read(telemetry.messages, "pi-1")) == 1


@pytest.fixture
def dripping_proxy():
    """A proxy that answers with one byte each tenth of a second, and never with a whole line."""

    class Handler(BaseRequestHandler):
        def handle(self):
            with suppress(OSError):  # The client has left.
                while True:
                    self.request.sendall(b"H")
                    time.sleep(0.1)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, name="dripping-proxy").start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


async def test_a_proxy_that_never_finishes_its_answer_does_not_block_the_sdk(
    central, tmp_path, monkeypatch, dripping_proxy
):
    cloud = Cloud(central, tmp_path / "pi")
    assignment, direct = await cloud.register(), cloud.config
    cloud.config = replace(direct, proxy=dripping_proxy)
    with monkeypatch.context() as hurried:  # Not for the last session, which is to succeed.
        hurried.setattr(session_module, "CONNECT_DEADLINE", 2.0)
        hurried.setattr(sdk, "CLOSE_DEADLINE", 5.0)
        with pytest.raises(NoAnswerError):
            await cloud.register(deadline=2.0)
        with pytest.raises(NoAnswerError):
            async with cloud.session(assignment):
                pass  # It is not reached.
    cloud.config = direct
    async with cloud.session(assignment) as session:
        await session.twin()


def test_the_daemon_stops_in_time_while_a_proxy_never_finishes_its_answer(
    central, tmp_path, dripping_proxy
):
    with Daemon(tmp_path / "pi", central, proxy=dripping_proxy) as daemon:
        until(daemon.status_if_any, what=daemon.tail)
        until(lambda: daemon.status()["outbox"]["waiting"] >= 3, what=daemon.tail)
        assert daemon.stop(timeout=STOPPED_WITHIN) == 0, daemon.log


async def test_nothing_is_sent_once_a_registration_is_closed(central, tmp_path, monkeypatch):
    # The SDK waits as long as the service asks it to, and then connects if it has to.
    cloud = Cloud(central, tmp_path / "pi")
    await cloud.ask(lambda central: setattr(central.faults, "registration", "throttled"))
    monkeypatch.setattr(provisioning, "RETRY_AFTER", 9)
    answered = threading.Event()
    answer = provisioning.Registration._answer

    def answer_and_note(*arguments):
        answer(*arguments)
        answered.set()

    monkeypatch.setattr(provisioning.Registration, "_answer", answer_and_note)
    kept: list[Any] = []  # Its timers work as long as anything refers to the client.
    make = sdk.provisioning_client

    def make_and_keep(access):
        kept.append(make(access))
        return kept[-1]

    monkeypatch.setattr(registration, "provisioning_client", make_and_keep)
    registering = asyncio.create_task(cloud.register(deadline=8.0))
    await until_async(answered.is_set)
    await asyncio.sleep(0.5)  # For the answer to arrive.
    await cloud.ask(at_once(network="reset"))
    with pytest.raises(RegistrationError, match="429"):
        await registering
    await cloud.ask(at_once(network=None))
    connected: list[str] = []
    real = PahoClient.connect

    def connect(client, host, *arguments, **options):
        result = real(client, host, *arguments, **options)
        connected.append(host)
        return result

    monkeypatch.setattr(PahoClient, "connect", connect)
    await asyncio.sleep(2.5)
    assert kept
    assert connected == []


async def test_a_dead_connection_is_noticed_though_no_request_waits(
    central, tmp_path, way, monkeypatch
):
    monkeypatch.setattr(paho_client, "ROUND_TRIP", 2.0)
    cloud = Cloud(central, tmp_path / "pi", way, keep_alive=2)
    async with cloud.session(await cloud.register()) as session:
        await cloud.ask(lambda central: central.faults.half_open())
        with pytest.raises(SessionLostError, match="then stopped answering"):
            await asyncio.wait_for(session.ended(), 10.0)


HANGS = {
    "before TLS": lambda central: setattr(central.faults, "hang", "tcp"),
    "before CONNACK": lambda central: central.faults.withheld.add(ConnAck),
}


@pytest.mark.parametrize("keep_alive", [2, 1177])
@pytest.mark.parametrize("moment", HANGS)
def test_the_daemon_stops_in_time_while_connecting_hangs(
    tmp_path, central, way, moment, keep_alive
):
    central.call(HANGS[moment])
    with Daemon(tmp_path / "pi", central, way, keep_alive=keep_alive) as daemon:
        until(daemon.status_if_any, what=daemon.tail)
        until(lambda: daemon.status()["cloud"]["attempts"] >= 1, what=daemon.tail)
        until(lambda: daemon.status()["outbox"]["waiting"] >= 3, what=daemon.tail)
        assert daemon.stop() == 0, daemon.log
        assert "Traceback" not in daemon.log, daemon.log


@pytest.mark.parametrize("keep_alive", [2, 1177])
async def test_a_session_closes_at_once_while_its_buffers_are_full(
    central, tmp_path, way, keep_alive
):
    cloud = Cloud(central, tmp_path / "pi", way, keep_alive=keep_alive)
    async with asyncio.timeout(15.0):
        async with cloud.session(await cloud.register()) as session:
            await cloud.ask(lambda central: setattr(central.faults, "hang", "tcp"))
            large = Message("box:1", "x" * 200_000, {})
            sending = [asyncio.create_task(session.send(large)) for _ in range(50)]
            await asyncio.wait(sending, timeout=1.0)
        await asyncio.gather(*sending, return_exceptions=True)
    await cloud.ask(lambda central: setattr(central.faults, "hang", None))
