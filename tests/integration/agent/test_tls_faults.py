"""Why TLS with a server fails: the same sentences in the journal, with the real SDK, and in doctor.

Where the fault is not central's, a small server answers at the name of an Azure service.
"""

import asyncio
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version

import pytest
import trustme
from addresses import own_address
from centrals import running_central
from clouds import Cloud
from ways import CERTIFICATE, CONNECTION_STRING, PROVISIONING

from agent.cloud.hub import AzureHub
from agent.config.credentials import Credentials
from agent.config.loader import CloudConfig
from agent.device.model import CELSIUS
from agent.diagnostics.finding import Outcome
from agent.diagnostics.route import Route, newest_tls
from agent.errors import CloudError, TlsError

SDK = version("azure-iot-device")
AZURE = "global.azure-devices-provisioning.net"
WITH_KEY = Credentials(key="c2VjcmV0")
SIGN_IN = (
    "Another server answers instead of Azure, such as the sign-in page of a guest network: "
    "sign in with a browser on this network, or use another network."
)
AUTHORITY = trustme.CA(organization_name="Guest Network Ltd")


@pytest.fixture
def names(monkeypatch):
    """Names and the addresses that they are looked up as, for the whole process."""
    known: dict[str, str] = {}
    real = socket.getaddrinfo

    def look_up(host, *arguments, **options):
        return real(known.get(host, host), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def route_of(cloud, *, ca):
    """Return the doctor's route with the installed SDK."""
    name, host = ("hub", cloud.hub) if cloud.hub else ("provisioning", cloud.provisioning_host)
    return Route(
        name,
        host,
        cloud,
        ca=ca,
        newest_tls=newest_tls(SDK),
        resolve=socket.getaddrinfo,
    )


async def both_sentences(cloud, *, ca, credentials):
    """Return the sentence of the journal, and the doctor's line with its advice."""
    access = AzureHub(
        cloud=cloud,
        credentials=replace(credentials, ca=ca),
        device_id="pi-1",
        model_id=CELSIUS,
    )
    with pytest.raises(TlsError) as caught:
        async with access.connect(await access.register(cloud.id_scope), asyncio.Queue()):
            pass  # It is not reached.
    route = route_of(cloud, ca=ca)
    try:
        finding = route.tls
    finally:
        route.close()
    assert finding.outcome is Outcome.FAILED
    return str(caught.value), f"{finding.line} {finding.advice}"


async def sentence(cloud, *, ca, credentials=WITH_KEY):
    """Return the sentence, which must be the same in the journal and in the doctor."""
    journal, doctor = await both_sentences(cloud, ca=ca, credentials=credentials)
    assert journal == doctor
    return journal


TODAY = datetime.now(UTC).strftime("%Y-%m-%d")


def a_year(sign):
    now = datetime.now(UTC)
    return now.timestamp() + sign * 365 * 86400


def day(moment):
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


IN_THE_STRING = "HostName in connection_string_file"
SETTINGS = {
    PROVISIONING: "provisioning_host in [cloud]",
    CONNECTION_STRING: IN_THE_STRING,
    CERTIFICATE: IN_THE_STRING,
}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            {"certificate": "another-authority"},
            (
                'The certificate of HOST was issued by "another authority", which is not an '
                "authority in ca_file = CA_FILE (VERIFY). Put the certificate of the server's "
                "authority into that file, or remove ca_file from [cloud] if the server is "
                "Azure's."
            ),
        ),
        (
            {"certificate": "another-host"},
            (
                "The certificate that HOST presents is for portal.example.org. If this is the "
                "right server, set SETTING to its name, or give it a certificate for HOST; "
                "otherwise another server answers in its place: ask whoever runs the network."
            ),
        ),
        (
            {"certificate": "expired"},
            (
                f"The certificate of HOST expired on {day(a_year(-1))}, and this machine's clock "
                f"says {TODAY}. If the clock is wrong, set it (timedatectl); if it is right, the "
                "server needs a new certificate."
            ),
        ),
        (
            {"certificate": "not-yet-valid"},
            (
                f"The certificate of HOST is not valid before {day(a_year(1))}, and this machine's "
                f"clock says {TODAY}. If the clock is wrong, set it (timedatectl); if it is right, "
                "the server needs another certificate."
            ),
        ),
        (
            {"network": "http"},
            (
                "HOST port 8883 replied in plain HTTP instead of TLS. A web server, proxy or "
                "firewall answers instead of the service: check SETTING, or ask whoever "
                "runs the network."
            ),
        ),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
