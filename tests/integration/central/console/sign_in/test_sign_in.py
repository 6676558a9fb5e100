"""Signing in and out, and attacks on it."""

import asyncio
import json
import logging
import ssl
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

import aiohttp
import pytest
from consoles import ask, eventually, refused
from signed_in import PASSWORD, browser_session, origin, sign_in

from central.console import addresses
from central.console.run import open_central
from central.console.sign_in import passwords, sessions
from central.console.sign_in.attempts import OF_BROWSER, OF_NAME_AT_ADDRESS
from central.errors import StartError
from central.records import Role
from central.server import open_store
from central.storage import accounts

PATH = "/console/api/session"


def cookies(http):
    return list(http.cookie_jar)


def session_cookie(http):
    """Return the cookie of a sign-in, or None."""
    return next((each for each in cookies(http) if not each.key.endswith("-known")), None)


async def test_nothing_is_seen_without_signing_in(http):
    for path in ("/api/devices", "/console/api/devices", "/console/api/central", "/api/nothing"):
        error = await refused(http, "GET", path, expect=401)
        assert error["code"] == "Unauthorized"
    for path in ("/", "/main.js", "/sign-in.html", "/console-ca.pem"):
        async with http.get(path) as response:
            assert response.status == 200
    assert (await ask(http, "GET", PATH))["user"] is None


async def test_a_user_signs_in_and_out(http, central):
    assert await sign_in(http, central, "ANN") == 200
    found = await ask(http, "GET", PATH)
    assert (found["user"], found["role"], found["required"]) == ("ann", "administrator", True)
    await ask(http, "GET", "/api/devices")
    cookie = session_cookie(http)
    await ask(http, "DELETE", PATH, headers=origin(central), expect=204)
    assert session_cookie(http) is None
    stolen = {"Cookie": f"{cookie.key}={cookie.value}"}
    await refused(http, "GET", "/api/devices", headers=stolen, expect=401)


async def test_a_secret_from_before_the_sign_in_is_not_used(http, central):
    """Session fixation: someone who has planted a cookie must not get in with the user."""
    name = f"__Host-central-{central.http.rstrip('/').rsplit(':', 1)[1]}"
    planted = {"Cookie": f"{name}=planted"}
    body = {"user": "ann", "password": PASSWORD}
    await ask(http, "POST", PATH, body, headers=origin(central) | planted)
    cookie = session_cookie(http)
    assert cookie.value != "planted"
    async with browser_session(central) as attacker:
        await refused(attacker, "GET", "/api/devices", headers=planted, expect=401)


async def test_signing_in_again_ends_the_sign_in_before(http, central):
    await sign_in(http, central, "ann")
    before = session_cookie(http)
    await sign_in(http, central, "otto")
    old = {"Cookie": f"{before.key}={before.value}"}
    async with browser_session(central) as other:
        await refused(other, "GET", "/api/devices", headers=old, expect=401)
    assert (await ask(http, "GET", PATH))["user"] == "otto"


async def test_the_cookie_is_for_this_host_only_and_hidden_from_scripts(http, central):
    await sign_in(http, central, "ann")
    cookie = session_cookie(http)
    assert cookie.key.startswith("__Host-")
    assert (cookie["secure"], cookie["httponly"], cookie["path"]) == (True, True, "/")
    assert cookie["samesite"] == "Strict"
    stored = central.store.read(lambda db: db.execute("SELECT digest FROM sign_ins").fetchall())
    assert [row["digest"] for row in stored] == [sessions.digest(cookie.value)]


async def test_each_sign_in_has_another_secret(http, central):
    """A secret that an attacker planted in the browser does not become valid."""
    await sign_in(http, central, "ann")
    first = session_cookie(http)
    await sign_in(http, central, "ann")
    second = session_cookie(http)
    assert first.value != second.value


@pytest.mark.parametrize(
    ("name", "password"),
    [("ann", "wrong"), ("nobody", PASSWORD), ("ann", ""), ("", ""), ("ann", "x" * 10_000),
     ("x" * 10_000, PASSWORD), ("ann' OR 1=1 --", "x"), ("ann\x00", PASSWORD)],
)  # fmt: skip
async def test_a_wrong_name_or_password_gets_the_same_answer(http, name, password, central):
    body = {"user": name, "password": password}
    error = await refused(http, "POST", PATH, body, headers=origin(central), expect=401)
    assert error["message"] == "The name or the password is wrong."
    assert cookies(http) == []


@pytest.mark.parametrize("body", [{}, {"user": "ann"}, {"user": 1, "password": []}])
async def test_an_incomplete_sign_in_is_a_bad_request(http, central, body):
    await refused(http, "POST", PATH, body, headers=origin(central), expect=400)


