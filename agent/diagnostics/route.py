"""The route to a host: name lookup, connection, TLS, through a proxy if one is configured."""

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from agent.config.connecting import PORTS, connect_to, server_of
from agent.config.loader import CloudConfig
from agent.diagnostics.finding import Finding, Outcome, failed, ok, skipped
from agent.errors import START_CENTRAL, in_words, is_loopback
from agent.tls_faults import explain

PATIENCE = 5.0  # Seconds for a connection, and for TLS.
# Seconds to look up a host: if the first name server is silent, the next one is asked after 5.
LOOKUP_PATIENCE = 7.0


def newest_tls(sdk: str) -> ssl.TLSVersion:
    """Return the newest version of TLS that a version of azure-iot-device uses."""
    only_1_2 = sdk.startswith("2.14.")
    return ssl.TLSVersion.TLSv1_2 if only_1_2 else ssl.TLSVersion.MAXIMUM_SUPPORTED


class Route:
    """The stages `dns`, `tcp` and `tls` to a host. Each continues the stage before and runs once.

    `name` is what the ids of the checks begin with. `ca` is PEM text with the only authorities to
    trust, or None for the system's. `password` is the proxy's, `newest_tls` the newest version of
    TLS to use. Close the route after use.
    """

    def __init__(
        self,
        name: str,
        host: str,
        cloud: CloudConfig,
        *,
        ca: str | None,
        password: str | None = None,
        port: int | None = None,
        newest_tls: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
        resolve: Callable[[str, int], list[Any]] = socket.getaddrinfo,
    ) -> None:
        self._name = name
        self._host = host
        self._cloud = cloud
        self._port = port or PORTS[cloud.transport]
        self._proxy = urlsplit(cloud.proxy) if cloud.proxy else None
        self._password = password
        self._ca = ca
        self._newest_tls = newest_tls
        self._resolve = resolve
        self._connection: socket.socket | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    @cached_property
    def dns(self) -> Finding:
        """Look up the host. Behind a proxy, only the proxy's name must be known here."""
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
        return ok(f"{what} has an address.", *addresses)

    @cached_property
    def tcp(self) -> Finding:
        """Connect to the port."""
        if self.dns.outcome is not Outcome.OK:
            return self._not_after("dns", self.dns)
        through = f" through {self._proxy.netloc}" if self._proxy else ""
        what = f"{self._host} port {self._port}{through}"
        try:
            self._connection = self._connect()
        except TimeoutError:
            return failed(f"No answer from {what}.", self._way_out())
        except OSError as error:
            return failed(f"{what} cannot be reached: {in_words(error)}.", self._way_out())
        return ok(f"{what} can be reached.")

    @cached_property
    def tls(self) -> Finding:
        """Start TLS as the SDK does, and verify the certificate."""
        if self.tcp.outcome is not Outcome.OK or self._connection is None:
            return self._not_after("tcp", self.tcp)
        # As the SDK: no other authorities than these.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.hostname_checks_common_name = False
        context.maximum_version = self._newest_tls
        if self._ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cadata=self._ca)
        try:
            self._connection = context.wrap_socket(self._connection, server_hostname=self._host)
        except OSError as error:
            server = replace(server_of(self._host, self._cloud), port=self._port)
            fault = explain(error, server, self._connect)
            if fault is not None:
                return failed(fault.problem, fault.advice)
            return failed(
                f"The TLS handshake with {self._host} failed: {in_words(error)}.",
                "A firewall may intercept the connection. Ask whoever runs the network.",
            )
        certificate = self._connection.getpeercert() or {}
        return ok(
            f"{self._host} has a certificate that is trusted.",
            f"{self._connection.version()}, until {certificate.get('notAfter', 'unknown')}",
        )

    def _addresses(self, host: str) -> list[Any]:
        """Return the host's addresses. The system's own timeout is longer than a check may take."""
        answers: SimpleQueue[list[Any] | OSError | UnicodeError] = SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._resolve(host, self._port))
            except (OSError, UnicodeError) as error:
                answers.put(error)

        threading.Thread(target=ask, name="resolver", daemon=True).start()
        try:
            answer = answers.get(timeout=LOOKUP_PATIENCE)
        except Empty:
            raise TimeoutError(f"no name server answered within {LOOKUP_PATIENCE:g} s") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _connect(self) -> socket.socket:
        return connect_to(
            self._host, self._port, self._cloud, password=self._password, timeout=PATIENCE
        )

    def _not_after(self, stage: str, finding: Finding) -> Finding:
        if finding.outcome is Outcome.SKIPPED:
            return finding
        return skipped(f"the check {self._name}-{stage} failed")

    def _way_out(self) -> str:
        if self._proxy is not None:
            return "Check proxy, proxy_user and proxy_password_file in [cloud]."
        if is_loopback(self._host):
            return START_CENTRAL
        if not server_of(self._host, self._cloud).is_azure:
            return (
                f"Is the server on {self._host} running? A local IoT Central is started there "
                f"with: sensor-agent central. A firewall must let port {self._port} through."
            )
        if self._port == PORTS["mqtt"]:
            return (
                "A firewall must let port 8883 out. If that is not possible, set "
                'transport = "websockets" in [cloud], which uses port 443.'
            )
        return "A firewall must let port 443 out. If a proxy is needed, name it in [cloud]."
