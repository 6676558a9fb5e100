"""The route to a real central: names, ports, certificates, proxies."""

import socket
import ssl
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.config.loader import CloudConfig
from agent.diagnostics import route
from agent.diagnostics.finding import Outcome, skipped
from agent.diagnostics.registry import DEADLINE
from agent.diagnostics.route import Route
from agent.errors import START_CENTRAL
from central.storage import devices


@contextmanager
def route_to(central, *, host=None, ca="", port=None, resolve=None, password=None, **keys):
    cloud = CloudConfig(id_scope="0ne0", key_file=Path("key"), **keys)
    more = {} if resolve is None else {"resolve": resolve}
    it = Route(
        "hub",
        host or central.info["mqtt_host"],
        cloud,
        ca=central.ca if ca == "" else ca,
        port=port or central.info["mqtt_port"],
        password=password,
        **more,
    )
    try:
        yield it
    finally:
        it.close()


def test_every_stage_to_central_is_ok(central):
    with route_to(central) as it:
        assert it.tls.outcome is Outcome.OK, it.tls
        assert it.dns.outcome is it.tcp.outcome is Outcome.OK
        assert "TLSv1.3" in it.tls.details[0]
    # A hub does not see TLS alone as a device.
    assert central.read(devices.get_all) == []


def test_through_centrals_proxy(central):
    with route_to(central, proxy=central.info["proxy"]) as it:
        assert it.tls.outcome is Outcome.OK, (it.dns, it.tcp, it.tls)
        assert "proxy" in it.dns.line
        assert " through " in it.tcp.line


def test_a_silent_name_server_is_reported(central, monkeypatch):
    monkeypatch.setattr(route, "LOOKUP_PATIENCE", 0.05)
    answered = threading.Event()
    with route_to(central, host="hub.test", resolve=lambda *_: answered.wait(60)) as it:
        dns, tcp = it.dns, it.tcp
    answered.set()
    assert dns.line == "Cannot look up hub.test: no name server answered within 0.05 s."
    assert (
        "a name server (cat /etc/resolv.conf)" in dns.advice
    )  # Raspberry Pi OS has no resolvectl.
    assert tcp == skipped("the check hub-dns failed")


def test_looking_up_a_host_ends_before_the_deadline_of_the_check():
    assert route.LOOKUP_PATIENCE < DEADLINE


def test_a_name_without_an_address_fails(central):
    def resolve(_host, _port):
        raise socket.gaierror(-2, "Name or service not known")

    with route_to(central, host="nowhere.test", resolve=resolve) as it:
        assert it.dns.outcome is Outcome.FAILED
        assert "the name has no address" in it.dns.line
        assert it.tcp == it.tls == skipped("the check hub-dns failed")


def test_a_closed_port_fails(central):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with route_to(central, host="127.0.0.1", port=taken.getsockname()[1]) as it:
            assert it.tcp.outcome is Outcome.FAILED
            assert "refused" in it.tcp.line
            assert it.tcp.advice == START_CENTRAL
            assert it.tls == skipped("the check hub-tcp failed")


@pytest.mark.parametrize(
    ("host", "advice"),
    [
        ("hub.azure-devices.net", "A firewall must let port 8883 out"),
        ("central.test", "Is the server on central.test running? A local IoT Central is started"),
        ("localhost", START_CENTRAL),
    ],
)
@pytest.mark.parametrize("error", [ConnectionRefusedError, TimeoutError])
def test_the_advice_fits_the_server_that_is_configured(central, monkeypatch, host, advice, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    with route_to(central, host=host, port=8883, resolve=lambda *_: []) as it:
        assert advice in it.tcp.advice
        assert (advice == START_CENTRAL) == ("firewall" not in it.tcp.advice)


def test_a_missing_proxy_fails(central):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        with route_to(central, proxy=f"http://127.0.0.1:{number}") as it:
            assert it.dns.outcome is Outcome.OK
            assert it.tcp.outcome is Outcome.FAILED
            assert "Check proxy" in it.tcp.advice


def test_a_certificate_of_an_unknown_authority_fails(central):
    with route_to(central, ca=None) as it:
        assert it.tls.outcome is Outcome.FAILED
        assert "ca_file" in it.tls.advice


def test_a_server_without_tls_fails():
    with socket.create_server(("127.0.0.1", 0)) as server:
        it = Route("hub", "127.0.0.1", CLOUD, ca=None, port=server.getsockname()[1])
        assert it.tcp.outcome is Outcome.OK
        client, _ = server.accept()
        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        client.close()
        assert it.tls.outcome is Outcome.FAILED
        assert "TLS handshake with 127.0.0.1 failed" in it.tls.line
        it.close()


def test_a_certificate_that_is_not_yet_valid_points_to_the_clock(central, monkeypatch):
    def refuse(*_, **__):
        error = ssl.SSLCertVerificationError("certificate is not yet valid")
        error.verify_code, error.verify_message = 9, "certificate is not yet valid"
        raise error

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", refuse)
    with route_to(central) as it:
        assert it.tls.outcome is Outcome.FAILED
        assert "clock" in it.tls.advice


@pytest.mark.parametrize(("transport", "port"), [("mqtt", 8883), ("websockets", 443)])
def test_the_port_is_that_of_the_transport(transport, port):
    asked = []

    def resolve(host, number):
        asked.append((host, number))
        raise socket.gaierror(-2, "no")

    cloud = CloudConfig(id_scope="0ne0", key_file=Path("key"), transport=transport)
    assert Route("hub", "hub.test", cloud, ca=None, resolve=resolve).dns.outcome is Outcome.FAILED
    assert asked == [("hub.test", port)]


CLOUD = CloudConfig(id_scope="0ne0", key_file=Path("key"))
