"""Central's start, stop and restart, and where it listens."""

import asyncio
import json
import logging
import os
import shlex
import socket
import stat
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from addresses import own_address
from centrals import CentralProcess, running_central
from daemons import agent
from mqtt_client import MqttClient
from optional import several_loopbacks
from ordinary import AS_ORDINARY_USER
from places import ROOT

from central.application import Settings
from central.console import run
from central.errors import (
    DataDirectoryInUse,
    FileMissing,
    PortTaken,
    StartError,
    UnknownAddress,
)
from central.storage import devices, history, telemetry, templates
from central.transport.listener import LOOPBACK, listen, listen_for_mqtt, local_names


def open_central(data_dir, **settings):
    """Open a central on free ports."""
    return run.open_central(Settings(data_dir, mqtt_port=0, http_port=0, **settings))


async def start(data_dir, **settings):
    """Open a central, which a test expects to fail, and close it."""
    async with open_central(data_dir, **settings):
        pass


def free_port(address=LOOPBACK):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


async def test_central_json_exists_while_central_listens(tmp_path):
    data = tmp_path / "new" / "central"
    async with open_central(data) as central:
        info = json.loads((data / "central.json").read_text())
        assert info == central.info()
        assert info.keys() == {
            "http",
            "mqtt_host",
            "mqtt_port",
            "id_scope",
            "id_scopes",
            "ca_file",
            "group_key_file",
            "proxy",
            "console_token_file",
        }
        assert info["mqtt_host"] == "127.0.0.1"
        assert (data / "ca.pem").read_text() == central.ca_file.read_text()
        assert central.group_key_file.read_text().strip() == central.registry.group_key
    assert not (data / "central.json").exists()


async def test_its_summary_has_the_commands_that_connect_a_service(tmp_path):
    data = tmp_path / "two words"
    async with open_central(data) as central:
        lines = central.summary().splitlines()
    assert f"    sudo sensor-agent setup --central '{data}'" in lines
    assert not any("--provisioning-host" in line for line in lines)
    async with open_central(data, listen="0.0.0.0") as central:  # noqa: S104 - on purpose
        lines = central.summary().splitlines()
    assert (
        f"    sudo sensor-agent setup --id-scope {central.id_scope} --group-key-file group-key"
        f" --provisioning-host {central.mqtt_host} --ca-file ca.pem"
    ) in lines


async def test_only_the_owner_can_read_the_secrets(tmp_path):
    data = tmp_path / "central"
    async with open_central(data) as central:
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        for name in ("group-key", "ca-key.pem", "central.db"):
            assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
        assert b"PRIVATE" not in central.ca_file.read_bytes()
        assert stat.S_IMODE(central.ca_file.stat().st_mode) == 0o644


async def test_scope_keys_devices_and_authority_survive_a_restart(tmp_path):
    def kept(central):
        registry, ca = central.registry, central.ca_file.read_bytes()
        known = central.store.read(devices.get_all)
        return central.id_scope, registry.group_key, registry.keys("pi"), known, ca

    async with open_central(tmp_path) as central:
        central.registry.add_device("pi")
        before = kept(central)
    async with open_central(tmp_path) as central:
        assert kept(central) == before


async def test_a_second_central_on_the_same_directory_is_refused(tmp_path):
    async with open_central(tmp_path):
        with pytest.raises(DataDirectoryInUse, match="Stop that one first"):
            await start(tmp_path)
        assert (tmp_path / "central.json").exists()


async def test_the_templates_of_the_settings_are_added(tmp_path):
    template = {"@id": "dtmi:test:Model;1"}
    async with open_central(tmp_path, templates=(template,)) as central:
        assert central.store.read(templates.get, "dtmi:test:Model;1") == template


async def test_the_operators_changes_to_templates_survive_a_restart(tmp_path):
    first, second = {"@id": "dtmi:test:A;1"}, {"@id": "dtmi:test:B;1"}
    async with open_central(tmp_path, templates=(first, second)) as central:
        central.store.call(templates.put, first["@id"], {**first, "displayName": "Mine"})
        central.store.call(templates.delete, second["@id"])
    async with open_central(tmp_path, templates=(first, second)) as central:
        assert central.store.read(templates.get_all) == {
            first["@id"]: {**first, "displayName": "Mine"}
        }
    newer = {**first, "description": "With more in it"}
    async with open_central(tmp_path, templates=(newer, second)) as central:
        assert central.store.read(templates.get_all) == {first["@id"]: newer}


