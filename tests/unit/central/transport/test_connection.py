"""Ends of a connection that a real network shows only by chance."""

import asyncio
import logging
from unittest.mock import AsyncMock, MagicMock

import pytest

from central.transport.connection import Connection, serve_client
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


@pytest.mark.parametrize(("sent", "level"), [(b"", logging.DEBUG), (b"\x10", logging.INFO)])
async def test_a_client_that_sends_nothing_is_not_worth_a_line(caplog, sent, level):
    caplog.set_level(logging.DEBUG)
    reader, writer = asyncio.StreamReader(), MagicMock()
    writer.get_extra_info.side_effect = {"sockname": ["a"], "peername": ["b"]}.get
    connection = Connection(reader, writer, faults=Faults(), server_name=None)
    reader.feed_data(sent)
    reader.feed_eof()
    service, signed_in = AsyncMock(), MagicMock()
    await serve_client(
        connection, provisioning=service, hub=service, patience=10.0, signed_in=signed_in
    )
    [record] = caplog.records
    assert (record.levelno, record.args[0]) == (level, "b")
