"""The proxy for programs that use Azure's host names."""

import base64
import socket
import ssl
from urllib.parse import urlsplit

import pytest
from centrals import running_central

from central.transport.proxy import MAX_HEADER


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
def test_a_tunnel_leads_to_central_under_any_of_its_names(central, connection, name):
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
def test_http_tunnels_to_other_hosts_are_refused(connection, target):
    assert connect_to(connection, target).startswith("HTTP/1.1 403 ")


WEBSOCKET = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
)


@pytest.mark.parametrize(
    ("path", "protocol", "status"),
    [
        ("/$iothub/websocket", "mqtt", 101),
        ("/$iothub/websocket?iothub-no-client-cert=true", "mqtt", 101),
        ("/elsewhere", "mqtt", 404),
        ("/$iothub/websocket", "soap", 404),
    ],
)
def test_port_443_leads_to_websockets(central, connection, path, protocol, status):
    assert connect_to(connection, "x.azure-devices.net:443").startswith("HTTP/1.1 200 ")
    context = ssl.create_default_context(cadata=central.ca)
    with context.wrap_socket(connection, server_hostname="x.azure-devices.net") as secure:
        answer = ask(secure, WEBSOCKET.format(path=path, protocol=protocol).encode())
        assert answer.startswith(f"HTTP/1.1 {status} ")
        if status == 101:
            # Accept for the key above is the one in RFC 6455, section 1.3.
            assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
            mqtt = b"\x10\x0d\0\4MQTT\5\2\0\0\0\1x"
            for part in (mqtt[:4], mqtt[4:]):
                secure.sendall(bytes([0x82, 0x80 | len(part), 0, 0, 0, 0]) + part)
            assert secure.recv(6) == b"\x82\4\x20\2\0\1"
        else:
            assert secure.recv(1) == b""


def test_an_invalid_frame_ends_the_connection(central, connection):
    connect_to(connection, "x.azure-devices.net:443")
    context = ssl.create_default_context(cadata=central.ca)
    with context.wrap_socket(connection, server_hostname="x.azure-devices.net") as secure:
        ask(secure, WEBSOCKET.format(path="/$iothub/websocket", protocol="mqtt").encode())
        secure.sendall(b"\xff" * 100)
        close = secure.recv(100)
        assert (close[:1], close[2:4]) == (b"\x88", b"\x03\xea")  # 1002: protocol error.
        assert secure.recv(1) == b""


# SOCKS5


def receive(connection, count):
    data = b""
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return data


def socks_request(host, port, command=1):
    name = host.encode()
    return bytes([5, command, 0, 3, len(name)]) + name + port.to_bytes(2)


def test_socks_leads_to_central(central, connection):
    connection.sendall(b"\5\2\0\2")
    assert receive(connection, 2) == b"\5\0"
    connection.sendall(socks_request("x.azure-devices.net", 8883))
    assert receive(connection, 10)[:2] == b"\5\0"
    context = ssl.create_default_context(cadata=central.ca)
    with context.wrap_socket(connection, server_hostname="x.azure-devices.net") as secure:
        secure.sendall(b"\x10\x0d\0\4MQTT\5\2\0\0\0\1x")
        assert secure.recv(4) == b"\x20\2\0\1"


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (socks_request("example.org", 8883), 2),
        (b"\5\1\0\1\x08\x08\x08\x08\x22\xb3", 2),
        (b"\5\1\0\4" + bytes(15) + b"\2\x22\xb3", 2),
        (socks_request("x.azure-devices.net", 8883, command=2), 7),
    ],
)
def test_socks_tunnels_to_other_hosts_are_refused(connection, request_, reply):
    connection.sendall(b"\5\1\0" + request_)
    assert receive(connection, 2) == b"\5\0"
    assert receive(connection, 10)[1] == reply
    assert connection.recv(1) == b""


def test_socks_with_another_authentication_method_is_refused(connection):
    connection.sendall(b"\5\1\2")
    assert receive(connection, 3) == b"\5\xff"


@pytest.fixture
def guarded(tmp_path):
    with running_central(tmp_path, proxy_user="ada", proxy_password="secret") as central:
        proxy = urlsplit(central.info["proxy"])
        with socket.create_connection((proxy.hostname, proxy.port), timeout=20) as connection:
            yield connection


@pytest.mark.parametrize(("password", "status"), [("secret", 200), ("wrong", 407), (None, 407)])
def test_http_can_require_a_password(guarded, password, status):
    token = base64.b64encode(f"ada:{password}".encode()).decode()
    header = f"Proxy-Authorization: Basic {token}\r\n" if password else ""
    answer = ask(guarded, f"CONNECT x.azure-devices.net:8883 HTTP/1.1\r\n{header}\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ")


@pytest.mark.parametrize(("password", "status"), [(b"secret", 0), (b"wrong!", 1)])
def test_socks_can_require_a_password(guarded, password, status):
    guarded.sendall(b"\5\2\0\2")
    assert receive(guarded, 2) == b"\5\2"
    guarded.sendall(b"\1\3ada" + bytes([len(password)]) + password)
    assert receive(guarded, 2) == bytes([1, status])
    if status == 0:
        guarded.sendall(socks_request("x.azure-devices.net", 8883))
        assert receive(guarded, 10)[1] == 0


def test_other_methods_are_refused(connection):
    assert ask(connection, b"GET http://localhost/ HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 405 ")


def test_bytes_that_are_not_a_request_are_refused(connection):
    assert ask(connection, b"\x16\x03\x01\r\n\r\n").startswith("HTTP/1.1 405 ")


def test_a_header_without_end_is_refused(connection):
    assert ask(connection, b"x" * (MAX_HEADER + 100)).startswith("HTTP/1.1 400 ")


def test_a_client_that_sends_no_request_is_disconnected(connection, monkeypatch):
    monkeypatch.setattr("central.transport.proxy.PATIENCE", 0.1)
    # The one that is connected already waits by the old value; a new one does not.
    with socket.create_connection(connection.getpeername(), timeout=20) as silent:
        assert ask(silent, b"CONNECT ").startswith("HTTP/1.1 400 ")