async def test_a_damaged_group_key_is_an_error(tmp_path):
    (tmp_path / "central.db").touch()
    (tmp_path / "group-key").write_text("nonsense")
    with pytest.raises(StartError, match="group-key does not hold a key"):
        await start(tmp_path)


async def test_the_group_key_of_another_central_is_an_error(tmp_path):
    async with open_central(tmp_path / "other"):
        pass
    async with open_central(tmp_path / "mine"):
        pass
    file = tmp_path / "mine" / "group-key"
    own = file.read_bytes()
    file.write_bytes((tmp_path / "other" / "group-key").read_bytes())
    with pytest.raises(StartError, match="group-key holds another key than at the last start"):
        await start(tmp_path / "mine")
    file.write_bytes(own)
    async with open_central(tmp_path / "mine"):
        pass
    file.write_bytes(b"")  # A new key is wanted, and kept.
    for _ in range(2):
        async with open_central(tmp_path / "mine") as central:
            assert central.registry.group_key.encode() != own.strip()


@pytest.mark.parametrize("name", ["group-key", "ca.pem", "ca-key.pem", "device-ca.pem"])
async def test_a_lost_file_is_replaced_only_on_request(tmp_path, caplog, name):
    data = tmp_path / "two words"
    async with open_central(data) as central:
        id_scope = central.id_scope
    before = (data / name).read_bytes()
    (data / name).unlink()
    for _ in range(2):  # The refused start makes nothing either.
        with pytest.raises(FileMissing, match=f"{name} is missing") as missing:
            await start(data)
    command = str(missing.value).rpartition(": ")[2]
    assert shlex.split(command) == ["touch", str(data / name)]
    (data / name).touch()
    async with open_central(data) as central:
        assert central.id_scope == id_scope
        assert (data / name).read_bytes() not in {before, b""}
    assert f"{name} was empty, so a new one is made" in caplog.text


async def test_a_lost_database_is_replaced_only_on_request(tmp_path):
    async with open_central(tmp_path) as central:
        id_scope, group_key = central.id_scope, central.registry.group_key
    (tmp_path / "central.db").unlink()
    with pytest.raises(FileMissing, match=r"central\.db is missing; with a new one, the ID scope"):
        await start(tmp_path)
    (tmp_path / "central.db").touch()
    async with open_central(tmp_path) as central:
        assert central.id_scope != id_scope
        assert central.registry.group_key == group_key


async def test_a_first_start_that_failed_can_be_repeated(tmp_path):
    with pytest.raises(UnknownAddress):
        await start(tmp_path, listen="192.0.2.1")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "central.db").touch()  # Interrupted before it made anything else.
    for data in (tmp_path, tmp_path / "second"):
        async with open_central(data) as central:
            assert central.ca_file.exists()


