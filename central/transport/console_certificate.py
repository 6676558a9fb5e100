"""The console's certificate: its own, signed by an authority for it alone, or one that is given.

The authority signs for the names of this machine only (RFC 5280, 4.2.1.10): a phone that trusts it
trusts no other site by it. Browsers accept leaves that are valid for at most 397 days:
https://cabforum.org/working-groups/server/baseline-requirements/
"""

import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from central.errors import StartError, in_words
from central.transport.certificates import file_holds, is_address, is_certifiable, write_file

NAME = "sensor-agent central"
AUTHORITY_LIFETIME = timedelta(days=3650)
LIFETIME = timedelta(days=90)
LEFT = timedelta(days=30)  # With less left, another one is made.
SKEW = timedelta(days=2)  # By which a client's clock may be late.
LOSS = "phones and browsers that trust the old one warn of the console"

# Networks that are private or of this machine: its address there may change.
NETWORKS = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Authority:
    """The authority of the console's own certificate."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def fingerprint(self) -> str:
        """The SHA-256 fingerprint, as phones and browsers show it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    def covers(self, name: str) -> bool:
        """Return whether it may sign for a host name or an address."""
        found = self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        permitted = [each.value for each in found.permitted_subtrees or ()]
        if is_address(name):
            address = ipaddress.ip_address(name)
            networks = (ipaddress.IPv4Network, ipaddress.IPv6Network)
            return any(address in each for each in permitted if isinstance(each, networks))
        parents = [each for each in permitted if isinstance(each, str)]
        return any(name.lower() == each or name.lower().endswith(f".{each}") for each in parents)


def load_authority(directory: Path, names: Iterable[str], now: datetime) -> Authority:
    """Return the authority in this directory; make it for these names if it is missing.

    It is also made if one of its files is empty. Raise StartError.
    """
    certificate, key = directory / "console-ca.pem", directory / "console-ca-key.pem"
    new = not (certificate.exists() or key.exists())
    if all(file_holds(path, new=new, loss=LOSS) for path in (certificate, key)):
        try:
            found = Authority(_read(certificate, key), _read_key(key))
            found.certificate.extensions.get_extension_for_class(x509.NameConstraints)
        except (ValueError, ssl.SSLError, x509.ExtensionNotFound) as error:
            raise StartError(
                f"{certificate} and {key} are damaged, or do not belong together ({error}). Put "
                f"both back from a backup, or empty both to have new ones made ({LOSS})."
            ) from None
        return found
    authority = _new_authority(names, now)
    if certificate.exists():
        write_file(certificate, b"")  # If this is interrupted, the next start makes both again.
    write_file(key, _key_pem(authority.key))
    write_file(certificate, _pem(authority.certificate), mode=0o644)
    return authority


