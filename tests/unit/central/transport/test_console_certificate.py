"""The console's own certificate, and one that is given."""

import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from central.errors import FileMissing, StartError
from central.transport import console_certificate
from central.transport.console_certificate import ConsoleCertificate, covers, load_authority
from central.transport.issuing import LEFT, LIFETIME, end_of, names_of

NAMES = ["192.168.1.10", "pi", "pi.local", "fd00::1"]
LONGEST = timedelta(days=397)  # Accepted by browsers.
# The certificates are checked by OpenSSL, which has a clock of its own.
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def authority(tmp_path):
    return load_authority(tmp_path, NAMES, NOW)


@pytest.fixture
def own(tmp_path, authority):
    return ConsoleCertificate(tmp_path / "console.pem", tmp_path / "console-key.pem", authority)


def loaded(files: tuple[Path, Path]) -> ConsoleCertificate:
    return ConsoleCertificate(*files, authority=None)


def leaf(tmp_path):
    return x509.load_pem_x509_certificate((tmp_path / "console.pem").read_bytes())


def client(tmp_path):
    return ssl.create_default_context(cafile=tmp_path / "console-ca.pem")


def shake_hands(server_context, client_context, name):
    """Return whether a client that asks for `name` accepts the server."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = client_context.wrap_bio(incoming, outgoing, server_hostname=name)
    server_side = server_context.wrap_bio(outgoing, incoming, server_side=True)
    waiting = [client_side, server_side]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return False
    return not waiting


class TestOwn:
    def test_a_client_that_trusts_the_authority_accepts_each_name(self, tmp_path, own):
        assert own.refresh(NAMES, NOW) == frozenset(NAMES)
        for name in NAMES:
            assert shake_hands(own.context, client(tmp_path), name)
        for name in ("localhost", "192.168.1.11", "evil.example"):
            assert not shake_hands(own.context, client(tmp_path), name)

    def test_it_lives_no_longer_than_browsers_accept(self, tmp_path, own):
        own.refresh(NAMES, NOW)
        ends = end_of(leaf(tmp_path))
        assert ends == NOW + LIFETIME
        begins = ends - LIFETIME - console_certificate.SKEW
        assert ends - begins < LONGEST

    def test_keys_are_secret_and_certificates_are_not(self, tmp_path, own):
        own.refresh(NAMES, NOW)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert modes == {
            "console-ca.pem": 0o644,
            "console-ca-key.pem": 0o600,
            "console.pem": 0o644,
            "console-key.pem": 0o600,
        }

    def test_it_is_kept_until_a_month_is_left(self, tmp_path, own):
        own.refresh(NAMES, NOW)
        first = leaf(tmp_path)
        own.refresh(reversed(NAMES), NOW + LIFETIME - LEFT)
        assert leaf(tmp_path) == first
        own.refresh(NAMES, NOW + LIFETIME - LEFT + timedelta(seconds=1))
        assert leaf(tmp_path) != first

    def test_a_running_context_gets_the_renewed_one(self, tmp_path, own):
        own.refresh(["pi"], NOW)
        assert not shake_hands(own.context, client(tmp_path), "pi.local")
        own.refresh(["pi.local"], NOW)
        assert shake_hands(own.context, client(tmp_path), "pi.local")

    def test_one_from_the_future_is_replaced(self, tmp_path, own):
        """It was made while the clock was wrong."""
        own.refresh(NAMES, NOW + timedelta(days=3000))
        own.refresh(NAMES, NOW)
        assert end_of(leaf(tmp_path)) == NOW + LIFETIME

    @pytest.mark.parametrize("name", ["console.pem", "console-key.pem"])
    @pytest.mark.parametrize("content", [b"", b"damaged", None])
    def test_a_lost_or_damaged_one_is_made_again(self, tmp_path, own, name, content):
        own.refresh(NAMES, NOW)
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(content)
        own.refresh(NAMES, NOW)
        assert shake_hands(own.context, client(tmp_path), "pi")

    def test_one_of_another_authority_is_replaced(self, tmp_path, own):
        other = tmp_path / "other"
        other.mkdir()
        paths = tmp_path / "console.pem", tmp_path / "console-key.pem"
        ConsoleCertificate(*paths, load_authority(other, NAMES, NOW)).refresh(NAMES, NOW)
        own.refresh(NAMES, NOW)
        assert shake_hands(own.context, client(tmp_path), "pi")


class TestAuthority:
    def test_it_is_the_same_after_a_restart(self, tmp_path, authority):
        assert load_authority(tmp_path, ["elsewhere"], NOW).certificate == authority.certificate
        assert len(authority.fingerprint) == 32 * 3 - 1

    def test_its_name_on_a_phone_names_the_machine(self, authority):
        assert socket.gethostname()[:20] in authority.certificate.subject.rfc4514_string()

    @pytest.mark.parametrize("name", [*NAMES, "10.1.2.3", "172.31.0.1", "127.0.0.1", "x.pi"])
    def test_it_signs_for_this_machine_and_private_addresses(self, authority, name):
        assert covers(authority, name)

    @pytest.mark.parametrize("name", ["8.8.8.8", "2001:db8::1", "example.org", "local", "xpi"])
    def test_it_signs_for_nothing_else(self, authority, name):
        assert not covers(authority, name)

    def test_clients_refuse_what_it_signs_for_other_names(self, tmp_path, authority, monkeypatch):
        monkeypatch.setattr(console_certificate, "covers", lambda *_: True)
        stolen = ConsoleCertificate(tmp_path / "x.pem", tmp_path / "x-key.pem", authority)
        for name in ("bank.example", "8.8.8.8"):
            stolen.refresh([name], NOW)
            assert not shake_hands(stolen.context, client(tmp_path), name)

    def test_a_public_address_is_covered_from_the_start(self, tmp_path):
        authority = load_authority(tmp_path, ["203.0.113.5"], NOW)
        assert covers(authority, "203.0.113.5")
        assert not covers(authority, "203.0.113.6")

    def test_a_name_that_it_does_not_cover_is_left_out_and_reported_once(self, own, caplog):
        for _ in range(3):
            assert own.refresh([*NAMES, "203.0.113.5"], NOW) == frozenset(NAMES)
        (line,) = [text for text in caplog.messages if "203.0.113.5" in text]
        assert "console-ca.pem" in line

    def test_half_an_authority_is_an_error(self, tmp_path, authority):
        (tmp_path / "console-ca-key.pem").unlink()
        with pytest.raises(FileMissing, match="console-ca-key"):
            load_authority(tmp_path, NAMES, NOW)

    def test_an_emptied_authority_is_made_again(self, tmp_path, authority):
        (tmp_path / "console-ca.pem").write_bytes(b"")
        assert load_authority(tmp_path, NAMES, NOW).certificate != authority.certificate

    @pytest.mark.parametrize("name", ["console-ca.pem", "console-ca-key.pem"])
    def test_a_damaged_authority_is_an_error(self, tmp_path, authority, name):
        (tmp_path / name).write_bytes(b"damaged")
        with pytest.raises(StartError, match="damaged"):
            load_authority(tmp_path, NAMES, NOW)


class TestGiven:
    @pytest.fixture
    def ca(self):
        return trustme.CA()

    @pytest.fixture
    def give(self, tmp_path, ca):
        paths = tmp_path / "given.pem", tmp_path / "given-key.pem"

        def give(*names: str) -> tuple[Path, Path]:
            issued = ca.issue_cert(*names)
            paths[0].write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
            paths[1].write_bytes(issued.private_key_pem.bytes())
            return paths

        return give

    def test_its_own_names_count(self, give):
        given = loaded(give("central.example.org", "192.0.2.1"))
        assert given.refresh(["pi"], NOW) == {"central.example.org", "192.0.2.1"}

    def test_a_replaced_one_is_read_again(self, ca, give):
        given = loaded(give("one.example.org"))
        trusting = ssl.create_default_context()
        ca.configure_trust(trusting)
        given.refresh([], NOW)
        assert shake_hands(given.context, trusting, "one.example.org")
        give("two.example.org")
        assert given.refresh([], NOW) == {"two.example.org"}
        assert shake_hands(given.context, trusting, "two.example.org")

    def test_one_that_ends_soon_is_reported(self, give, caplog):
        given = loaded(give("one.example.org"))
        given.refresh([], NOW + timedelta(days=400_000))
        assert "Replace it" in caplog.text

    def test_an_unusable_one_is_an_error(self, tmp_path, give):
        certificate, key = give("one.example.org")
        key.write_bytes(b"damaged")
        with pytest.raises(StartError, match="not a certificate and its key"):
            ConsoleCertificate(certificate, key, None).refresh([], NOW)
        with pytest.raises(StartError, match="No such file"):
            ConsoleCertificate(tmp_path / "no.pem", key, None).refresh([], NOW)


def test_a_certificate_without_names_has_none(authority):
    assert names_of(authority.certificate) == set()
