"""Central's own certificate authorities: one for the server, one for devices."""

import ipaddress
import logging
import os
import re
import socket
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from central.errors import FileMissing, InvalidDeviceId, StartError
from central.records import DEVICE_ID
from central.transport.faults import Certificate

NAME = "sensor-agent central"
VALIDITY = timedelta(days=3650)
YEAR = timedelta(days=365)

LONGEST_DEVICE_NAME = 64  # Characters of a common name.
# What a device notices when an authority is replaced.
LOSSES = {
    "ca": "devices that trust the old one refuse to connect",
    "device-ca": "devices that sign in with a certificate of the old one are refused",
}
HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")

# Names in every server certificate. Azure's are for programs that connect through the proxy.
ALWAYS = (
    "localhost",
    "::1",
    *(f"127.0.0.{n}" for n in range(1, 10)),
    "global.azure-devices-provisioning.net",
    "*.azure-devices-provisioning.net",
    "*.azure-devices.net",
)

log = logging.getLogger(__name__)


def load_authority(directory: Path, name: str = "ca", *, new: bool) -> trustme.CA:
    """Return an authority of this directory.

    `ca` signs this server's certificate, `device-ca` those that devices sign in with. It is made
    if the directory is `new`, or if one of its files is empty. Raise StartError.
    """
    certificate, key = directory / f"{name}.pem", directory / f"{name}-key.pem"
    if all(file_holds(path, new=new, loss=LOSSES[name]) for path in (certificate, key)):
        # Read first: an error of load_cert_chain does not name the file.
        content = certificate.read_bytes(), key.read_bytes()
        try:
            # Checks that the two belong together, which trustme does not.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, _no_password)
            return trustme.CA.from_pem(*content)
        except (ValueError, ssl.SSLError) as error:
            raise StartError(
                f"{certificate} and {key} are damaged, or do not belong together ({error}). Put "
                f"both back from a backup, or empty both to have new ones made ({LOSSES[name]})."
            ) from None
    authority = trustme.CA(organization_name=NAME, organization_unit_name=socket.gethostname())
    if certificate.exists():
        write_file(certificate, b"")  # If this is interrupted, the next start makes both again.
    write_file(key, authority.private_key_pem.bytes())
    write_file(certificate, authority.cert_pem.bytes(), mode=0o644)
    return authority


def _no_password() -> str:
    raise ValueError("the key has a password")  # Without this, OpenSSL asks on the terminal.


def issue_device_certificate(directory: Path, device_id: str) -> tuple[Path, Path]:
    """Make the certificate and key with which a device can sign in, in place of a SAS key.

    The common name is the device id, as in an enrolment group of the provisioning service. Returns
    the two PEM files, in `devices/` of central's directory. Valid for ten years. Raise StartError.
    """
    if not DEVICE_ID.fullmatch(device_id):
        raise InvalidDeviceId(device_id[:80])
    if len(device_id) > LONGEST_DEVICE_NAME:
        raise StartError(
            f"{device_id[:80]!r} cannot be the name in a certificate: it has more than "
            f"{LONGEST_DEVICE_NAME} characters."
        )
    # Users can be added before the first start, so the database does not show it.
    new = not any((directory / name).exists() for name in ("group-key", "ca.pem"))
    authority = load_authority(directory, "device-ca", new=new)
    leaf = authority.issue_cert(
        common_name=device_id,
        organization_name=NAME,
        not_after=datetime.now(UTC) + VALIDITY,
    )
    place = directory / "devices"
    place.mkdir(mode=0o700, exist_ok=True)
    # Two suffixes: no device's certificate may have the name of another one's key.
    certificate, key = place / f"{device_id}.pem", place / f"{device_id}.key"
    write_file(key, leaf.private_key_pem.bytes())
    certificate.write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
    return certificate, key


def server_context(
    authority: trustme.CA,
    devices: trustme.CA,
    names: Iterable[str],
    fault: Certificate | None = None,
) -> ssl.SSLContext:
    """Return the server's TLS context, with a certificate for these names and for ALWAYS.

    A client may present a certificate that `devices` signed, or none. `fault` makes the certificate
    a wrong one.
    """
    every = dict.fromkeys((*ALWAYS, *(n for n in names if is_certifiable(n))))
    now = datetime.now(UTC)
    begins = {"expired": now - 2 * YEAR, "not-yet-valid": now + YEAR}.get(fault or "")
    if fault == "another-authority":
        authority = trustme.CA(organization_name="another authority")
    names_of_fault = {"another-host": ["portal.example.org"], "no-names": []}
    certificate = authority.issue_cert(
        *names_of_fault.get(fault or "", every),
        common_name="localhost" if fault == "no-names" else NAME,
        organization_name=NAME,
        not_before=begins,
        not_after=now - YEAR if fault == "expired" else now + VALIDITY,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate.configure_cert(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    devices.configure_trust(context)
    return context


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