def _new_authority(names: Iterable[str], now: datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    # The host's name, to tell the authorities of two machines apart on a phone.
    name = _name(f"{NAME} {socket.gethostname()}"[:64])
    usage = _usage(digital_signature=False, signs=True)
    builder = (
        _builder(name, name, key, now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.NameConstraints(_permitted(names), None), critical=True)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def _permitted(names: Iterable[str]) -> list[x509.GeneralName]:
    certifiable = [name.lower() for name in names if is_certifiable(name)]
    hosts = dict.fromkeys(name for name in certifiable if not is_address(name))
    networks = [ipaddress.ip_network(each) for each in NETWORKS]
    for name in certifiable:
        if is_address(name) and not any(ipaddress.ip_address(name) in each for each in networks):
            networks.append(ipaddress.ip_network(name))
    return [*map(x509.DNSName, hosts or ["localhost"]), *map(x509.IPAddress, networks)]


class ConsoleCertificate:
    """The console's certificate in a TLS context, which `refresh` keeps up to date."""

    def __init__(self, certificate: Path, key: Path, authority: Authority | None) -> None:
        """Use the two PEM files. With `authority`, they are made; without, they are given."""
        self._files = certificate, key
        self.authority = authority
        self._loaded: object = None
        self._left_out: set[str] = set()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2

    def refresh(self, names: Iterable[str], now: datetime) -> frozenset[str]:
        """Make another certificate if needed, load a changed one, and return its names.

        Open connections keep the one before. Raise StartError if the files cannot be used.
        """
        if self.authority is not None:
            self._make(self.authority, names, now)
        certificate, key = self._files
        try:
            state = [(path.stat().st_mtime_ns, path.stat().st_ino) for path in self._files]
            found = _read(certificate, key)
            if state != self._loaded:
                self.context.load_cert_chain(certificate, key, _no_password)
                self._loaded = state
        except (ValueError, ssl.SSLError) as error:
            raise StartError(
                f"{certificate} and {key} are not a certificate and its key in PEM ({error})."
            ) from None
        except OSError as error:
            raise StartError(f"Cannot read the console's certificate: {in_words(error)}.") from None
        if _ends(found) < now + SKEW:
            log.warning(
                "The console's certificate %s is valid until %s only. Replace it.",
                certificate,
                _ends(found).isoformat(sep=" ", timespec="minutes"),
            )
        return frozenset(names_of(found))

    def _make(self, authority: Authority, names: Iterable[str], now: datetime) -> None:
        """Make a certificate, unless the one before is good for these names."""
        certificate, key = self._files
        wanted = {name.lower() for name in names if is_certifiable(name)}
        left_out = {name for name in wanted if not authority.covers(name)}
        if left_out - self._left_out:
            log.warning(
                "The console's authority may not sign for %s. To have a new authority made, empty "
                "%s (%s).",
                ", ".join(sorted(left_out)),
                certificate.with_name("console-ca.pem"),
                LOSS,
            )
        self._left_out = left_out
        wanted -= left_out
        if _is_good(authority, certificate, key, wanted, now):
            return
        leaf_key = ec.generate_private_key(ec.SECP256R1())
        leaf = _issue(authority, leaf_key, sorted(wanted), now)
        # One file at a time: a key without its certificate is made again.
        write_file(key, _key_pem(leaf_key))
        write_file(certificate, _pem(leaf), mode=0o644)
        log.info("The console has a new certificate, valid until %s.", _ends(leaf).date())


def _is_good(
    authority: Authority, certificate: Path, key: Path, wanted: set[str], now: datetime
) -> bool:
    try:
        found = _read(certificate, key)
        authority.key.public_key().verify(
            found.signature, found.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256())
        )
    except (OSError, ValueError, InvalidSignature):  # SSLError is an OSError.
        return False
    # One from the future was made while the clock was wrong.
    is_valid = now + LEFT <= _ends(found) <= now + LIFETIME
    return is_valid and names_of(found) == wanted


def _issue(
    authority: Authority, key: ec.EllipticCurvePrivateKey, names: Iterable[str], now: datetime
) -> x509.Certificate:
    alternative: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name)
        for name in names
    ]
    issuer = authority.certificate
    return (
        _builder(_name(NAME), issuer.subject, key, now, LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True, signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def names_of(certificate: x509.Certificate) -> set[str]:
    """Return the host names and addresses of a certificate."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = {str(address) for address in found.get_values_for_type(x509.IPAddress)}
    return addresses | {name.lower() for name in found.get_values_for_type(x509.DNSName)}


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, digital_signature: bool, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _read(certificate: Path, key: Path) -> x509.Certificate:
    """Return a certificate, whose key is in the other file. Raise ValueError or OSError."""
    content, _ = certificate.read_bytes(), key.read_bytes()  # load_cert_chain names no file.
    # Checks that the two belong together.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, _no_password)
    return x509.load_pem_x509_certificate(content)


def _read_key(key: Path) -> ec.EllipticCurvePrivateKey:
    found = serialization.load_pem_private_key(key.read_bytes(), None)
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not one that central made")  # noqa: TRY004 - as for other keys.
    return found


def _ends(certificate: x509.Certificate) -> datetime:
    """Return until when a certificate is valid."""
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_after_utc
    return certificate.not_valid_after.replace(tzinfo=UTC)  # cryptography before 42.


def _no_password() -> str:
    raise ValueError("the key has a password")  # Without this, OpenSSL asks on the terminal.


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def utc_now(clock: Callable[[], float]) -> datetime:
    """Return the time of a clock in unix seconds."""
    return datetime.fromtimestamp(clock(), UTC).replace(microsecond=0)
