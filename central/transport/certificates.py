"""The hub's certificate and those of devices, each signed by an authority of its own."""

import socket
import ssl
import tempfile
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.x509.oid import ExtendedKeyUsageOID

from central.errors import InvalidDeviceId, StartError
from central.records import DEVICE_ID
from central.transport.faults import Certificate
from central.transport.issuing import (
    AUTHORITY_LIFETIME,
    LEFT,
    LIFETIME,
    NAME,
    Authority,
    Validity,
    is_certifiable,
    keep_authority,
    key_pem,
    make_authority,
    new_key,
    pem,
    utc_now,
    write_file,
)

# By which a device's clock may be late: a Raspberry Pi without a network boots with the time of its
# last shutdown. With it, the hub's certificate is valid for 390 days.
LATE = timedelta(days=300)
YEAR = timedelta(days=365)
LONGEST_DEVICE_NAME = 64  # Characters of a common name.

# Whose certificates an authority signs, and what a device notices when it is replaced.
AUTHORITIES = {
    "ca": ("hub", "devices that trust the old one refuse to connect"),
    "device-ca": ("devices", "devices that sign in with a certificate of the old one are refused"),
}

# Names in every server certificate. Azure's are for programs that connect through the proxy.
ALWAYS = (
    "localhost",
    "::1",
    *(f"127.0.0.{n}" for n in range(1, 10)),
    "global.azure-devices-provisioning.net",
    "*.azure-devices-provisioning.net",
    "*.azure-devices.net",
)


def load_authority(directory: Path, name: str = "ca", *, new: bool, now: datetime) -> Authority:
    """Return an authority of this directory.

    `ca` signs the hub's certificate, `device-ca` those that devices sign in with. It is made if the
    directory is `new`, or if one of its files is empty. Raise StartError.
    """
    signs_for, loss = AUTHORITIES[name]

    def make() -> Authority:
        common_name = f"{NAME} {signs_for} {socket.gethostname()}"[:64]
        return make_authority(common_name, Validity(now - LATE, now + AUTHORITY_LIFETIME))

    files = directory / f"{name}.pem", directory / f"{name}-key.pem"
    return keep_authority(*files, make, new=new, loss=loss)


def issue_device_certificate(directory: Path, device_id: str, now: datetime) -> tuple[Path, Path]:
    """Make the certificate and key with which a device can sign in, in place of a SAS key.

    The common name is the device id, as in an enrolment group of the provisioning service. Returns
    the two PEM files, in `devices/` of central's directory. Valid for a year. Raise StartError.
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
    authority = load_authority(directory, "device-ca", new=new, now=now)
    own_key = new_key()
    validity = Validity(now, now + YEAR)
    leaf = authority.issue(own_key, device_id, validity, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    place = directory / "devices"
    place.mkdir(mode=0o700, exist_ok=True)
    # Two suffixes: no device's certificate may have the name of another one's key.
    certificate, key = place / f"{device_id}.pem", place / f"{device_id}.key"
    write_file(key, key_pem(own_key))
    write_file(certificate, pem(leaf), mode=0o644)
    return certificate, key


class HubCertificates:
    """The hub's TLS contexts. Each has a certificate for certain names and for ALWAYS.

    A client may present a certificate that `devices` signed, or none.
    """

    def __init__(
        self,
        authority: Authority,
        devices: Authority,
        names: Iterable[str],
        clock: Callable[[], float],
    ) -> None:
        self._authority = authority
        self._devices = devices
        self._names = list(dict.fromkeys((*ALWAYS, *(n for n in names if is_certifiable(n)))))
        self._clock = clock
        self._made: dict[Certificate | None, tuple[datetime, ssl.SSLContext]] = {}

    def context(self, fault: Certificate | None = None) -> ssl.SSLContext:
        """Return the context for a new connection, with another certificate if that is due.

        `fault` makes the certificate a wrong one.
        """
        now = utc_now(self._clock)
        made_at, context = self._made.get(fault, (None, None))
        # One from the future was made while the clock was wrong.
        if made_at is None or context is None or not made_at <= now <= made_at + LIFETIME - LEFT:
            context = self._new_context(fault, now)
            self._made[fault] = now, context
        return context

    def _new_context(self, fault: Certificate | None, now: datetime) -> ssl.SSLContext:
        authority, names = self._authority, self._names
        if fault == "another-authority":
            authority = make_authority("another authority", Validity(now, now + LIFETIME))
        elif fault == "another-host":
            names = ["portal.example.org"]
        elif fault == "no-names":
            names = []
        # By a year in either case.
        wrong = {"expired": -(YEAR + LIFETIME), "not-yet-valid": YEAR + LATE}
        now += wrong.get(fault or "", timedelta(0))
        key = new_key()
        certificate = authority.issue(
            key,
            "localhost" if fault == "no-names" else NAME,
            Validity(now - LATE, now + LIFETIME),
            usage=ExtendedKeyUsageOID.SERVER_AUTH,
            names=names,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with tempfile.NamedTemporaryFile() as file:
            file.write(key_pem(key) + pem(certificate))
            file.flush()
            context.load_cert_chain(file.name)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=self._devices.pem)
        return context
