"""Connections over a slow line and over one that hangs, with extreme values of keep_alive."""

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from centrals import running_central
from clouds import Cloud
from daemons import Daemon, until
from slow_line import slow_line

from agent.cloud import paho_client
from agent.cloud.message import Message
from agent.errors import SessionLostError
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