async def test_what_is_wrong_with_centrals_certificate_is_named(tmp_path, way, fault, expected):
    with running_central(tmp_path / "central") as central:
        cloud = Cloud(central, tmp_path / "pi", way)
        [(name, value)] = fault.items()
        await cloud.ask(lambda central: setattr(central.faults, name, value))
        given = cloud.credentials
        said = await sentence(cloud.config, ca=given.ca, credentials=given)
    expected = expected.replace("HOST", central.info["mqtt_host"])
    expected = expected.replace("SETTING", SETTINGS[way])
    expected = expected.replace("CA_FILE", str(cloud.config.ca_file))
    before, _, after = expected.partition("VERIFY")
    assert said.startswith(before)
    assert said.endswith(after)


async def test_a_certificate_without_host_names_is_refused_though_its_common_name_fits(
    tmp_path, names
):
    with running_central(tmp_path / "central") as central:
        cloud = Cloud(central, tmp_path / "pi")
        names["localhost"] = cloud.config.provisioning_host
        config = replace(cloud.config, provisioning_host="localhost")
        await cloud.ask(lambda central: setattr(central.faults, "certificate", "no-names"))
        assert await sentence(config, ca=cloud.credentials.ca) == (
            "The certificate of localhost names no host: it has no subject alternative name. The "
            "server needs a certificate with the subject alternative name localhost."
        )


@pytest.mark.parametrize(
    ("fault", "trusts_central", "expected"),
    [
        (
            {"network": "portal"},
            True,
            (
                f"{AZURE} port 8883 replied in plain HTTP instead of TLS and redirects to "
                f"http://portal.example.org/sign-in. {SIGN_IN}"
            ),
        ),
        (
            {"certificate": "another-host"},
            True,
            f"The certificate that {AZURE} presents is for portal.example.org. {SIGN_IN}",
        ),
        (
            {"certificate": "another-authority"},
            False,
            (
                f'The certificate of {AZURE} was issued by "another authority", which is not a '
                "public authority: a proxy or firewall inspects the connection. Ask whoever runs "
                f"the network to exempt {AZURE}, or set ca_file in [cloud] to the certificate of "
                "that authority."
            ),
        ),
    ],
    ids=["portal", "portal-with-tls", "inspecting-proxy"],
)
async def test_what_central_shows_in_the_place_of_azure_is_named(
    tmp_path, names, fault, trusts_central, expected
):
    with running_central(tmp_path / "central") as central:
        cloud = Cloud(central, tmp_path / "pi")
        names[AZURE] = cloud.config.provisioning_host
        [(name, value)] = fault.items()
        await cloud.ask(lambda central: setattr(central.faults, name, value))
        config = CloudConfig(id_scope=cloud.config.id_scope)
        ca = cloud.credentials.ca if trusts_central else OTHER
        assert await sentence(config, ca=ca) == expected


async def test_an_authority_of_its_own_is_named_with_ca_file(tmp_path, way):
    with running_central(tmp_path / "central") as central:
        cloud = Cloud(central, tmp_path / "pi", way)
        unknown = replace(cloud.config, ca_file=None)
        said = await sentence(unknown, ca=None, credentials=cloud.credentials)
    assert said.startswith(
        f"The certificate of {central.info['mqtt_host']} was issued by "
        f'"sensor-agent central hub {socket.gethostname()}", which this machine does not trust ('
    )
    assert said.endswith(
        "). If it is the server's own authority, set ca_file in [cloud] to its certificate; "
        "otherwise a proxy or firewall inspects the connection: ask whoever runs the network."
    )


