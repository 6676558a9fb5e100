"""What each role may do, API tokens, attacks across origins, and the audit."""

import asyncio
import logging
import re
import ssl

import pytest
from aiohttp import web
from consoles import ask, refused
from signed_in import (
    browser_session,
    console_token,
    network_settings,
    new_token,
    origin,
    sign_in,
)

from central.console import middleware, page_api, rest
from central.console.app import make_app
from central.console.routes import Route
from central.console.run import open_central
from central.console.sign_in.gate import NEEDS, SignIn
from central.console.sign_in.roles import MAY, Permission
from central.console.sign_in.sites import Site
from central.protocol import sas
from central.records import Role
from central.storage import accounts

LATER = 4e9
SESSION = "/console/api/session"
ROUTES = [*rest.ROUTES, *page_api.ROUTES]


def concrete(path):
    """Return a path with names in the place of its variables."""
    return re.sub(r"\{(\w+)\}", lambda found: "pi-1" if found[1] == "device" else "x", path)


class TestDeclarations:
    async def test_each_path_declares_what_it_needs(self, central):
        site = Site("http", frozenset())
        file = central.console_token_file
        app = make_app(central, SignIn(site, required=True, token_file=file, token="", cookie="c"))
        undeclared = [route for route in app.router.routes() if route not in app[NEEDS]]
        assert undeclared == []
        assert len(app[NEEDS]) > 60

    def test_only_these_paths_are_public(self):
        public = {(r.method, r.path) for r in ROUTES if r.needs is Permission.PUBLIC}
        assert public == {("GET", SESSION), ("POST", SESSION), ("GET", "/console-ca.pem")}

    def test_reading_needs_no_more_than_the_role_viewer(self):
        more = {r.path for r in ROUTES if r.method == "GET" and r.needs not in MAY[Role.VIEWER]}
        assert more == {
            "/api/devices/{device}/credentials",
            "/console/api/devices/{device}/audit",
            "/console/api/webhook-secret",
        }

    def test_a_change_needs_more_than_the_role_viewer(self):
        less = {r.path for r in ROUTES if r.method != "GET" and r.needs in MAY[Role.VIEWER]}
        assert less == {SESSION}

    async def test_a_path_without_a_declaration_is_closed(self, central, monkeypatch):
        async def forgotten(_):
            return web.Response(text="open")

        monkeypatch.setattr(page_api, "ROUTES", [])
        monkeypatch.setattr(
            "central.console.app._add",
            lambda app, route: app.router.add_route(route.method, route.path, route.handler),
        )
        monkeypatch.setattr(rest, "ROUTES", [Route("GET", "/x", forgotten, Permission.PUBLIC)])
        settings = network_settings(central.settings.data_dir.with_name("another"))
        async with open_central(settings) as other, browser_session(other) as http:
            await refused(http, "GET", "/x", headers=console_token(other), expect=403)


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_may_do_what_its_paths_declare(central, http, role):
    """Of a path that is allowed, any answer but 401 and 403 is right: the body is empty."""
    header = {"Authorization": new_token(central, "script", role, expires=LATER)}
    for route in ROUTES:
        if route.path.endswith(("/events", SESSION)) or "commands" in route.path:
            continue  # They wait; commands are below.
        async with http.request(route.method, concrete(route.path), headers=header) as response:
            refusing = response.status in {401, 403}
        assert refusing is (route.needs not in MAY[role]), (route.method, route.path)


@pytest.mark.parametrize(
    ("user", "status"), [("vera", 403), ("otto", 404), ("ann", 404)]
)  # 404: the device is not connected.
async def test_a_viewer_cannot_send_commands(central, http, user, status):
    await sign_in(http, central, user)
    path = "/api/devices/pi-1/commands/blink"
    error = await refused(http, "POST", path, {}, headers=origin(central), expect=status)
    if status == 403:
        assert error["message"] == (
            "vera has the role viewer. This needs the role operator or administrator."
        )


