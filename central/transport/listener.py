"""The sockets on which central listens, and how it accepts clients."""

import asyncio
import errno
import logging
import socket
import ssl
import struct
import time
import weakref
from asyncio import sslproto
from collections.abc import Awaitable, Callable
from contextlib import suppress

from central.errors import PortTaken, StartError, UnknownAddress, in_words
from central.transport.admission import Admission, Turns, Waiting
from central.transport.connection import CLOSING, Connection, Service, serve_client
from central.transport.faults import Certificate, Faults

PATIENCE = 30.0  # Seconds for the TLS handshake, and again for the CONNECT packet.
LOOPBACK = "127.0.0.1"
LOOPBACKS = [f"127.0.0.{n}" for n in range(1, 251)]
# What answers in HTTP, by the value of the fault `network`.
IN_HTTP = {
    "http": b"HTTP/1.1 400 Bad Request\r\n",
    "portal": b"HTTP/1.1 302 Found\r\nLocation: http://portal.example.org/sign-in\r\n",
}
PAUSE = 0.1  # Seconds after an accept that failed, perhaps because no file descriptor is free.
BACKLOG = 4096  # Connections that the kernel keeps until they are accepted; it may keep fewer.
ACCEPTED_AT_ONCE = 64  # Clients that are accepted before everything else has its turn.
# Bytes that TLS reads at once. asyncio keeps a buffer of this size for each connection, by default
# of 256 KB, which is most of the memory that a connection takes.
TLS_BUFFER = 16 * 1024
sslproto.SSLProtocol.max_size = TLS_BUFFER

log = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raise UnknownAddress, or OSError if the port cannot be used."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise UnknownAddress(host) from None
    family, _, _, _, address = found[0]
    # asyncio disables Nagle's algorithm only if the protocol is given.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def listen_for_mqtt(host: str, port: int) -> socket.socket:
    """Return a listening socket; if the port of 127.0.0.1 is taken, on the next loopback address.

    Not on another port, because Azure's SDKs use only one. Raise StartError.
    """
    hint = (
        f"`lsof -nP -iTCP:{port} -sTCP:LISTEN` shows which. Stop it, or choose another address "
        "with --listen"
    )
    for candidate in LOOPBACKS if host == LOOPBACK else [host]:
        try:
            listening = listen(candidate, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                log.warning("Port %d of %s is taken.", port, candidate)
                continue
            if candidate == host and error.errno == errno.EADDRNOTAVAIL:
                raise UnknownAddress(host) from None
            if candidate == host:
                raise StartError(
                    f"Port {port} of {host} cannot be used: {in_words(error)}. Choose another "
                    "address with --listen."
                ) from None
            # macOS has only the first loopback address.
            raise PortTaken(host, port, hint=hint) from None
        if candidate != host:
            log.warning("Listening on %s instead.", candidate)
        return listening
    raise PortTaken(host, port, hint=hint)


def listen_beside(host: str, port: int, count: int) -> list[socket.socket]:
    """Return `count` sockets on the loopback addresses after `host`, or before it. Raise PortTaken.

    If `host` is not a loopback address, there are none: other names of this machine lead to it.
    """
    if not host.startswith("127."):
        return []
    network, _, last = host.rpartition(".")
    listening: list[socket.socket] = []
    for number in (*range(int(last) + 1, 251), *range(2, int(last))):
        if len(listening) == count:
            break
        candidate = f"{network}.{number}"
        try:
            listening.append(listen(candidate, port))
        except OSError as error:
            log.debug("Cannot listen on %s: %s.", candidate, in_words(error))
    if len(listening) < count:
        for sock in listening:
            sock.close()
        raise PortTaken(host, port, hint="Choose fewer ID scopes with --id-scopes")
    return listening


async def accept_clients(
    listening: socket.socket,
    serve: Callable[[socket.socket], Awaitable[None]],
    *,
    name: str,
    pause: Callable[[], Awaitable[None]],
) -> None:
    """Serve each client in a task of its own, until cancelled. `pause` is awaited before each."""
    loop = asyncio.get_running_loop()

    async def serve_one(client: socket.socket) -> None:
        with client:
            try:
                await serve(client)
            except Exception:
                # A bug that shows with one client must not end the others' connections.
                log.exception("A client's connection failed.")

    accepted = 0
    async with asyncio.TaskGroup() as tasks:
        while True:
            await pause()
            if accepted % ACCEPTED_AT_ONCE == 0:
                await asyncio.sleep(0)  # sock_accept does not yield while clients wait.
            try:
                client, _ = await loop.sock_accept(listening)
            except OSError as error:
                log.warning("Cannot accept a client: %s.", in_words(error))
                await asyncio.sleep(PAUSE)
            else:
                accepted += 1
                tasks.create_task(serve_one(client), name=f"{name}-client")


class MqttListener:
    """Passes clients through TLS to provisioning or the hub."""

    def __init__(
        self,
        contexts: Callable[[Certificate | None], ssl.SSLContext],
        *,
        provisioning: Service,
        hub: Service,
        faults: Faults,
    ) -> None:
        self._contexts = contexts
        self._provisioning = provisioning
        self._hub = hub
        self._faults = faults
        self.admission = Admission(time.monotonic)
        self._turns = Turns()
        self._server_names: weakref.WeakKeyDictionary[ssl.SSLObject | ssl.SSLSocket, str]
        self._server_names = weakref.WeakKeyDictionary()

    def _note_server_name(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> None:
        if name is not None:
            self._server_names[connection] = name

    async def serve(self, client: socket.socket) -> None:
        """Serve one client until its connection ends."""
        try:
            address = str(client.getpeername()[0])
        except OSError:
            return  # It has disconnected already.
        if self._faults.network == "reset" or not self.admission.admits(address):
            # With this option, closing resets the connection.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one.
        with self.admission.entering(address, task.cancel) as waiting:
            await self._serve(client, waiting)

    async def _serve(self, client: socket.socket, waiting: Waiting) -> None:
        await self._faults.hang_at("tcp")
        if (answer := IN_HTTP.get(self._faults.network or "")) is not None:
            await _answer_in_http(client, answer)
            return
        if not await has_begun(client):
            return
        try:
            await self._turns.take(is_known=waiting.is_known)
            waiting.enter(self.admission.waiting)
            connection = await self._open(client)
        except (OSError, TimeoutError) as error:
            log.info("The TLS handshake with a client failed: %s.", error)
            return
        self._faults.add_connection(connection)
        try:
            await connection.pause()
            await serve_client(
                connection,
                provisioning=self._provisioning,
                hub=self._hub,
                patience=PATIENCE,
                signed_in=waiting.signed_in,
            )
            await connection.close()
        finally:
            connection.abort("central stopped")
            self._faults.remove_connection(connection)

    async def _open(self, client: socket.socket) -> Connection:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        context = self._contexts(self._faults.certificate)
        context.sni_callback = self._note_server_name
        transport, protocol = await loop.connect_accepted_socket(
            lambda: asyncio.StreamReaderProtocol(reader),
            client,
            ssl=context,
            ssl_handshake_timeout=PATIENCE,
            ssl_shutdown_timeout=CLOSING,
        )
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        server_name = self._server_names.get(transport.get_extra_info("ssl_object"))
        return Connection(reader, writer, faults=self._faults, server_name=server_name)


async def has_begun(client: socket.socket) -> bool:
    """Wait for a client's first byte, and leave it unread; return False if none comes in time.

    Until then, the client costs nothing but its socket. Not logged above debug level: whoever looks
    for open ports sends nothing, too.
    """
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(client, readable.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await readable.wait()
    except TimeoutError:
        log.debug("Disconnected a client: it sent nothing for %g s.", PATIENCE)
        return False
    finally:
        loop.remove_reader(client)
    try:
        return client.recv(1, socket.MSG_PEEK) != b""
    except OSError as error:
        log.debug("A client disconnected before its first byte: %s.", error)
        return False


async def _answer_in_http(client: socket.socket, answer: bytes) -> None:
    """Answer as a web server does to a client that starts TLS on its port."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):  # The client has left.
        await loop.sock_recv(client, 4096)
        await loop.sock_sendall(client, answer + b"Connection: close\r\n\r\n")


def local_names(host: str) -> list[str]:
    """Return the addresses by which `host` can be reached, the most likely one first.

    Those of this machine if `host` means all. Sends no packet.
    """
    if host not in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return [host]
    addresses = [
        _own_address(socket.AF_INET, "192.0.2.1"),
        _own_address(socket.AF_INET6, "2001:db8::1"),
    ]
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    except OSError:
        found = []
    addresses += [str(address[0]) for *_, address in found]
    return list(dict.fromkeys(a.partition("%")[0] for a in addresses if a)) or [LOOPBACK]


def _own_address(family: socket.AddressFamily, destination: str) -> str | None:
    """Return the source address of packets to this destination, or None without a route."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((destination, 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])