@contextmanager
def serving(answer):
    """Answer each connection with `answer(connection)`, and return the address."""
    address = own_address()

    def serve():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client, suppress(OSError):
                client.settimeout(5)
                answer(client)

    with socket.create_server((address, 8883)) as server:
        thread = threading.Thread(target=serve, name="server-of-a-test")
        thread.start()
        try:
            yield address
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def with_tls(*certified, authority=AUTHORITY):
    """Return an answer: a TLS handshake with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*certified).configure_cert(context)

    def answer(client):
        with context.wrap_socket(client, server_side=True) as connection:
            connection.recv(1)

    return answer


def in_http(head):
    """Return an answer: the head of a web page."""

    def answer(client):
        client.recv(4096)
        client.sendall(head + b"\r\n\r\n")

    return answer


def hang_up(client):
    client.recv(4096)


def refuse_the_version(client):
    client.recv(4096)
    client.sendall(b"\x15\x03\x03\x00\x02\x02\x46")  # Alert 70, protocol_version (RFC 8446).


PUBLIC = AUTHORITY.cert_pem.bytes().decode()
OTHER = trustme.CA(organization_name="other").cert_pem.bytes().decode()
TRUSTED = f'The certificate of {AZURE} was issued by "Guest Network Ltd"'


@pytest.mark.parametrize("only", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_doctor_accepts_the_versions_of_tls_that_the_sdk_does(names, only):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = only
    AUTHORITY.issue_cert(AZURE).configure_cert(context)
    heard = []

    def answer(client):
        with context.wrap_socket(client, server_side=True) as connection:
            heard.append(connection.recv(100))

    with serving(answer) as address:
        names[AZURE] = address
        config = CloudConfig(id_scope="0ne00000000")
        access = AzureHub(
            cloud=config,
            credentials=replace(WITH_KEY, ca=PUBLIC),
            device_id="pi-1",
            model_id=CELSIUS,
        )
        with pytest.raises(CloudError):  # It is not a provisioning service.
            await access.register(config.id_scope)
        the_sdk_does = any(heard)
        assert the_sdk_does is (only is ssl.TLSVersion.TLSv1_2 or not SDK.startswith("2.14."))
        it = route_of(config, ca=PUBLIC)
        assert (it.tls.outcome is Outcome.OK) is the_sdk_does
        it.close()


@pytest.mark.parametrize(
    ("answer", "ca", "expected"),
    [
        pytest.param(
            in_http(b"HTTP/1.1 302 Found\r\nLocation: http://wifi.example.org/login"),
            OTHER,
            f"{AZURE} port 8883 replied in plain HTTP instead of TLS and redirects to "
            f"http://wifi.example.org/login. {SIGN_IN}",
            id="portal-http",
        ),
        pytest.param(
            in_http(b"HTTP/1.1 511 Network Authentication Required"),
            OTHER,
            f"{AZURE} port 8883 replied in plain HTTP instead of TLS. {SIGN_IN}",
            id="portal-511",
        ),
        pytest.param(
            with_tls("wifi.example.org"),
            PUBLIC,
            f"The certificate that {AZURE} presents is for wifi.example.org. {SIGN_IN}",
            id="portal-trusted",
        ),
        pytest.param(
            with_tls("wifi.example.org"),
            OTHER,
            f"The certificate that {AZURE} presents is for wifi.example.org. {SIGN_IN}",
            id="portal-untrusted",
        ),
        pytest.param(
            with_tls(AZURE),
            OTHER,
            f"{TRUSTED}, which is not a public authority: a proxy or firewall inspects the "
            f"connection. Ask whoever runs the network to exempt {AZURE}, or set ca_file in "
            "[cloud] to the certificate of that authority.",
            id="inspecting-proxy",
        ),
        pytest.param(
            with_tls(
                "*.azure-devices-provisioning.net",
                authority=trustme.CA(organization_name="DigiCert Inc"),
            ),
            OTHER,
            f'The certificate of {AZURE} was issued by "DigiCert Inc", which this machine does '
            "not know. Install the package ca-certificates, or update it.",
            id="old-list-of-authorities",
        ),
        pytest.param(
            hang_up,
            OTHER,
            f"The TLS handshake with {AZURE} failed: EOF occurred in violation of protocol. Most "
            "likely a firewall or proxy interrupts it, or the server does not offer TLS 1.2: ask "
            "whoever runs the network or the server.",
            id="interrupted",
        ),
        pytest.param(
            refuse_the_version,
            OTHER,
            f"The TLS handshake with {AZURE} failed: tlsv1 alert protocol version. Most likely a "
            "firewall or proxy interrupts it, or the server does not offer TLS 1.2: ask whoever "
            "runs the network or the server.",
            id="another-version-of-tls",
        ),
    ],
)
async def test_what_answers_in_the_place_of_azure_is_named(names, answer, ca, expected):
    with serving(answer) as address:
        names[AZURE] = address
        assert await sentence(CloudConfig(id_scope="0ne00000000"), ca=ca) == expected


@pytest.mark.parametrize(
    ("issuer", "advice"),
    [
        ("DigiCert Inc", "Remove ca_file from [cloud]: it is not for Azure."),
        ("Inspector", "of its authority, and put that into the file."),
    ],
)
async def test_an_authority_of_azures_name_is_not_in_ca_file(names, tmp_path, issuer, advice):
    authority = trustme.CA(organization_name=issuer)
    ca_file = tmp_path / "ca.pem"
    with serving(with_tls(AZURE, authority=authority)) as address:
        names[AZURE] = address
        cloud = CloudConfig(id_scope="0ne00000000", ca_file=ca_file)
        said = await sentence(cloud, ca=OTHER)
    assert said.startswith(
        f'The certificate of {AZURE} was issued by "{issuer}", which is not an authority in '
        f"ca_file = {ca_file} ("
    )
    assert said.endswith(advice)