async def test_an_operator_sets_properties_and_deletes_nothing(central, http):
    await sign_in(http, central, "otto")
    headers = origin(central)
    body = {"brightness": 2}
    await ask(http, "PATCH", "/api/devices/pi-1/properties", body, headers=headers, expect=202)
    for method, path in (
        ("DELETE", "/api/devices/pi-1"),
        ("PUT", "/api/devices/pi-2"),
        ("GET", "/api/devices/pi-1/credentials"),
        ("POST", "/console/api/faults/cut"),
    ):
        await refused(http, method, path, headers=headers, expect=403)
    assert [device["id"] for device in (await ask(http, "GET", "/api/devices"))["value"]] == [
        "pi-1"
    ]


class TestRoom:
    """A viewer with pages that are not read takes no place of the others."""

    @pytest.fixture
    async def vera(self, central):
        """A client whose user has a page open."""
        async with browser_session(central) as vera:
            await sign_in(vera, central, "vera")
            async with vera.get("/console/api/events") as response:
                assert response.status == 200
                yield vera

    async def test_one_user_does_not_have_all_requests(self, central, http, vera, monkeypatch):
        monkeypatch.setattr(middleware, "MOST_OF_ONE", 1)
        await sign_in(http, central, "ann")
        error = await refused(vera, "GET", "/api/devices", expect=429)
        assert error["message"].startswith("1 requests of vera are already open.")
        await ask(http, "GET", "/api/devices")


class TestTokens:
    async def test_a_token_signs_a_script_in_without_an_origin(self, central, http):
        header = {"Authorization": new_token(central, "ci", Role.ADMINISTRATOR, expires=LATER)}
        await ask(http, "PUT", "/api/devices/pi-2", {}, headers=header)
        await ask(http, "GET", "/api/devices/pi-2/credentials", headers=header)

    async def test_the_token_in_the_data_directory_may_do_anything(self, central, http):
        assert central.console_token_file.stat().st_mode & 0o777 == 0o600
        header = console_token(central)
        await ask(http, "GET", "/api/devices/pi-1/credentials", headers=header)

    @pytest.mark.parametrize(
        "forge",
        [
            lambda token: token.replace("skn=reader", "skn=ci"),
            lambda token: token.replace("se=4000000000000", "se=4100000000000"),
            lambda token: re.sub("sig=[^&]+", "sig=AAAA", token),
            lambda token: re.sub("sig=[^&]+", "sig=", token),
            lambda token: re.sub("sr=[^&]+", "sr=other", token),
            lambda token: token.partition(" ")[2],
            lambda token: token.replace("SharedAccessSignature", "Bearer"),
            lambda token: token + "&skn=ci",
            lambda token: token[:-1],
            lambda _: "SharedAccessSignature sr=a&sig=b&skn=nobody&se=4000000000000",
            lambda _: "",
            lambda token: f"{token}\xff",
        ],
    )
    async def test_a_changed_token_is_refused(self, central, http, forge):
        new_token(central, "ci", Role.ADMINISTRATOR, expires=LATER)
        token = new_token(central, "reader", Role.VIEWER, expires=LATER)
        header = {"Authorization": forge(token)}
        assert header["Authorization"] != token
        await refused(http, "GET", "/api/devices", headers=header, expect=401)

    async def test_a_header_that_is_not_text_is_refused(self, central):
        context = ssl.create_default_context(cafile=str(central.console_ca_file))
        port = int(central.http.rstrip("/").rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"GET /api/devices HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: \xff\r\n\r\n")
        assert (await reader.readline()).split()[1] in {b"400", b"401"}
        writer.close()
        await writer.wait_closed()

    async def test_an_expired_or_removed_token_is_refused(self, central, http):
        old = {"Authorization": new_token(central, "old", Role.VIEWER, expires=1.0)}
        await refused(http, "GET", "/api/devices", headers=old, expect=401)
        gone = {"Authorization": new_token(central, "gone", Role.VIEWER, expires=LATER)}
        await ask(http, "GET", "/api/devices", headers=gone)
        await central.store.run(accounts.remove_token, "gone")
        await refused(http, "GET", "/api/devices", headers=gone, expect=401)

    async def test_a_wrong_token_is_not_replaced_by_the_cookie(self, central, http):
        await sign_in(http, central, "ann")
        header = {"Authorization": "SharedAccessSignature sr=a&sig=b&skn=c&se=1"}
        await refused(http, "GET", "/api/devices", headers=header, expect=401)

    async def test_a_device_key_is_not_an_api_token(self, central, http):
        primary, _ = central.registry.keys("pi-1")
        signature = sas._sign(primary, "devices/pi-1\n4000000000")
        text = f"SharedAccessSignature sr=devices%2Fpi-1&sig={signature}&se=4000000000"
        await refused(http, "GET", "/api/devices", headers={"Authorization": text}, expect=401)


