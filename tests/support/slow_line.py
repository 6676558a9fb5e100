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

    Connections that are made with `socket.create_connection` go through it.
    """
    real = socket.create_connection

    async def serve(*here):
        there = await asyncio.open_connection(*server)
        await asyncio.gather(carry(here[0], there[1]), carry(there[0], here[1]))

    line = await asyncio.start_server(serve, "127.0.0.1", 0)

    def connect(_address, **options):
        time.sleep(ROUND_TRIP)  # In the SDK's thread, until SYN is answered.
        return real(line.sockets[0].getsockname(), **options)

    with monkeypatch.context() as context:
        context.setattr(socket, "create_connection", connect)
        async with line:
            yield line.sockets[0].getsockname()[1]


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
    with suppress(OSError):
        while True:
            data = await reader.read(PIECE)
            sent = max(sent, loop.time()) + len(data) / RATE
            on_the_way.put_nowait((sent + ROUND_TRIP / 2, data))
            if not data:
                break
    try:
        await delivering
    except OSError:
        pass  # The other side has closed it.
    finally:
        delivering.cancel()
        writer.close()
