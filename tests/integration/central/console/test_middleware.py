"""Requests that the console refuses: malformed bodies, unknown paths, foreign hosts and origins."""

import asyncio
import gzip
import re
from importlib import resources

import aiohttp
import pytest
from consoles import ask, refused

from central.console import addresses, middleware
from central.errors import PortTaken, StartError

LARGEST_PAGE = 150_000  # Bytes of all files as they are sent.


class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b'{"displayName": NaN}',
            b'{"a": Infinity}',
            b'{"a": 1e400}',
            b'{"displayName": "\xff"}',
            b'{"displayName": "\\ud800"}',
            b"[" * 100_000,
            b"9" * 5000,
        ],
    )
    async def test_malformed_json_is_refused(self, http, body):
        error = await refused(http, "PUT", "/api/devices/pi-1", data=body, expect=400)
        assert error["message"].startswith("The body ")

    async def test_a_body_that_is_too_large_is_refused(self, http):
        body = {"displayName": "x" * 300_000}
        error = await refused(http, "PUT", "/api/devices/pi-1", body, expect=413)
        assert error["code"] == "RequestTooLarge"


class TestPageFiles:
    def test_the_page_is_small_and_complete(self):
        files = {
            file.name: file.read_bytes()
            for file in resources.files("central.console").joinpath("page").iterdir()
        }
        assert sum(len(gzip.compress(content)) for content in files.values()) < LARGEST_PAGE
        assert b"MIT License" in files["uplot.LICENSE.txt"]
        for name, content in files.items():
            for imported in re.findall(rb'from "\./([^"]+)"', content):
                assert imported.decode() in files, f"{name} wants {imported.decode()}"
            assert b"innerHTML" not in content or name == "uplot.min.js"

    @pytest.mark.parametrize("path", ["/", "/main.js", "/uplot.min.js", "/console.css"])
    async def test_files_are_compressed_for_those_who_accept_it(self, http, path):
        async with http.get(path, headers={"Accept-Encoding": "identity"}) as response:
            assert "Content-Encoding" not in response.headers
            plain = await response.read()
        async with http.get(path) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            assert response.headers["Vary"] == "Accept-Encoding"
            assert int(response.headers["Content-Length"]) < len(plain)
            assert await response.read() == plain  # The client has decompressed it.


class TestElsewhere:
    @pytest.mark.parametrize(
        "path", ["/api", "/api/users", "/api/query", "/nothing.js", "/../central.json", "/%2e%2e/x"]
    )
    async def test_unknown_paths_are_404(self, http, path):
        await refused(http, "GET", path, expect=404)

    async def test_the_error_code_is_in_a_header(self, http):
        async with http.get("/api/devices/nobody") as response:
            assert response.headers["x-ms-error-code"] == "NotFound"

    async def test_an_unsupported_method_is_405(self, http):
        assert (await refused(http, "POST", "/api/devices", {}, expect=405))["code"]

    def test_only_one_of_two_simultaneous_starts_gets_a_port(self):
        with addresses.listen("127.0.0.1", 0) as first, pytest.raises(PortTaken):
            addresses.listen("127.0.0.1", first.getsockname()[1])

    def test_an_unusable_address_is_not_reported_as_taken(self):
        with pytest.raises(StartError, match=r"'192\.0\.2\.77' is not an address of this machine"):
            addresses.listen("192.0.2.77", 8080)


class TestGuard:
    @pytest.mark.parametrize("port", [":{port}", ":1", ":65535", ""])
    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
    async def test_the_names_of_this_machine_are_served(self, http, central, host, port):
        """With any port, because `ssh -L` may use another one."""
        own = central.http.rstrip("/").rsplit(":", 1)[1]
        host += port.format(port=own)
        headers = {"Host": host, "Origin": f"http://{host}"}
        await ask(http, "GET", "/api/devices", headers=headers)

    @pytest.mark.parametrize("path", ["/", "/main.js", "/api/devices", "/console/api/events", "/x"])
    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "evil.example:{port}",
            "localhost.evil.example",
            "localhost@evil.example",
            "",
        ],
    )
    async def test_a_foreign_host_is_refused(self, http, central, host, path):
        port = central.http.rstrip("/").rsplit(":", 1)[1]
        headers = {"Host": host.format(port=port)}
        await refused(http, "GET", path, headers=headers, expect=403)

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
    async def test_a_foreign_origin_is_refused(self, http, origin):
        headers = {"Origin": origin}
        await refused(http, "PUT", "/api/devices/pi-1", {}, headers=headers, expect=403)
        await refused(http, "GET", "/api/devices/pi-1", expect=404)

    async def test_open_requests_are_bounded(self, central, monkeypatch):
        monkeypatch.setattr(middleware, "MOST_AT_ONCE", 3)
        central.registry.add_device("pi-1")
        body = {"connectionTimeout": 1}
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(central.http, connector=connector) as http:

            async def ask_for_a_command():
                async with http.post("/api/devices/pi-1/commands/x", json=body) as response:
                    return response.status

            statuses = await asyncio.gather(*[ask_for_a_command() for _ in range(8)])
            assert sorted(statuses) == [404] * 3 + [429] * 5
            assert await ask_for_a_command() == 404

    async def test_two_host_headers_are_refused(self, central):
        port = int(central.http.rstrip("/").rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/devices HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert (await reader.readline()).split()[1] in {b"400", b"403"}
        writer.close()

    @pytest.mark.parametrize("path", ["/", "/main.js", "/api/devices", "/nothing"])
    async def test_every_response_has_the_security_headers(self, http, path):
        async with http.get(path) as response:
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "no-referrer"
