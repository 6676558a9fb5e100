"""Authorities and certificates, made with `cryptography`, and the files that keep them."""

import ipaddress
import logging
import os
import re
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from central.errors import FileMissing, StartError

NAME = "sensor-agent central"
AUTHORITY_LIFETIME = timedelta(days=3650)
LIFETIME = timedelta(days=90)
LEFT = timedelta(days=30)  # With less left, another one is made.
HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validity:
    """When a certificate is valid."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True)
class Authority:
    """The certificate and the key of an authority."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def fingerprint(self) -> str:
        """The SHA-256 fingerprint, as phones and browsers show it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def pem(self) -> str:
        """The certificate in PEM."""
        return pem(self.certificate).decode()

    def issue(
        self,
        key: ec.EllipticCurvePrivateKey,
        common_name: str,
        validity: Validity,
        *,
        usage: x509.ObjectIdentifier,
        names: Iterable[str] = (),
    ) -> x509.Certificate:
        """Return a certificate for one extended key usage, and for host names and addresses."""
        issuer = self.certificate
        builder = (
            _builder(_name(common_name), issuer.subject, key, validity)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True, signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
                ),
                critical=False,
            )
        )
        alternative: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name)
            for name in names
        ]
        if alternative:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternative), critical=False
            )
        return builder.sign(self.key, hashes.SHA256())


def make_authority(
    common_name: str, validity: Validity, constraints: x509.NameConstraints | None = None
) -> Authority:
    """Make an authority; with `constraints`, for some names only."""
    key = new_key()
    name = _name(common_name)
    builder = (
        _builder(name, name, key, validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(digital_signature=False, signs=True), critical=True)
    )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def keep_authority(
    certificate: Path, key: Path, make: Callable[[], Authority], *, new: bool, loss: str
) -> Authority:
    """Return the authority in two files; make it if it is `new`, or if one of them is empty.

    `loss` is what happens if another one takes its place. Raise StartError or OSError.
    """
    if all(file_holds(path, new=new, loss=loss) for path in (certificate, key)):
        try:
            return Authority(read_certificate(certificate, key), _read_key(key))
        except (ValueError, ssl.SSLError) as error:
            raise damaged(certificate, key, error, loss) from None
    authority = make()
    if certificate.exists():
        write_file(certificate, b"")  # If this is interrupted, the next start makes both again.
    write_file(key, key_pem(authority.key))
    write_file(certificate, pem(authority.certificate), mode=0o644)
    return authority


def damaged(certificate: Path, key: Path, error: Exception, loss: str) -> StartError:
    """Return the error for an authority that cannot be used."""
    return StartError(
        f"{certificate} and {key} are damaged, or do not belong together ({error}). Put both back "
        f"from a backup, or empty both to have new ones made ({loss})."
    )


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def names_of(certificate: x509.Certificate) -> set[str]:
    """Return the host names and addresses of a certificate."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = {str(address) for address in found.get_values_for_type(x509.IPAddress)}
    return addresses | {name.lower() for name in found.get_values_for_type(x509.DNSName)}


def end_of(certificate: x509.Certificate) -> datetime:
    """Return until when a certificate is valid."""
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_after_utc
    return certificate.not_valid_after.replace(tzinfo=UTC)  # cryptography before 42.


def is_certifiable(name: str) -> bool:
    """Return whether a name may be in a certificate; not every host name may."""
    return HOST_NAME.fullmatch(name) is not None or is_address(name)


def is_address(name: str) -> bool:
    """Return whether this is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.begins)
        .not_valid_after(validity.ends)
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


# Files


def read_certificate(certificate: Path, key: Path) -> x509.Certificate:
    """Return a certificate, whose key is in the other file. Raise ValueError or OSError."""
    content, _ = certificate.read_bytes(), key.read_bytes()  # load_cert_chain names no file.
    # Checks that the two belong together.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_password)
    return x509.load_pem_x509_certificate(content)


def _read_key(key: Path) -> ec.EllipticCurvePrivateKey:
    found = serialization.load_pem_private_key(key.read_bytes(), None)
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not one that central made")  # noqa: TRY004 - as for other keys.
    return found


def no_password() -> str:
    """Refuse a key with a password; without this, OpenSSL asks on the terminal."""
    raise ValueError("the key has a password")


def pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key in PEM, without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def file_holds(path: Path, *, new: bool, loss: str) -> bool:
    """Return whether a file of the data directory is there; False if it is to be made.

    It is to be made if the directory is `new`, or if the file is empty, which is how the operator
    asks for another one. Raise FileMissing if it was lost.
    """
    try:
        if path.stat().st_size:
            return True
    except FileNotFoundError:
        if not new:
            raise FileMissing(path, loss=loss) from None
    else:
        log.warning("%s was empty, so a new one is made: %s.", path, loss)
    return False


def write_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file atomically and durably, by default one that only its owner can read."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - for the mode
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    temporary.replace(path)


def utc_now(clock: Callable[[], float]) -> datetime:
    """Return the time of a clock in unix seconds."""
    return datetime.fromtimestamp(clock(), UTC).replace(microsecond=0)
