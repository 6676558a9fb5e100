"""An HTTP proxy (CONNECT only) that brings programs which know Azure's names to this central.

Point an unmodified program at it with `mqtt_proxy=http://127.0.0.1:PORT`.
"""

import asyncio
import contextlib
import logging
import socket

MQTT_PORT = 8883
WEBSOCKET_PORT = 443
MAX_HEADER = 8 * 1024  # Bytes.
PATIENCE = 10.0  # Seconds for the header.
CHUNK = 64 * 1024

log = logging.getLogger(__name__)


class Proxy:
    """Tunnels to this central, and nowhere else."""

    def __init__(self, host: str, port: int, *, own_names: frozenset[str]) -> None:
        self._target = (host, port)
        self._own_names = own_names

    async def serve(self, client: socket.socket) -> None:
        """Serve one client to its end."""
        reader, writer = await asyncio.open_connection(sock=client, limit=MAX_HEADER)
        try:
            await self._serve(reader, writer)
        except OSError as error:
            log.info("A client of the proxy was lost: %s.", error)
        finally:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                header = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            await _answer(writer, "400 Bad Request", "This is a proxy for CONNECT.")
            return
        method, _, rest = header.partition(b" ")
        host, port = _host_and_port(rest.partition(b" ")[0])
        if method != b"CONNECT":
            await _answer(writer, "405 Method Not Allowed", "This proxy knows CONNECT only.")
        elif not self._is_here(host, port):
            log.warning("The proxy refused a tunnel to %s:%s.", host, port)
            await _answer(writer, "403 Forbidden", "This proxy leads to its own central only.")
        elif port == WEBSOCKET_PORT:
            await _answer(writer, "502 Bad Gateway", "Central does not speak websockets yet.")
        else:
            await self._tunnel(reader, writer)

    def _is_here(self, host: str, port: int) -> bool:
        azure = host.endswith(".azure-devices.net") or host == AZURE_PROVISIONING
        if azure:
            return port in {MQTT_PORT, WEBSOCKET_PORT}
        return host in self._own_names and port in {self._target[1], WEBSOCKET_PORT}

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, here = await asyncio.open_connection(*self._target)
        except OSError as error:
            await _answer(writer, "502 Bad Gateway", f"Central cannot be reached: {error}.")
            return
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(reader, here), name="proxy-out")
                tasks.create_task(_copy(there, writer), name="proxy-back")
        finally:
            here.transport.abort()


AZURE_PROVISIONING = "global.azure-devices-provisioning.net"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until either side ends, and pass the end on."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


def _host_and_port(target: bytes) -> tuple[str, int]:
    host, _, port = target.decode("ascii", "replace").rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0  # noqa: PLR2004 - a port
    return host.strip("[]").lower(), number


async def _answer(writer: asyncio.StreamWriter, status: str, sentence: str) -> None:
    body = sentence.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
    writer.close()
    await writer.wait_closed()
