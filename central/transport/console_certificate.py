"""The console's certificate: its own, signed by an authority for it alone, or one that is given.

The authority signs for the names of this machine only (RFC 5280, 4.2.1.10): a phone that trusts it
trusts no other site by it. Browsers accept leaves that are valid for at most 397 days:
https://cabforum.org/working-groups/server/baseline-requirements/
"""

import ipaddress
import logging
import socket
import ssl
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from central.errors import StartError, in_words
from central.transport.issuing import (
    AUTHORITY_LIFETIME,
    LEFT,
    LIFETIME,
    NAME,
    Authority,
    Validity,
    damaged,
    end_of,
    is_address,
    is_certifiable,
    keep_authority,
    key_pem,
    make_authority,
    names_of,
    new_key,
    no_password,
    pem,
    read_certificate,
    write_file,
)

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


def load_authority(directory: Path, names: Iterable[str], now: datetime) -> Authority:
    """Return the authority in this directory; make it for these names if it is missing.

    It is also made if one of its files is empty. Raise StartError.
    """
    certificate, key = directory / "console-ca.pem", directory / "console-ca-key.pem"
    new = not (certificate.exists() or key.exists())

    def make() -> Authority:
        # The host's name, to tell the authorities of two machines apart on a phone.
        name = f"{NAME} {socket.gethostname()}"[:64]
        validity = Validity(now - SKEW, now + AUTHORITY_LIFETIME)
        return make_authority(name, validity, x509.NameConstraints(_permitted(names), None))

    authority = keep_authority(certificate, key, make, new=new, loss=LOSS)
    try:
        _constraints(authority)
    except x509.ExtensionNotFound as error:
        raise damaged(certificate, key, error, LOSS) from None
    return authority


def covers(authority: Authority, name: str) -> bool:
    """Return whether the console's authority may sign for a host name or an address."""
    permitted = [each.value for each in _constraints(authority).permitted_subtrees or ()]
    if is_address(name):
        address = ipaddress.ip_address(name)
        networks = (ipaddress.IPv4Network, ipaddress.IPv6Network)
        return any(address in each for each in permitted if isinstance(each, networks))
    parents = [each for each in permitted if isinstance(each, str)]
    return any(name.lower() == each or name.lower().endswith(f".{each}") for each in parents)


def _constraints(authority: Authority) -> x509.NameConstraints:
    return authority.certificate.extensions.get_extension_for_class(x509.NameConstraints).value


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
            found = read_certificate(certificate, key)
            if state != self._loaded:
                self.context.load_cert_chain(certificate, key, no_password)
                self._loaded = state
        except (ValueError, ssl.SSLError) as error:
            raise StartError(
                f"{certificate} and {key} are not a certificate and its key in PEM ({error})."
            ) from None
        except OSError as error:
            raise StartError(f"Cannot read the console's certificate: {in_words(error)}.") from None
        if end_of(found) < now + SKEW:
            log.warning(
                "The console's certificate %s is valid until %s only. Replace it.",
                certificate,
                end_of(found).isoformat(sep=" ", timespec="minutes"),
            )
        return frozenset(names_of(found))

    def _make(self, authority: Authority, names: Iterable[str], now: datetime) -> None:
        """Make a certificate, unless the one before is good for these names."""
        certificate, key = self._files
        wanted = {name.lower() for name in names if is_certifiable(name)}
        left_out = {name for name in wanted if not covers(authority, name)}
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
        leaf_key = new_key()
        validity = Validity(now - SKEW, now + LIFETIME)
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        leaf = authority.issue(leaf_key, NAME, validity, usage=usage, names=sorted(wanted))
        # One file at a time: a key without its certificate is made again.
        write_file(key, key_pem(leaf_key))
        write_file(certificate, pem(leaf), mode=0o644)
        log.info("The console has a new certificate, valid until %s.", end_of(leaf).date())


def _is_good(
    authority: Authority, certificate: Path, key: Path, wanted: set[str], now: datetime
) -> bool:
    try:
        found = read_certificate(certificate, key)
        authority.key.public_key().verify(
            found.signature, found.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256())
        )
    except (OSError, ValueError, InvalidSignature):  # SSLError is an OSError.
        return False
    # One from the future was made while the clock was wrong.
    is_valid = now + LEFT <= end_of(found) <= now + LIFETIME
    return is_valid and names_of(found) == wanted