async def test_guessing_is_slowed_down_and_a_right_password_does_not_help(http, central):
    for _ in range(OF_NAME_AT_ADDRESS.burst):
        assert await sign_in(http, central, "ann", "wrong") == 401
    body = {"user": "ann", "password": PASSWORD}
    async with http.post(PATH, json=body, headers=origin(central)) as response:
        assert response.status == 429
        assert 0 < int(response.headers["Retry-After"]) <= OF_NAME_AT_ADDRESS.seconds
    assert await sign_in(http, central, "otto") == 200


async def test_a_user_is_not_kept_out_by_the_guesses_of_others(http, central):
    assert await sign_in(http, central, "ann") == 200
    await ask(http, "DELETE", PATH, headers=origin(central), expect=204)
    async with browser_session(central) as attacker:
        while await sign_in(attacker, central, "ann", "a guess") != 429:
            pass
        mark = next(cookie for cookie in cookies(http) if cookie.key.endswith("-known"))
        forged = {"Cookie": f"{mark.key}={mark.value[:32]}.{'0' * 64}"} | origin(central)
        body = {"user": "ann", "password": PASSWORD}
        await refused(attacker, "POST", PATH, body, headers=forged, expect=429)
    assert await sign_in(http, central, "ann") == 200
    assert await sign_in(http, central, "otto") == 200  # There, ann's mark is none.


async def test_guessing_where_the_user_signed_in_before_is_slowed_down(http, central):
    assert await sign_in(http, central, "ann") == 200
    for _ in range(OF_BROWSER.burst):
        assert await sign_in(http, central, "ann", "a guess") == 401
    assert await sign_in(http, central, "ann", "a guess") == 429


async def chunked():
    yield b"{}"


@pytest.mark.parametrize("body", [b"x" * 20_000, chunked()], ids=["long", "chunked"])
async def test_a_stranger_cannot_send_much(http, body):
    async with http.post(PATH, data=body) as response:
        assert response.status == 413
        assert "before signing in" in (await response.text()).lower()


async def test_a_class_that_signs_in_at_once_is_not_locked_out(http, central):
    names = ["ann", "otto", "vera"] * 8

    async def persist(name):
        async with browser_session(central) as browser:
            tries = 1
            while (status := await sign_in(browser, central, name)) == 429:
                tries += 1
                await asyncio.sleep(0.02)
            return status, tries

    found = await asyncio.gather(*map(persist, names))
    assert {status for status, _ in found} == {200}
    assert max(tries for _, tries in found) > 1


async def test_many_guesses_at_once_are_bounded(http, central, monkeypatch):
    """Each takes 16 MiB while it is checked."""
    running: list[int] = []
    most = 0
    matches = passwords.matches

    def counted(password, stored):
        nonlocal most
        running.append(1)
        most = max(most, len(running))
        try:
            return matches(password, stored)
        finally:
            running.pop()

    monkeypatch.setattr(passwords, "matches", counted)
    names = [f"user-{number}" for number in range(40)]
    statuses = await asyncio.gather(*[sign_in(http, central, name) for name in names])
    assert set(statuses) == {401, 429}
    assert most == 1


async def test_passwords_and_secrets_are_not_logged(http, central, caplog):
    caplog.set_level(logging.DEBUG)
    await sign_in(http, central, "ann", "a wrong password")
    await sign_in(http, central, "ann")
    cookie = session_cookie(http)
    assert "ann (administrator) signed in from" in caplog.text
    for secret in (PASSWORD, "a wrong password", cookie.value):
        assert secret not in caplog.text


class TestExpiry:
    @pytest.fixture
    def now(self):
        return [1_900_000_000.0]

    @pytest.fixture
    async def central(self, settings, now):
        async with open_central(replace(settings, clock=lambda: now[0])) as central:
            yield central

    @pytest.fixture
    async def http(self, central):
        # The certificate is one of that time.
        context = ssl.create_default_context(cafile=str(central.console_ca_file))
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        jar = aiohttp.CookieJar(unsafe=True)
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(central.http, connector=connector, cookie_jar=jar) as http:
            yield http

    async def test_an_unused_sign_in_ends(self, http, central, now):
        await sign_in(http, central, "ann")
        now[0] += sessions.IDLE
        await refused(http, "GET", "/api/devices", expect=401)

    async def test_a_used_sign_in_lasts_a_week(self, http, central, now):
        await sign_in(http, central, "ann")
        used = 0.0
        while used + sessions.IDLE / 2 < sessions.LONGEST:
            used += sessions.IDLE / 2
            now[0] += sessions.IDLE / 2
            await ask(http, "GET", "/api/devices")
        now[0] += sessions.IDLE / 2
        await refused(http, "GET", "/api/devices", expect=401)


