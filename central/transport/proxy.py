"""A proxy that connects programs which use Azure's host names to this central: HTTP and SOCKS5.

Point an unmodified program at it with `mqtt_proxy=http://127.0.0.1:PORT`. It implements CONNECT of
HTTP, and of SOCKS5 (RFC 1928, with the passwords of RFC 1929).
"""

import asyncio
import base64
import contextlib
import hmac
import ipaddress
import logging
import socket
import struct

MQTT_PORT = 8883
WEBSOCKET_PORT = 443
AZURE_PROVISIONING = "global.azure-devices-provisioning.net"
MAX_HEADER = 8 * 1024  # Bytes.
PATIENCE = 10.0  # Seconds for a client's request.
CHUNK = 64 * 1024

SOCKS = 5
NO_AUTHENTICATION, USER_AND_PASSWORD, NO_ACCEPTABLE_METHOD = 0, 2, 0xFF
SOCKS_CONNECT = 1
DONE, FAILURE, NOT_ALLOWED, COMMAND_NOT_SUPPORTED = 0, 1, 2, 7
IPV4, NAME, IPV6 = 1, 3, 4

log = logging.getLogger(__name__)


class _Refused(Exception):  # noqa: N818 - names the outcome
    """The request is refused with this answer."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


class Proxy:
    """Tunnels to `host` and `port` of this central, and nowhere else.

    `own_names` are further host names that lead there. Without `user`, no password is required.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        own_names: frozenset[str],
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        self._target = (host, port)
        self._own_names = own_names
        self._secret = None if user is None else f"{user}:{password or ''}".encode()

    async def serve(self, client: socket.socket) -> None:
        """Serve one client until its connection ends."""
        reader, writer = await asyncio.open_connection(sock=client, limit=MAX_HEADER)
        try:
            try:
                async with asyncio.timeout(PATIENCE):
                    first = await reader.readexactly(1)
                    speaks = self._socks if first[0] == SOCKS else self._http
                    granted, failed = await speaks(first, reader, writer)
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
                raise _Refused(
                    _http_answer("400 Bad Request", "This is a proxy for MQTT clients.")
                ) from None
            await self._tunnel(reader, writer, granted=granted, failed=failed)
        except _Refused as refused:
            writer.write(refused.answer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        except OSError as error:
            log.info("A client of the proxy disconnected: %s.", error)
        finally:
            writer.transport.abort()

    async def _http(
        self, first: bytes, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter
    ) -> tuple[bytes, bytes]:
        """Read an HTTP client's request; return the answers to it: connected, and failed."""
        header = first + await reader.readuntil(b"\r\n\r\n")
        method, _, rest = header.partition(b" ")
        host, port = _host_and_port(rest.partition(b" ")[0])
        if method != b"CONNECT":
            refusal = _http_answer("405 Method Not Allowed", "This proxy supports only CONNECT.")
        elif not self._may_use(_basic_credentials(header)):
            status = "407 Proxy Authentication Required"
            refusal = _http_answer(
                status, "This proxy requires a user name and a password.", CHALLENGE
            )
        elif not self._is_here(host, port):
            log.warning("The proxy refused a tunnel to %s:%s.", host, port)
            refusal = _http_answer("403 Forbidden", "This proxy connects only to its own central.")
        else:
            failed = _http_answer("502 Bad Gateway", "Central cannot be reached.")
            return b"HTTP/1.1 200 Connection established\r\n\r\n", failed
        raise _Refused(refusal)

    async def _socks(
        self, _first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[bytes, bytes]:
        """Read a SOCKS5 client's request; return the answers to it: connected, and failed."""
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        method = NO_AUTHENTICATION if self._secret is None else USER_AND_PASSWORD
        if method not in methods:
            raise _Refused(bytes([SOCKS, NO_ACCEPTABLE_METHOD]))
        writer.write(bytes([SOCKS, method]))
        if method == USER_AND_PASSWORD:
            await reader.readexactly(1)  # The version of RFC 1929.
            user, password = await _short(reader), await _short(reader)
            if not self._may_use(user + b":" + password):
                raise _Refused(b"\1\1")
            writer.write(b"\1\0")
        _, command, _, kind = await reader.readexactly(4)
        if kind == NAME:
            host = (await _short(reader)).decode("ascii", "replace").lower()
        else:
            address = await reader.readexactly(4 if kind == IPV4 else 16)
            host = str(ipaddress.ip_address(address))
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        if command != SOCKS_CONNECT:
            raise _Refused(_socks_answer(COMMAND_NOT_SUPPORTED))
        if not self._is_here(host, port):
            log.warning("The proxy refused a tunnel to %s:%s.", host, port)
            raise _Refused(_socks_answer(NOT_ALLOWED))
        return _socks_answer(DONE), _socks_answer(FAILURE)

    def _may_use(self, secret: bytes | None) -> bool:
        return self._secret is None or hmac.compare_digest(secret or b"", self._secret)

    def _is_here(self, host: str, port: int) -> bool:
        if host.endswith(".azure-devices.net") or host == AZURE_PROVISIONING:
            return port in {MQTT_PORT, WEBSOCKET_PORT}
        return host in self._own_names and port in {self._target[1], WEBSOCKET_PORT}

    async def _tunnel(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        granted: bytes,
        failed: bytes,
    ) -> None:
        try:
            # For websockets, too: central recognizes them by their first bytes.
            there, here = await asyncio.open_connection(*self._target)
        except OSError as error:
            log.warning("The proxy cannot reach its central: %s.", error)
            raise _Refused(failed) from None
        try:
            writer.write(granted)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(reader, here), name="proxy-out")
                tasks.create_task(_copy(there, writer), name="proxy-back")
        finally:
            here.transport.abort()


CHALLENGE = 'Proxy-Authenticate: Basic realm="central"\r\n'


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until either side ends, and end the other."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _short(reader: asyncio.StreamReader) -> bytes:
    """Read a string after one byte with its length."""
    return await reader.readexactly((await reader.readexactly(1))[0])


def _basic_credentials(header: bytes) -> bytes | None:
    for line in header.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        scheme, _, token = value.strip().partition(b" ")
        if name.strip().lower() == b"proxy-authorization" and scheme.lower() == b"basic":
            with contextlib.suppress(ValueError):
                return base64.b64decode(token, validate=True)
    return None


def _host_and_port(target: bytes) -> tuple[str, int]:
    host, _, port = target.decode("ascii", "replace").rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0  # noqa: PLR2004 - a port
    return host.strip("[]").lower(), number


def _http_answer(status: str, sentence: str, more: str = "") -> bytes:
    body = sentence.encode()
    head = f"HTTP/1.1 {status}\r\n{more}Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


def _socks_answer(reply: int) -> bytes:
    return bytes([SOCKS, reply, 0, IPV4]) + bytes(6)  # The bound address is left out.
