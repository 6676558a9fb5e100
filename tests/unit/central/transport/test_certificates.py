import contextlib
import socket
import ssl
import stat

import pytest

from central.errors import FileMissing, StartError
from central.transport import certificates
from central.transport.certificates import (
    is_certifiable,
    issue_device_certificate,
    load_authority,
    server_context,
    write_file,
)


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
def client(authority):
    return ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())


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
        patch.setattr(certificates, "write_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_authority(tmp_path, new=False)
    found = load_authority(tmp_path, new=False)
    assert found.cert_pem.bytes() == (tmp_path / "ca.pem").read_bytes()
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
