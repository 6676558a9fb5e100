"""The proxy for programs that know Azure's names."""

import socket
import ssl
from urllib.parse import urlsplit

import pytest

from central.proxy import MAX_HEADER


@pytest.fixture
def connection(central):
    proxy = urlsplit(central.info["proxy"])
    with socket.create_connection((proxy.hostname, proxy.port), timeout=20) as connection:
        yield connection


def ask(connection, request):
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        more = connection.recv(4096)
        if not more:
            break
        answer += more
    return answer.decode()


def connect_to(connection, target):
    return ask(connection, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())


@pytest.mark.parametrize(
    "name", ["global.azure-devices-provisioning.net", "any.azure-devices.net", "localhost"]
)
def test_a_tunnel_leads_to_central_under_the_asked_name(central, connection, name):
    assert connect_to(connection, f"{name}:8883").startswith("HTTP/1.1 200 ")
    context = ssl.create_default_context(cadata=central.ca)
    with context.wrap_socket(connection, server_hostname=name) as secure:
        secure.sendall(b"\x10\x0d\0\4MQTT\5\2\0\0\0\1x")
        assert secure.recv(4) == b"\x20\2\0\1"
        assert secure.recv(1) == b""


@pytest.mark.parametrize(
    "target",
    [
        "example.org:8883",
        "global.azure-devices-provisioning.net:22",
        "x.azure-devices.net:80",
        "azure-devices.net:8883",
        "x.azure-devices.net.example.org:8883",
        "127.0.0.1:22",
        "localhost:22",
        "localhost",
        "localhost:99999999",
        ":",
        "",
        "x.azure-devices.net:٨٨٨٣",
    ],
)
def test_there_is_no_way_elsewhere(connection, target):
    assert connect_to(connection, target).startswith("HTTP/1.1 403 ")


def test_websockets_are_said_to_be_missing(connection):
    answer = connect_to(connection, "x.azure-devices.net:443")
    assert answer.startswith("HTTP/1.1 502 ")
    assert "does not speak websockets" in answer


def test_other_methods_are_refused(connection):
    assert ask(connection, b"GET http://localhost/ HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 405 ")


def test_what_is_no_request_is_refused(connection):
    assert ask(connection, b"\x16\x03\x01\r\n\r\n").startswith("HTTP/1.1 405 ")


def test_a_header_without_end_is_refused(connection):
    assert ask(connection, b"x" * (MAX_HEADER + 100)).startswith("HTTP/1.1 400 ")


def test_a_client_that_never_asks_is_let_go(connection, monkeypatch):
    monkeypatch.setattr("central.proxy.PATIENCE", 0.1)
    # The one that is connected already waits by the old value; a new one does not.
    with socket.create_connection(connection.getpeername(), timeout=20) as silent:
        assert ask(silent, b"CONNECT ").startswith("HTTP/1.1 400 ")