@pytest.mark.parametrize(
    "change", [(accounts.remove_user, "ann"), (accounts.set_password, "ann", "x")]
)
async def test_a_removed_user_is_out_at_once(http, central, change):
    await sign_in(http, central, "ann")
    await ask(http, "GET", "/api/devices")
    await central.store.run(*change)
    await refused(http, "GET", "/api/devices", expect=401)


async def test_a_role_that_is_taken_away_is_gone_at_once(http, central):
    await sign_in(http, central, "ann")
    ann = central.store.read(accounts.find_user, "ann")

    def demote(db):
        db.execute("UPDATE users SET role = ? WHERE name = 'ann'", (Role.VIEWER,))

    await central.store.run(demote)
    path = "/api/devices/pi-1/credentials"
    await refused(http, "GET", path, expect=403)
    assert (await ask(http, "GET", PATH))["role"] == "viewer"
    # The command line removes a user and adds another one of this name.
    await central.store.run(accounts.remove_user, "ann")
    await central.store.run(accounts.add_user, ann)
    await refused(http, "GET", path, expect=401)


async def test_a_live_page_ends_with_the_sign_in(http, central, monkeypatch):
    for name in ("QUIET", "CHECKED_AGAIN"):
        monkeypatch.setattr(f"central.console.page_api.live.{name}", 0.05)
    await sign_in(http, central, "ann")
    async with http.get("/console/api/events") as response:
        assert response.status == 200
        await response.content.readline()
        await central.store.run(accounts.remove_user, "ann")
        async with asyncio.timeout(10):
            assert b"alive" in await response.content.read() or response.content.at_eof()


async def test_a_user_with_many_pages_keeps_no_other_user_out(http, central, monkeypatch):
    monkeypatch.setattr("central.console.page_api.live.MOST_STREAMS", 3)
    events = "/console/api/events"
    await sign_in(http, central, "vera")
    async with browser_session(central) as other, AsyncExitStack() as stack:
        await sign_in(other, central, "ann")
        pages = []
        for _ in range(3):
            pages.append(await stack.enter_async_context(http.get(events)))
            await pages[-1].content.readuntil(b"hello")
        await refused(http, "GET", events, expect=503)
        async with other.get(events) as response:
            assert response.status == 200
            async with asyncio.timeout(10):
                with suppress(aiohttp.ClientError):
                    while await pages[0].content.readany():
                        pass
        assert not pages[1].content.at_eof()


async def test_another_users_sign_in_stays(http, central):
    await sign_in(http, central, "otto")
    async with browser_session(central) as other:
        await sign_in(other, central, "ann")
        await ask(other, "DELETE", PATH, headers=origin(central), expect=204)
    await ask(http, "GET", "/api/devices")


async def test_a_sign_in_survives_a_restart(settings, tmp_path):
    async with open_central(settings) as central, browser_session(central) as http:
        await sign_in(http, central, "ann")
        cookie = session_cookie(http)
        port = central.http.rstrip("/").rsplit(":", 1)[1]
    again = replace(settings, http_port=int(port))
    async with open_central(again) as central, browser_session(central) as http:
        await ask(http, "GET", "/api/devices", headers={"Cookie": f"{cookie.key}={cookie.value}"})


async def test_without_an_administrator_central_does_not_start(settings):
    with open_store(settings.data_dir) as store:
        store.call(accounts.remove_user, "ann")
    with pytest.raises(StartError, match="user add NAME --role administrator"):
        async with open_central(settings):
            pass


async def test_plain_http_is_not_answered(central):
    port = int(central.http.rstrip("/").rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = await reader.read()
    assert b"200" not in answer
    writer.close()


async def test_a_running_console_follows_the_names_of_this_machine(settings, monkeypatch, caplog):
    names = ["127.0.0.1", "pi"]
    monkeypatch.setattr(addresses, "CHECKED_EVERY", 0.01)
    monkeypatch.setattr(addresses, "own_names", lambda *_: names)
    async with open_central(settings) as central, browser_session(central) as http:

        async def answers(host):
            async with http.get("/", headers={"Host": host}) as response:
                return response.status == 200

        assert await answers("pi")
        assert not await answers("new.pi")
        certificate = settings.data_dir / "console.pem"
        before = certificate.read_bytes()
        certificate.unlink()
        certificate.mkdir()  # It cannot be replaced for a while.
        names[:] = ["127.0.0.1", "new.pi"]
        await eventually(lambda: "keeps its certificate" in caplog.text)
        assert await answers("pi")
        certificate.rmdir()
        await eventually(lambda: answers("new.pi"))
        assert not await answers("pi")
        assert certificate.read_bytes() != before


async def test_scripts_find_the_files_of_the_console(central):
    info = json.loads((central.settings.data_dir / "central.json").read_text())
    assert info["http"].startswith("https://")
    assert info["console_ca_file"] == str(central.console_ca_file)
    assert info["console_token_file"] == str(central.console_token_file)
    assert central.console_fingerprint in central.summary()
