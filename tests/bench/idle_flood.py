"""Opens idle connections to a central, in a process of its own; see `central_bounds`.

    python -m bench.idle_flood HOST PORT CA_FILE COUNT many|one

Half of them stay silent from the first byte, half after the TLS handshake. All come from one
loopback address, or each from its own. A line on standard output says that all were tried; they are
closed at the end of standard input.
"""

import asyncio
import contextlib
import ssl
import sys
from asyncio import sslproto

# Of this process, which has as many connections as central. See `central.transport.listener`.
sslproto.SSLProtocol.max_size = 16 * 1024

AT_ONCE = 250  # Connections that are being opened.
ONE_ADDRESS = "127.201.0.1"
TIMEOUT = 10.0  # Seconds.


def source(number: int, addresses: str) -> str:
    if addresses == "one":
        return ONE_ADDRESS
    return f"127.202.{number // 250}.{number % 250 + 1}"


async def main(host: str, port: int, ca_file: str, count: int, addresses: str) -> None:
    context = ssl.create_default_context(cafile=ca_file)
    opened: list[asyncio.StreamWriter] = []
    room = asyncio.Semaphore(AT_ONCE)

    async def open_one(number: int) -> None:
        with_tls = number % 2 == 1
        local = source(number, addresses), 0
        async with room:
            with contextlib.suppress(OSError, TimeoutError):  # Central may close it at once.
                async with asyncio.timeout(TIMEOUT):
                    _, writer = await asyncio.open_connection(
                        host,
                        port,
                        local_addr=local,
                        ssl=context if with_tls else None,
                        server_hostname=host if with_tls else None,
                    )
                opened.append(writer)

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(open_one(number))
    print(len(opened), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for writer in opened:
        writer.transport.abort()


if __name__ == "__main__":
    HOST, PORT, CA_FILE, COUNT, ADDRESSES = sys.argv[1:]
    asyncio.run(main(HOST, int(PORT), CA_FILE, int(COUNT), ADDRESSES))