class TestOtherOrigins:
    """The browser of a signed-in user visits an attacker's page."""

    @pytest.fixture(autouse=True)
    async def signed_in(self, central, http):
        assert await sign_in(http, central, "ann") == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {},  # An old browser, or none.
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://{host}"},
            {"Origin": "https://{host}.evil.example"},
            {"Origin": "https://{name}:1"},
        ],
    )
    async def test_a_foreign_page_changes_nothing(self, central, http, headers):
        host = central.http.removeprefix("https://").rstrip("/")
        name = host.rsplit(":", 1)[0]
        sent = {key: value.format(host=host, name=name) for key, value in headers.items()}
        for method, path, data in (
            ("PUT", "/api/devices/evil", b"{}"),
            ("DELETE", "/api/devices/pi-1", None),
            ("POST", "/api/devices/pi-1/commands/blink", b"{}"),
            ("PATCH", "/api/devices/pi-1/properties", b'{"brightness": 3}'),
            ("POST", "/console/api/faults/cut", None),
            ("DELETE", SESSION, None),
        ):
            text = {"Content-Type": "text/plain"}  # As a form of another page may send.
            await refused(http, method, path, data=data, headers=sent | text, expect=403)
        ids = [device["id"] for device in (await ask(http, "GET", "/api/devices"))["value"]]
        assert ids == ["pi-1"]

    @pytest.mark.parametrize("site", ["cross-site", "same-site"])
    async def test_a_foreign_page_reads_nothing(self, http, site):
        for path in ("/api/devices", "/console/api/events", "/metrics"):
            await refused(http, "GET", path, headers={"Sec-Fetch-Site": site}, expect=403)
        # A link from another page opens the console.
        async with http.get("/", headers={"Sec-Fetch-Site": site}) as response:
            assert response.status == 200

    @pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "10.0.0.1", "", "pi"])
    async def test_a_name_that_was_rebound_to_this_machine_is_refused(self, central, http, host):
        port = central.http.rstrip("/").rsplit(":", 1)[1]
        headers = {"Host": host.format(port=port)}
        for path in ("/", "/api/devices", SESSION):
            await refused(http, "GET", path, headers=headers, expect=403)
        attack = headers | {"Origin": f"https://{headers['Host']}"}
        await refused(http, "PUT", "/api/devices/evil", {}, headers=attack, expect=403)

    async def test_a_foreign_page_cannot_sign_the_browser_in_as_another_user(self, http):
        body = {"user": "vera", "password": "correct horse battery"}
        for headers in ({}, {"Origin": "https://evil.example"}):
            await refused(http, "POST", SESSION, body, headers=headers, expect=403)

    async def test_no_response_allows_other_origins(self, central, http):
        async with http.options("/api/devices", headers=origin(central)) as response:
            assert not [name for name in response.headers if name.startswith("Access-Control")]


