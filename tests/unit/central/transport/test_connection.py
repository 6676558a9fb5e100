"""Ends of a connection that a real network shows only by chance."""

import asyncio
from unittest.mock import AsyncMock, MagicMock

from central.transport.connection import Connection
from central.transport.faults import Faults


async def test_disconnect_counts_also_if_the_connection_is_lost_right_after_it():
    reader = asyncio.StreamReader()
    writer = MagicMock(drain=AsyncMock(side_effect=ConnectionResetError("Connection lost")))
    writer.get_extra_info.side_effect = {"sockname": ["a"], "peername": ["b"]}.get
    connection = Connection(reader, writer, faults=Faults(), server_name=None)
    reader.feed_data(bytes([0xE0, 0x00]))  # DISCONNECT
    reader.feed_eof()
    session = AsyncMock(keep_alive=60, expires=None)
    assert await connection.serve(session) == ("it sent DISCONNECT", True)