async def test_a_data_directory_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="as data directory: it is a file"):
        await start(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory of another user")
async def test_root_does_not_use_the_directory_of_another_user(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 65534, 65534)
    with pytest.raises(StartError, match="Put `sudo -u nobody` before the command"):
        await start(data)
    assert list(data.iterdir()) == []


@several_loopbacks
def test_a_file_of_another_user_is_an_error_of_one_sentence(tmp_path):
    (tmp_path / "central.db").touch(0o666)
    (tmp_path / "group-key").write_text("mine\n")
    (tmp_path / "group-key").chmod(0)
    options = ["--data", tmp_path, "--listen", own_address(), "--http-port", str(free_port())]
    done = agent("central", *options, program=AS_ORDINARY_USER, cwd=ROOT)
    assert done.returncode == 1
    [sentence] = done.stderr.splitlines()
    assert "Permission denied" in sentence
    assert str(tmp_path / "group-key") in sentence


@pytest.fixture
def loopbacks(monkeypatch):
    """Two addresses in place of 127.0.0.1 and the next one, and a port that is free on both."""
    addresses = [own_address(), own_address()]
    monkeypatch.setattr("central.transport.listener.LOOPBACK", addresses[0])
    monkeypatch.setattr("central.transport.listener.LOOPBACKS", addresses)
    return *addresses, free_port(addresses[0])


@several_loopbacks
def test_if_the_port_is_taken_the_next_loopback_address_is_used(caplog, loopbacks):
    address, following, port = loopbacks
    with listen_for_mqtt(address, port) as first, listen_for_mqtt(address, port) as second:
        assert first.getsockname() == (address, port)
        assert second.getsockname() == (following, port)
    assert f"Port {port} of {address} is taken." in caplog.messages
    assert f"Listening on {following} instead." in caplog.messages


@several_loopbacks
def test_a_taken_port_of_another_address_is_an_error():
    address = own_address()
    port = free_port(address)
    with listen(address, port), pytest.raises(PortTaken, match="lsof"):
        listen_for_mqtt(address, port)


def test_with_one_loopback_address_a_taken_port_is_an_error(monkeypatch, loopbacks):
    # As on macOS.
    address, _, port = loopbacks
    monkeypatch.setattr("central.transport.listener.LOOPBACKS", [address, "192.0.2.1"])
    with listen(address, port), pytest.raises(PortTaken, match="Stop it, or choose"):
        listen_for_mqtt(address, port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_of_another_machine_is_an_error(host):
    with pytest.raises(UnknownAddress, match=f"'{host}' is not an address of this machine"):
        listen_for_mqtt(host, free_port())


def test_listening_everywhere_has_the_addresses_of_this_machine():
    assert local_names("127.0.0.5") == ["127.0.0.5"]
    names = local_names("0.0.0.0")  # noqa: S104 - looked up, not bound
    assert names
    for name in names:
        socket.inet_pton(socket.AF_INET6 if ":" in name else socket.AF_INET, name)


@several_loopbacks
def test_central_can_listen_on_all_addresses(tmp_path):
    with running_central(tmp_path, listen="0.0.0.0", mqtt_port=0) as central:  # noqa: S104 - on purpose
        for host in ("127.0.0.1", "127.0.0.3", central.info["mqtt_host"]):
            central.info["mqtt_host"] = host
            with MqttClient(central) as client:
                client.send(b"\x10\x0d\0\4MQTT\5\2\0\0\0\1x")
                assert client.receive(2)


@several_loopbacks
def test_several_centrals_run_side_by_side(tmp_path):
    with (
        running_central(tmp_path / "a", listen=LOOPBACK) as one,
        running_central(tmp_path / "b", listen=LOOPBACK) as two,
        running_central(tmp_path / "c", listen=LOOPBACK) as three,
    ):
        addresses = {(c.info["mqtt_host"], c.info["mqtt_port"]) for c in (one, two, three)}
        assert len(addresses) == 3
        assert len({c.info["id_scope"] for c in (one, two, three)}) == 3
        assert len({c.info["http"] for c in (one, two, three)}) == 3
        for central in (one, two, three):
            central.call(lambda c: c.registry.add_device("pi-1"))
            with MqttClient(central) as client:
                assert client.connect_as(central, "pi-1")[1] == 0


def test_stopping_disconnects_the_devices(tmp_path):
    with running_central(tmp_path, mqtt_port=0) as central:
        central.call(lambda c: c.registry.add_device("pi-1"))
        connected, silent = MqttClient(central), MqttClient(central)
        connected.connect_as(central, "pi-1")
    assert connected.is_closed_by_server()
    assert silent.is_closed_by_server()
    connected.close()
    silent.close()
    with running_central(tmp_path, mqtt_port=0) as central:
        log = central.read(history.connections, "pi-1")
        assert (log[0].event, log[0].detail) == ("disconnected", "central stopped")


def open_files():
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - a count, no paths


async def test_stopping_leaves_no_task_or_open_file(tmp_path):
    before = open_files()
    async with open_central(tmp_path):
        pass
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert open_files() <= before


def test_a_client_without_connect_is_disconnected(tmp_path, monkeypatch):
    monkeypatch.setattr("central.transport.listener.PATIENCE", 0.3)
    with running_central(tmp_path, mqtt_port=0) as central:
        with MqttClient(central) as silent:
            assert silent.is_closed_by_server()
        with MqttClient(central) as half:
            half.send(b"\x10\x7f\0\4MQTT")
            assert half.is_closed_by_server()
        with socket.create_connection(central.address, timeout=20) as no_tls:
            assert no_tls.recv(1) == b""


def test_a_client_without_tls_is_disconnected(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with (
        running_central(tmp_path, mqtt_port=0) as central,
        socket.create_connection(central.address, timeout=20) as plain,
    ):
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while plain.recv(1000):
            pass
    assert any("TLS handshake with a client failed" in message for message in caplog.messages)


def send_telemetry(client, numbers):
    for number in numbers:
        client.publish("devices/pi-1/messages/events/", b"%d" % number, packet_id=number)
        assert client.receive(4).packet_id == number


def test_killing_central_loses_no_acknowledged_message(tmp_path):
    with running_central(tmp_path, mqtt_port=0) as central:
        central.call(lambda c: c.registry.add_device("pi-1"))
    with CentralProcess(tmp_path) as process:
        client = MqttClient(process.start())
        client.connect_as(process, "pi-1")
        client.subscribe("devices/pi-1/messages/devicebound/#", "$iothub/methods/POST/#")
        send_telemetry(client, range(1, 21))
        process.kill()
        assert client.is_closed_by_server()
        with MqttClient(process.start()) as client:
            # The session is saved, too, because the SDK does not subscribe again.
            assert client.connect_as(process, "pi-1") == (True, 0)
            send_telemetry(client, range(21, 31))
        assert process.stop() == 0
    assert not (tmp_path / "central.json").exists()
    with running_central(tmp_path, mqtt_port=0) as central:
        kept = central.read(telemetry.messages, "pi-1")
        assert sorted(int(m.body) for m in kept) == list(range(1, 31))


def test_calls_and_connections_of_a_killed_central_are_ended(tmp_path):
    with running_central(tmp_path, mqtt_port=0) as central:
        central.call(lambda c: c.registry.add_device("pi-1"))
    with CentralProcess(tmp_path) as process, ThreadPoolExecutor(1) as pool:
        client = MqttClient(process.start())
        client.connect_as(process, "pi-1")
        client.subscribe("$iothub/methods/POST/#")
        send_telemetry(client, [1])
        path = f"{process.info['http']}api/devices/pi-1/commands/blink"
        asked = pool.submit(urllib.request.urlopen, urllib.request.Request(path, b"{}"))
        client.receive(3)
        process.kill()
        assert asked.exception(30) is not None
        client.close()
    with running_central(tmp_path, mqtt_port=0) as central:
        newest, before = central.read(history.connections, "pi-1")
        [message] = central.read(telemetry.messages, "pi-1")
        assert (newest.event, before.event) == ("disconnected", "connected")
        assert newest.at == message.received
        [command] = central.read(history.commands, "pi-1")
        assert (command.status, command.answered) == (504, None)
    with running_central(tmp_path, mqtt_port=0) as central:
        assert len(central.read(history.connections, "pi-1")) == 2


def test_queued_commands_survive_a_restart(tmp_path):
    with running_central(tmp_path, mqtt_port=0) as central:
        central.call(lambda c: c.registry.add_device("pi-1"))
        with MqttClient(central) as client:
            client.connect_as(central, "pi-1")
            client.subscribe("devices/pi-1/messages/devicebound/#")
            central.call(lambda c: c.hub.queue_command("pi-1", "turnon", None))
            sent = client.receive(3)
        central.call(lambda c: c.hub.queue_command("pi-1", "turnoff", None))
    with running_central(tmp_path, mqtt_port=0) as central, MqttClient(central) as client:
        client.connect_as(central, "pi-1")
        again, fresh = client.receive(3), client.receive(3)
    assert (again.duplicate, again.topic, again.packet_id) == (True, sent.topic, sent.packet_id)
    assert "method-name=turnoff" in fresh.topic


def test_a_command_that_expired_is_not_delivered(tmp_path):
    now = time.time()
    with running_central(tmp_path, mqtt_port=0, clock=lambda: now) as central:
        central.call(lambda c: c.registry.add_device("pi-1"))
        central.call(lambda c: c.hub.queue_command("pi-1", "turnon", None))
    with (
        running_central(tmp_path, mqtt_port=0, clock=lambda: now + 24 * 3600) as central,
        MqttClient(central) as client,
    ):
        token_lives = 3 * 24 * 3600
        assert client.connect_as(central, "pi-1", ttl=token_lives)[1] == 0
        client.subscribe("devices/pi-1/messages/devicebound/#")
        assert client.is_silent()


def test_a_taken_console_port_is_an_error_of_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = agent("central", "--data", tmp_path, "--http-port", port)
    assert ended.returncode == 1
    assert f"Port {port} of 127.0.0.1 is taken" in ended.stderr
    assert "Traceback" not in ended.stderr