class TestAudit:
    async def test_each_change_is_one_line_in_the_log_and_on_the_page(self, central, http, caplog):
        caplog.set_level(logging.INFO)
        await sign_in(http, central, "ann")
        headers = origin(central)
        await ask(http, "PATCH", "/api/devices/pi-1", {"displayName": "Kitchen"}, headers=headers)
        body = {"brightness": 2}
        await ask(http, "PATCH", "/api/devices/pi-1/properties", body, headers=headers, expect=202)
        await ask(http, "GET", "/api/devices/pi-1/credentials")
        await ask(http, "GET", "/api/devices/pi-1")
        await ask(http, "GET", "/console/api/devices/pi-1/audit")
        lines = [text for text in caplog.messages if text.startswith("Audit: ")]
        address = (await ask(http, "GET", "/console/api/devices/pi-1/audit"))["value"][0]["address"]
        who = f"Audit: ann (administrator) from {address}: "
        assert lines == [
            f"{who}PATCH /api/devices/pi-1, status 200.",
            f"{who}PATCH /api/devices/pi-1/properties, status 202.",
            f"{who}GET /api/devices/pi-1/credentials, status 200.",
        ]

    async def test_refused_changes_are_audited_with_their_status(self, central, http):
        await sign_in(http, central, "vera")
        await refused(http, "DELETE", "/api/devices/pi-1", headers=origin(central), expect=403)
        (entry,) = await central.store.run(accounts.audit_of, "pi-1")
        assert (entry.who, entry.status) == ("vera (viewer)", 403)

    async def test_an_entry_is_short_whatever_the_path_is(self, central, http):
        await sign_in(http, central, "vera")
        path = "/api/devices/" + 5000 * "x"
        await refused(http, "PUT", path, {}, headers=origin(central), expect=403)
        (entry,) = await central.store.run(accounts.audit_of, 128 * "x")
        assert len(entry.request) == 300

    async def test_the_audit_outlives_the_device(self, central, http):
        await sign_in(http, central, "ann")
        await ask(http, "DELETE", "/api/devices/pi-1", headers=origin(central), expect=204)
        found = await ask(http, "GET", "/console/api/devices/pi-1/audit")
        assert [entry["request"] for entry in found["value"]] == ["DELETE /api/devices/pi-1"]

    async def test_a_path_cannot_forge_a_line(self, central, http, caplog):
        caplog.set_level(logging.INFO)
        header = {"Authorization": new_token(central, "ci", Role.ADMINISTRATOR, expires=LATER)}
        path = "/api/devices/x%0AAudit:%20vera%20" + "y" * 500
        async with http.put(path, json={}, headers=header):
            pass
        (line,) = [text for text in caplog.messages if "Audit" in text]
        assert "\n" not in line
        assert len(line) < 500
        assert line.startswith("Audit: the API token ci (administrator) from ")


@pytest.mark.parametrize(
    "path",
    [
        "//api/devices",
        "/api//devices",
        "/%61pi/devices",
        "/api/%64evices/pi-1/credentials",
        "/api/devices/pi-1/credentials/",
        "/api/devices/pi-1/../pi-1/credentials",
        "/main.js/../api/devices",
        "/main.js/..%2fapi/devices",
        "/console-ca.pem/../console/api/central",
        "/api/devices;/console-ca.pem",
        "/API/devices",
        "http://evil.example/api/devices",
    ],
)
async def test_no_spelling_of_a_path_avoids_the_gate(central, path):
    context = ssl.create_default_context(cafile=str(central.console_ca_file))
    port = int(central.http.rstrip("/").rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    lines = f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", "", ""
    writer.write("\r\n".join(lines).encode())
    assert (await reader.readline()).split()[1] in {b"400", b"401"}
    writer.close()
    await writer.wait_closed()


async def test_hundreds_of_unknown_requests_change_nothing(central, http):
    statuses = await asyncio.gather(*[_status(http, number) for number in range(200)])
    assert set(statuses) <= {401, 429}


async def _status(http, number):
    async with http.put(f"/api/devices/evil-{number}", json={}) as response:
        return response.status
