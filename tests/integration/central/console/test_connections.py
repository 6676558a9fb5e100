"""Connections of the console: half requests end in time, and malformed ones are one log line."""

import asyncio
import logging
from urllib.parse import urlsplit

import pytest

from central.console import connections
from central.console.middleware import MOST_AT_ONCE
from central.transport import listener
from central.transport.admission import MAX_WAITING

SHORT = 0.3  # Seconds.
DEADLINE = 20.0
GZIP = "Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n"


@pytest.fixture
async def connect(central):
    """Open a connection to the console; all are closed at the end."""
    url = urlsplit(central.http)
    opened = []

    async def connect(data=b""):
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        opened.append(writer)
        writer.write(data)
        return reader

    yield connect
    for writer in opened:
        writer.close()


async def rest_of(reader):
    async with asyncio.timeout(DEADLINE):
        return await reader.read()


def head(method="GET", path="/console/api/central", more=""):
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()


async def test_a_connection_that_sends_nothing_ends(connect, monkeypatch):
    monkeypatch.setattr(listener, "PATIENCE", SHORT)
    assert await rest_of(await connect()) == b""


@pytest.mark.parametrize("data", [b"G", b"GET / HTTP/1.1\r\nHost: localh", head()[:-1]])
async def test_half_a_head_ends(connect, monkeypatch, data):
    monkeypatch.setattr(connections, "FIRST_REQUEST", SHORT)
    assert await rest_of(await connect(data)) == b""


async def test_half_a_body_is_refused(connect, monkeypatch):
    monkeypatch.setattr(connections, "BODY", SHORT)
    more = "Content-Length: 100\r\nContent-Type: application/json\r\n"
    reader = await connect(head("PUT", "/api/devices/pi-1", more) + b'{"display')
    async with asyncio.timeout(DEADLINE):
        answer = await reader.readuntil(b"within 0.3 s.")
    assert answer.startswith(b"HTTP/1.1 408 ")


def half_a_body(path="/api/devices/pi-1", length=100):
    more = f"Content-Length: {length}\r\nContent-Type: application/json\r\n"
    return head("PUT", path, more) + b'{"display'


async def test_many_half_bodies_keep_nobody_out(connect, http):
    half = [await connect(half_a_body()) for _ in range(MOST_AT_ONCE + 10)]
    async with asyncio.timeout(DEADLINE):
        assert await half[0].read() == b""  # The ones that came first end.
        async with http.get("/console/api/central") as response:
            assert response.status == 200
        async with http.put("/api/devices/pi-1", json={"displayName": "Pi"}) as response:
            assert response.status == 200
    assert not half[-1].at_eof()


async def test_a_connection_stays_open_after_its_first_request(connect, monkeypatch):
    monkeypatch.setattr(connections, "FIRST_REQUEST", SHORT)
    reader = await connect(head(path="/console/api/events"))
    async with asyncio.timeout(DEADLINE):
        assert b"200 OK" in await reader.readuntil(b"event: hello")
    await asyncio.sleep(3 * SHORT)
    assert not reader.at_eof()


async def test_of_too_many_connections_the_oldest_one_ends(central, connect, http, monkeypatch):
    first = await connect(b"GET")
    for _ in range(MAX_WAITING):
        await connect(b"GET")
    assert await rest_of(first) == b""
    async with http.get("/console/api/central") as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        head("PUT", "/api/devices/a", "Transfer-Encoding: chunked\r\n") + b"zz\r\n",
        head("PUT", "/api/devices/a", GZIP) + b"abc",
    ],
)
async def test_malformed_http_is_one_log_line(connect, caplog, data):
    caplog.set_level(logging.INFO)
    answer = await rest_of(await connect(data))
    assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    logged = [each for each in caplog.records if each.name.startswith("central.console")]
    # The audit records each change that is tried, too.
    (record,) = [each for each in logged if not each.getMessage().startswith("Audit: ")]
    assert record.levelno == logging.INFO
    assert record.exc_info is None
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize(
    "line", ["Cookie: secret" + "a" * 20_000, "Authorization: secret\0", "secret secret: a"]
)
async def test_malformed_headers_are_not_quoted_in_the_log(connect, caplog, line):
    caplog.set_level(logging.DEBUG)
    answer = await rest_of(await connect(head("GET", "/", f"{line}\r\n")))
    assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert "malformed" in caplog.text
    assert "secret" not in caplog.text


async def test_bytes_that_are_not_http_leave_no_traceback(connect, caplog):
    caplog.set_level(logging.INFO)
    await rest_of(await connect(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"))
    assert not any(record.exc_info for record in caplog.records)
