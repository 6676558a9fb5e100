"""A slow line to a server, as a satellite or a poor mobile connection is."""

import asyncio
import socket
import time
from contextlib import asynccontextmanager, suppress

ROUND_TRIP = 3.0  # Seconds.
RATE = 3000.0  # Bytes per second, in each direction.
PIECE = 300  # Bytes that are delayed together.


@asynccontextmanager
async def slow_line(monkeypatch, server):
    """A slow line to `server`. The block gets the port at its near end, on 127.0.0.1.

    Connections that are made after `socket.getaddrinfo` go through it, with a delay for TCP.
    """
    real = socket.getaddrinfo
    carrying: set[asyncio.Task[None]] = set()

    async def serve(*here):
        there = await asyncio.open_connection(*server)
        for reader, writer in ((here[0], there[1]), (there[0], here[1])):
            carrying.add(asyncio.create_task(carry(reader, writer)))

    line = await asyncio.start_server(serve, "127.0.0.1", 0)

    def look_up(_host, _port, *kind, **options):
        time.sleep(ROUND_TRIP)  # In the SDK's thread, as until SYN is answered.
        return real(*line.sockets[0].getsockname(), *kind, **options)

    with monkeypatch.context() as context:
        context.setattr(socket, "getaddrinfo", look_up)
        yield line.sockets[0].getsockname()[1]
    line.close()
    for task in carrying:
        task.cancel()
    await asyncio.gather(*carrying, return_exceptions=True)


async def carry(reader, writer):
    """Carry bytes in one direction: late by half a round trip, and no more than RATE."""
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def deliver():
        while True:
            due, data = await on_the_way.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                return
            writer.write(data)
            await writer.drain()

    delivering = asyncio.create_task(deliver())
    sent = loop.time()
    try:
        with suppress(OSError):  # One side has closed it.
            while True:
                data = await reader.read(PIECE)
                sent = max(sent, loop.time()) + len(data) / RATE
                on_the_way.put_nowait((sent + ROUND_TRIP / 2, data))
                if not data:
                    break
            await delivering
    finally:
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)
        writer.close()
