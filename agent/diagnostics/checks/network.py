"""The way to one host: its name, the connection, TLS; and whether the service knows this device."""

import importlib
import socket
import ssl
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from agent.config.loader import CloudConfig
from agent.diagnostics.checks.finding import Finding, Outcome, failed, ok, skipped, warning
from agent.diagnostics.service_advice import where_the_log_is
from agent.errors import AgentError, SecretError, in_words
from agent.status import CloudPart

PORTS = {"mqtt": 8883, "websockets": 443}
PATIENCE = 5.0  # Seconds for a connection, and for TLS.
# Seconds for an address: a first name server that is silent takes 5 of them, before the next one.
NAME_PATIENCE = 7.0

NOT_YET_VALID, EXPIRED = 9, 10  # Of X509_V_ERR_..., which OpenSSL does not change.


class Way:
    """The way to a host: each stage goes on from the one before, and is gone once.

    `host` is None where it is not known yet, `because` says why. `ca` is PEM text, the only
    authorities to trust, or None for the usual ones. `password` is the proxy's.
    """

    def __init__(
        self,
        name: str,
        host: str | None,
        cloud: CloudConfig | None,
        *,
        ca: str | None,
        password: str | None = None,
        because: str = "",
        port: int | None = None,
        resolve: Callable[[str, int], list[Any]] = socket.getaddrinfo,
    ) -> None:
        self._name = name
        self._host = host
        self._because = because
        self._port = port or PORTS["mqtt" if cloud is None else cloud.transport]
        self._proxy = urlsplit(cloud.proxy) if cloud is not None and cloud.proxy else None
        self._user = None if cloud is None else cloud.proxy_user
        self._password = password
        self._ca = ca
        self._resolve = resolve
        self._connection: socket.socket | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    @cached_property
    def dns(self) -> Finding:
        """Has the host's name an address."""
        if self._host is None:
            return skipped(self._because)
        # Through a proxy it is the proxy's name that this machine must know.
        host = self._proxy.hostname if self._proxy else self._host
        what = f"the proxy {host}" if self._proxy else host
        try:
            found = self._addresses(str(host))
        except OSError as error:
            return failed(
                f"Cannot look up {what}: {in_words(error)}.",
                "Is there a network (ip addr), and a name server (cat /etc/resolv.conf)?",
            )
        addresses = sorted({entry[4][0] for entry in found})
        return ok(f"The name of {what} is known.", *addresses)

    @cached_property
    def tcp(self) -> Finding:
        """Can the port be reached."""
        if self.dns.outcome is not Outcome.OK:
            return self._not_after("dns", self.dns)
        through = f" through {self._proxy.netloc}" if self._proxy else ""
        what = f"{self._host} port {self._port}{through}"
        try:
            self._connection = self._connect(str(self._host))
        except TimeoutError:
            return failed(f"{what} does not answer.", self._way_out())
        except OSError as error:
            return failed(f"{what} cannot be reached: {in_words(error)}.", self._way_out())
        return ok(f"{what} can be reached.")

    @cached_property
    def tls(self) -> Finding:
        """Is it the host that it should be, and can it be spoken to as the SDK does."""
        if self.tcp.outcome is not Outcome.OK or self._connection is None:
            return self._not_after("tcp", self.tcp)
        # The SDK's own: this version only, and no other authorities than these.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        if self._ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cadata=self._ca)
        try:
            self._connection = context.wrap_socket(self._connection, server_hostname=self._host)
        except ssl.SSLCertVerificationError as error:
            return failed(
                f"The certificate of {self._host} is not accepted: {error.verify_message}.",
                _certificate_advice(error),
            )
        except OSError as error:
            return failed(
                f"{self._host} does not speak TLS 1.2 as it should: {in_words(error)}.",
                "Something on the way may be in between: ask who runs the network.",
            )
        certificate = self._connection.getpeercert() or {}
        return ok(
            f"{self._host} has a certificate that is trusted.",
            f"{self._connection.version()}, until {certificate.get('notAfter', 'unknown')}",
        )

    def _addresses(self, host: str) -> list[Any]:
        """Ask for the host's addresses, under a deadline: the system's own is beyond a check's."""
        answers: SimpleQueue[list[Any] | OSError | UnicodeError] = SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._resolve(host, self._port))
            except (OSError, UnicodeError) as error:
                answers.put(error)

        threading.Thread(target=ask, name="resolver", daemon=True).start()
        try:
            answer = answers.get(timeout=NAME_PATIENCE)
        except Empty:
            raise TimeoutError(f"no name server answered within {NAME_PATIENCE:g} s") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _connect(self, host: str) -> socket.socket:
        if self._proxy is None:
            return socket.create_connection((host, self._port), timeout=PATIENCE)
        # The SDK's own dependency, which has no type information.
        socks = importlib.import_module("socks")
        kinds = {"http": socks.HTTP, "socks5": socks.SOCKS5}
        connection: socket.socket = socks.create_connection(
            (host, self._port),
            timeout=PATIENCE,
            proxy_type=kinds[self._proxy.scheme],
            proxy_addr=self._proxy.hostname,
            proxy_port=self._proxy.port,
            proxy_rdns=True,
            proxy_username=self._user,
            proxy_password=self._password,
        )
        return connection

    def _not_after(self, stage: str, finding: Finding) -> Finding:
        if finding.outcome is Outcome.SKIPPED:
            return finding
        return skipped(f"{self._name}-{stage} failed")

    def _way_out(self) -> str:
        if self._proxy is not None:
            return "Check proxy, proxy_user and proxy_password_file in [cloud]."
        if self._port == PORTS["mqtt"]:
            return (
                "A firewall must let port 8883 out; where it does not, set "
                'transport = "websockets" in [cloud], which goes by port 443.'
            )
        return "A firewall must let port 443 out; where a proxy is needed, name it in [cloud]."


def _certificate_advice(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in {NOT_YET_VALID, EXPIRED}:
        return "Is this machine's clock right? See the check clock."
    return (
        "If the server has an authority of its own, name its file as ca_file in [cloud]. If it is "
        "Azure's, something on the way opens the connection: ask who runs the network."
    )


def registration_of_daemon(cloud: CloudPart | None, *, root: Path = Path("/")) -> Finding:
    """Judge the running daemon's session by its status: a second session would end the first."""
    if cloud is None:
        return skipped("the running daemon has no [cloud] section")
    if cloud.hub is not None:
        lately = [f"Lately: {cloud.error}"] if cloud.error else []
        return ok(f"The daemon is connected to {cloud.hub}.", *lately)
    if cloud.error is None:
        return warning("The daemon is connecting.", "Ask again in a minute.")
    return failed(
        f"The daemon is not connected: {cloud.error}",
        f"The checks around this one narrow it down. {where_the_log_is(root)}",
    )


def registration_here(
    register: Callable[[], str], *, cloud: CloudConfig, device_id: str
) -> tuple[Finding, str | None]:
    """Ask the provisioning service for this device's hub; `register` returns it or raises."""
    try:
        hub = register()
    except SecretError:
        return skipped("the secrets cannot be used (secrets)"), None
    except AgentError as error:
        return failed(
            str(error), "Compare id_scope and key with the Connect dialog of the device."
        ), None
    return ok(f"{cloud.provisioning_host} assigned {device_id} to {hub}."), hub
