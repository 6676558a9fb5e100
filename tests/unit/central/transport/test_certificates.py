"""The hub's certificate, and those that devices sign in with."""

import contextlib
import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509

from central.errors import FileMissing, StartError
from central.transport import certificates, issuing
from central.transport.certificates import HubCertificates
from central.transport.issuing import LEFT, LIFETIME, end_of, is_certifiable, write_file

LONGEST = timedelta(days=397)  # As accepted by browsers.
# The certificates are checked by OpenSSL, which has a clock of its own.
NOW = datetime.now(UTC).replace(microsecond=0)


def load_authority(directory, name="ca", *, new):
    return certificates.load_authority(directory, name, new=new, now=NOW)


def issue_device_certificate(directory, device_id):
    return certificates.issue_device_certificate(directory, device_id, NOW)


def server_context(authority, devices, names):
    return HubCertificates(authority, devices, names, NOW.timestamp).context()


def shake_hands(server, client, name):
    """Complete a TLS handshake in memory; return the TLS version."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        for side in (one, other):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        if one.version():
            return one.version()
    raise AssertionError("no handshake")


@pytest.fixture
def authority(tmp_path):
    return load_authority(tmp_path, new=True)


@pytest.fixture
def device_authority(tmp_path, authority):
    return load_authority(tmp_path, "device-ca", new=True)


@pytest.fixture
def client(authority):
    return ssl.create_default_context(cadata=authority.pem)


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "127.0.0.1",
        "127.0.0.9",
        "::1",
        "192.0.2.7",
        "pi.lan",
        "global.azure-devices-provisioning.net",
        "central.azure-devices.net",
    ],
)
def test_the_certificate_is_valid_for_the_names_that_devices_use(authority, client, name):
    server = server_context(authority, authority, ["192.0.2.7", "pi.lan"])
    assert shake_hands(server, client, name) == "TLSv1.3"


def test_another_name_is_refused(authority, client):
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server_context(authority, authority, []), client, "example.org")


def test_tls_1_2_is_accepted_and_1_1_is_not(authority, client):
    server = server_context(authority, authority, [])
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake_hands(server, client, "localhost") == "TLSv1.2"
    assert server.minimum_version == ssl.TLSVersion.TLSv1_2


class Hub:
    """The hub's certificates at a time that the test sets."""

    def __init__(self, authority):
        self.now = NOW
        self._certificates = HubCertificates(authority, authority, [], self._clock)

    def _clock(self):
        return self.now.timestamp()

    def certificate(self):
        """Return the certificate that a client sees now."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client_side = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
        context = self._certificates.context()
        server_side = context.wrap_bio(outgoing, incoming, server_side=True)
        for side in (client_side, server_side, client_side):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        seen = client_side.getpeercert(binary_form=True)
        assert seen is not None
        return x509.load_der_x509_certificate(seen)


@pytest.fixture
def hub(authority):
    return Hub(authority)


def test_the_hubs_certificate_is_renewed_while_it_runs(hub):
    first = hub.certificate()
    hub.now += LIFETIME - LEFT
    assert hub.certificate() == first
    hub.now += timedelta(seconds=1)
    assert end_of(hub.certificate()) == hub.now + LIFETIME


def test_the_hubs_certificate_is_made_again_when_the_clock_is_corrected(hub):
    hub.now += timedelta(days=3000)
    hub.certificate()
    hub.now = NOW
    assert end_of(hub.certificate()) == NOW + LIFETIME


def test_certificates_live_no_longer_than_browsers_accept(tmp_path, hub, device_authority):
    device = issue_device_certificate(tmp_path, "pi-1")[0].read_bytes()
    for certificate in (hub.certificate(), x509.load_pem_x509_certificate(device)):
        begins = certificate.not_valid_before_utc
        assert NOW + timedelta(days=60) < end_of(certificate) <= begins + LONGEST


def test_a_device_whose_clock_is_months_late_accepts_the_hub(hub):
    assert hub.certificate().not_valid_before_utc < NOW - timedelta(days=200)


def test_a_device_signs_in_with_its_certificate(tmp_path, authority, device_authority, client):
    client.load_cert_chain(*issue_device_certificate(tmp_path, "pi-1"))
    server = server_context(authority, device_authority, [])
    server.verify_mode = ssl.CERT_REQUIRED
    assert shake_hands(server, client, "localhost")


def test_what_an_earlier_version_made_with_trustme_is_still_trusted(tmp_path):
    """The devices have its authority, and sign in with certificates of ten years."""
    for name in ("ca", "device-ca"):
        old = trustme.CA(organization_name="sensor-agent central")
        old.cert_pem.write_to_path(tmp_path / f"{name}.pem")
        old.private_key_pem.write_to_path(tmp_path / f"{name}-key.pem")
    ends = NOW + timedelta(days=3650)
    device = old.issue_cert(common_name="pi-1", not_after=ends)
    client = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    device.configure_cert(client)
    before = (tmp_path / "ca.pem").read_bytes()
    devices = load_authority(tmp_path, "device-ca", new=False)
    server = server_context(load_authority(tmp_path, new=False), devices, [])
    server.verify_mode = ssl.CERT_REQUIRED
    assert shake_hands(server, client, "localhost")
    assert (tmp_path / "ca.pem").read_bytes() == before


def test_a_damaged_authority_is_an_error(tmp_path, authority):
    (tmp_path / "ca-key.pem").write_text("nonsense")
    with pytest.raises(StartError, match=r"ca-key\.pem are damaged"):
        load_authority(tmp_path, new=False)


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem"])
def test_a_file_of_another_authority_is_an_error(tmp_path, authority, name):
    other = tmp_path / "other"
    other.mkdir()
    load_authority(other, new=True)
    (other / name).replace(tmp_path / name)
    with pytest.raises(StartError, match="do not belong together"):
        load_authority(tmp_path, new=False)


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem"])
def test_an_unreadable_file_of_the_authority_is_named(tmp_path, authority, name):
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()  # Root can read any file.
    with pytest.raises(OSError, match=name):
        load_authority(tmp_path, new=False)


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem"])
@pytest.mark.parametrize("written", range(3))
def test_an_interrupted_replacement_is_repeated(
    tmp_path, authority, client, monkeypatch, name, written
):
    (tmp_path / name).write_bytes(b"")
    done: list[str] = []

    def interrupted(path, content, **mode):
        if len(done) == written:
            raise KeyboardInterrupt
        done.append(path.name)
        write_file(path, content, **mode)

    with monkeypatch.context() as patch:
        patch.setattr(issuing, "write_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_authority(tmp_path, new=False)
    found = load_authority(tmp_path, new=False)
    assert found.pem == (tmp_path / "ca.pem").read_text()
    client.load_verify_locations(tmp_path / "ca.pem")
    assert shake_hands(server_context(found, found, []), client, "localhost")


def test_a_lost_authority_of_device_certificates_is_an_error(tmp_path):
    (tmp_path / "ca.pem").touch()
    with pytest.raises(FileMissing, match=r"device-ca\.pem is missing"):
        issue_device_certificate(tmp_path, "pi-1")


def test_a_devices_certificate_never_replaces_another_ones_key(tmp_path):
    _, key = issue_device_certificate(tmp_path, "pi")
    before = key.read_bytes()
    for device_id in ("pi-key", "pi.key", "key"):
        issue_device_certificate(tmp_path, device_id)
    assert key.read_bytes() == before


def test_host_names_that_are_invalid_in_certificates_are_left_out(authority, client):
    names = ["my_pi", "-pi", "", "a..b", "x" * 64, "*.com", "å"]
    assert not any(is_certifiable(name) for name in names)
    assert shake_hands(server_context(authority, authority, names), client, "localhost")
    assert is_certifiable(socket.gethostname()) or "_" in socket.gethostname()


def test_a_secret_replaces_an_older_one_atomically(tmp_path):
    path = tmp_path / "key"
    for content in (b"old", b"new"):
        write_file(path, content)
        assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
