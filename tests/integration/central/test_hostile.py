"""Hostile clients take little memory and do not disturb other devices."""

import contextlib
import errno
import os
import re
import resource
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from addresses import own_address
from centrals import DEADLINE, CentralProcess
from daemons import until
from mqtt_client import MqttClient, Registering, packet, string

from central.protocol import sas

MEGABYTE = 1024 * 1024
CLIENTS = 1500
FILES_OF_OURS = 256  # What this process has open besides those clients.

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from /proc, which is Linux's"
)


class Process(CentralProcess):
    def memory(self):
        """Bytes that the process has in memory."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        resident = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert resident, text
        return int(resident[1]) * 1024


@pytest.fixture(scope="module")
def central(tmp_path_factory):
    # In a process of its own, so that its memory can be measured.
    process = Process(tmp_path_factory.mktemp("hostile")).start()
    register(process, "honest")
    yield process
    assert process.stop() == 0


def register(central, device):
    """Register a device, so that the hub knows it."""
    with Registering(central, device) as client:
        assert client.register()["status"] == "assigned"


@pytest.fixture
def honest(central):
    """A device that sends and must be acknowledged throughout the test."""
    client = MqttClient(central)
    assert client.connect_as(central, "honest")[1] == 0
    acknowledged = []
    stop = threading.Event()

    def send():
        number = 0
        while not stop.is_set():
            number += 1
            client.publish("devices/honest/messages/events/", b"{}", packet_id=number)
            client.receive(4)
            acknowledged.append(number)
            time.sleep(0.01)

    thread = threading.Thread(target=send)
    thread.start()
    yield acknowledged
    until_acknowledged(acknowledged, 3)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    client.close()


def until_acknowledged(acknowledged, more):
    wanted = len(acknowledged) + more
    until(lambda: len(acknowledged) >= wanted, what=lambda: "The honest device waits too long.")


@pytest.fixture
def hostile():
    """A loopback address that only this test connects from."""
    return own_address()


@pytest.fixture
def opened():
    """A list for what the test opens; all of it is closed at the end."""
    opened: list[MqttClient] = []
    yield opened
    for each in opened:
        each.close()


@pytest.fixture
def most_clients():
    """How many connections this process may open, with the limit of open files raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CLIENTS + FILES_OF_OURS
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, raised), hard))
    yield min(CLIENTS, max(soft, raised) - FILES_OF_OURS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_plain(central, source):
    return socket.create_connection(central.address, timeout=5, source_address=(source, 0))


def test_a_thousand_connections_from_one_address(central, honest, hostile, opened, most_clients):
    before = central.memory()
    for _ in range(most_clients):
        try:
            opened.append(open_plain(central, hostile))
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:  # Ours, not central's.
                raise
    grown = central.memory() - before
    files = len(list(Path(f"/proc/{central.pid}/fd").iterdir()))
    assert grown < 20 * MEGABYTE
    assert files < most_clients / 2  # Those that are being closed are still among them.


class Flood:
    """Idle connections from many addresses: half of them silent, half after the TLS handshake."""

    def __init__(self, central, network):
        self._central = central
        self._network = network
        self._context = ssl.create_default_context(cadata=central.ca)
        self._opened: list[socket.socket] = []

    def run(self, clients):
        for number in range(clients):
            # 127.X.Y.Z: an address of its own for each.
            source = f"127.{self._network}.{number // 250}.{number % 250 + 1}"
            with contextlib.suppress(OSError):
                plain = open_plain(self._central, source)
                self._opened.append(plain)
                if number % 2:
                    self._opened.append(self._shake_hands(plain))

    def _shake_hands(self, plain):
        return self._context.wrap_socket(plain, server_hostname=self._central.info["mqtt_host"])

    def close(self):
        for each in self._opened:
            each.close()


def test_idle_connections_of_many_addresses_cost_little_and_delay_no_device(
    central, honest, most_clients
):
    register(central, "newcomer")
    before = central.memory()
    flood = Flood(central, network=os.getpid() % 60 + 2)
    thread = threading.Thread(target=flood.run, args=[most_clients])
    thread.start()
    waited = []
    while thread.is_alive():
        begun = time.monotonic()
        with MqttClient(central) as client:
            assert client.connect_as(central, "newcomer")[1] == 0
        waited.append(time.monotonic() - begun)
        time.sleep(0.05)  # An address may open 64 connections a second.
    thread.join(DEADLINE)
    grown = central.memory() - before
    flood.close()
    assert grown < 60 * MEGABYTE
    assert max(waited) < 1.0
    until(lambda: central.memory() - before < 40 * MEGABYTE)


def test_clients_that_announce_long_packets_cost_little_memory(central, honest, hostile, opened):
    before = central.memory()
    for announced in [b"\x10\xff\xff\xff\x7f", b"\x10\x80\x80\x01" + b"x" * 10_000] * 40:
        client = MqttClient(central, source=hostile)
        opened.append(client)
        client.send(announced)
    assert central.memory() - before < 50 * MEGABYTE
    # 256 MB are refused at once. A permitted length is waited for, until a time limit.
    assert opened[0].is_closed_by_server()


def test_half_a_packet_does_not_delay_other_devices(central, honest, hostile, opened):
    for _ in range(40):
        opened.append(MqttClient(central, source=hostile))
    for client in opened:
        client.send(packet(0x10, string("MQTT") + b"\x04\xc0\x00\x3c" + string("honest"))[:-3])
    until_acknowledged(honest, 20)


def test_garbage_ends_its_own_connection_only(central, honest, hostile):
    for number in range(40):
        client = MqttClient(central, source=hostile)
        client.send(os.urandom(64) if number % 2 else b"GET / HTTP/1.1\r\n\r\n")
        client.close()
    plain = open_plain(central, hostile)
    plain.sendall(os.urandom(512))
    plain.close()


def test_a_device_id_without_the_key_does_not_disturb_its_device(central, honest, hostile):
    for key in (sas.new_key(), central.key("another")):
        with MqttClient(central, source=hostile) as thief:
            assert thief.connect_as(central, "honest", key=key)[1] == 5


def test_a_device_that_floods_the_hub_does_not_delay_the_others(central, honest, hostile):
    register(central, "greedy")
    before = central.memory()
    greedy = MqttClient(central, source=hostile)
    assert greedy.connect_as(central, "greedy")[1] == 0
    stop = threading.Event()

    def flood():
        body = b"x" * 200_000
        with contextlib.suppress(OSError):
            while not stop.is_set():
                greedy.publish("devices/greedy/messages/events/", body, flags=0)

    thread = threading.Thread(target=flood)
    thread.start()
    until_acknowledged(honest, 100)
    grown = central.memory() - before
    stop.set()
    greedy.close()
    thread.join(30)
    assert grown < 60 * MEGABYTE
