"""Where the console listens, and under which names it is reached."""

import asyncio
import errno
import ipaddress
import logging
import shlex
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from central.console.sign_in.sites import LOOPBACK_NAMES, Site, url_names
from central.errors import PortTaken, StartError, UnknownAddress, in_words
from central.storage import accounts
from central.transport import listener
from central.transport.console_certificate import ConsoleCertificate, load_authority
from central.transport.issuing import utc_now

if TYPE_CHECKING:
    from central.application import Central, Settings

USUAL_PORT, USUAL_TLS_PORT = 8080, 8443
PORTS_TRIED = 100
CHECKED_EVERY = 600.0  # Seconds between two looks at the certificate and at this machine's names.
EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where the console listens: without TLS on loopback, and with TLS elsewhere."""

    socket: socket.socket
    site: Site
    url: str
    certificate: ConsoleCertificate | None = None

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self.socket.getsockname()[1])

    @property
    def context(self) -> ssl.SSLContext | None:
        """The context for TLS, or None without TLS."""
        return None if self.certificate is None else self.certificate.context

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the console's own authority, or None."""
        if self.certificate is None or self.certificate.authority is None:
            return None
        return self.certificate.authority.fingerprint


async def open_place(central: "Central") -> Place:
    """Return where the console listens, by its settings. Raise StartError.

    It is on loopback if the socket's address is, whatever name was given.
    """
    settings = central.settings
    sock = listen(settings.console_listen, settings.http_port)
    try:
        address, port = sock.getsockname()[:2]
        if ipaddress.ip_address(address).is_loopback:
            site = Site("http", frozenset(LOOPBACK_NAMES) | url_names([address]))
            return Place(sock, site, f"http://{_in_url(address)}:{port}/")
        _check_users(central)
        names = await asyncio.to_thread(own_names, settings.console_listen, address)
        certificate = _certificate(settings, names)
        certified = certificate.refresh(names, utc_now(settings.clock))
        site = Site("https", url_names(certified))
        return Place(
            sock, site, f"https://{_in_url(_shown(names, certified))}:{port}/", certificate
        )
    except BaseException:  # When cancelled, too, the port must be free again.
        sock.close()
        raise


def _shown(names: Iterable[str], certified: Iterable[str]) -> str:
    """Return the name to print: the first of this machine's that the certificate has."""
    found = [name for name in sorted(certified) if not name.startswith("*")]
    shown = next((name for name in names if name.lower() in found), None) or next(iter(found), None)
    if shown is None:
        raise StartError("The console's certificate has no name. Give one for this machine.")
    return shown


def _check_users(central: "Central") -> None:
    if central.store.read(accounts.has_administrator):
        return
    data = shlex.quote(str(central.settings.data_dir))
    raise StartError(
        f"To listen on {central.settings.console_listen}, the console needs an administrator. "
        f"Add one: sensor-agent central --data {data} user add NAME --role administrator"
    )


def _certificate(settings: "Settings", names: Iterable[str]) -> ConsoleCertificate:
    """Return the console's certificate: the given one, or one of its own."""
    if settings.console_certificate is not None and settings.console_key is not None:
        return ConsoleCertificate(settings.console_certificate, settings.console_key, None)
    data = settings.data_dir
    authority = load_authority(data, names, utc_now(settings.clock))
    return ConsoleCertificate(data / "console.pem", data / "console-key.pem", authority)


async def keep_certificate(place: Place, settings: "Settings") -> None:
    """Renew the certificate, and follow this machine's names, until cancelled."""
    certificate, address = place.certificate, str(place.socket.getsockname()[0])
    if certificate is None:
        return
    while True:
        await asyncio.sleep(CHECKED_EVERY)
        try:
            names = await asyncio.to_thread(own_names, settings.console_listen, address)
            # Not in a thread: no handshake may begin while the context has half a certificate.
            certified = certificate.refresh(names, utc_now(settings.clock))
        except (StartError, OSError) as error:
            log.warning("The console keeps its certificate: %s", error)
        else:
            place.site.names = url_names(certified)


def own_names(given: str, address: str) -> list[str]:
    """Return the names of this machine by which a console at `address` is reached.

    `given` is what the address was looked up from. May ask a name server.
    """
    host = socket.gethostname()
    names = [*listener.local_names(given), host, f"{host}.local"]
    if address in EVERYWHERE:
        names += ["localhost", "127.0.0.1", "::1"]
    else:
        names.append(address)
    return list(dict.fromkeys(names))


def listen(host: str, port: int | None) -> socket.socket:
    """Return a listening socket; with `port` None on the usual port, or the next free one.

    Raise PortTaken if a given port is in use, and StartError for any other reason not to listen.
    """
    first = USUAL_PORT if _is_loopback(host) else USUAL_TLS_PORT
    ports = range(first, first + PORTS_TRIED) if port is None else [port]
    for candidate in ports:
        try:
            return listener.listen(host, candidate)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise UnknownAddress(host) from None
            if error.errno != errno.EADDRINUSE:
                raise StartError(
                    f"Port {candidate} of {host} cannot be used: {in_words(error)}. Choose "
                    "another one with --http-port."
                ) from None
    if port is None:
        raise StartError(f"No port from {first} to {ports[-1]} is free for the console.")
    raise PortTaken(host, port, hint="stop that program, or give another port with --http-port")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _in_url(name: str) -> str:
    return f"[{name}]" if ":" in name else name
