"""How a connection ends, where a real network would have to be lucky to show it."""

import asyncio
from unittest.mock import AsyncMock, MagicMock

from central.transport.connection import Connection
from central.transport.faults import Faults


async def test_a_goodbye_that_came_before_the_connection_was_lost_is_heard():
    reader = asyncio.StreamReader()
    writer = MagicMock(drain=AsyncMock(side_effect=ConnectionResetError("Connection lost")))
    writer.get_extra_info.side_effect = {"sockname": ["a"], "peername": ["b"]}.get
    connection = Connection(reader, writer, faults=Faults(), server_name=None)
    reader.feed_data(bytes([0xE0, 0x00]))  # DISCONNECT
    reader.feed_eof()
    session = AsyncMock(keep_alive=60, expires=None)
    assert await connection.serve(session) == ("it said goodbye", True)
