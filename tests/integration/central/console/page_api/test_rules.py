"""Rules and alerts over HTTP: what is accepted, who sees what, and webhooks that fail."""

import asyncio
import base64
import hmac
import json
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from aiohttp import web
from consoles import ask, eventually, record, refused

from central.rules import actions
from central.storage import devices, rules

RULES, ALERTS = "/console/api/rules", "/console/api/alerts"
HOT = {"kind": "telemetry", "telemetry": "temp", "above": True, "limit": 30, "margin": 1}
RULE = {"name": "Too warm", "condition": {**HOT, "seconds": 0}}


allowed = pytest.mark.parametrize("settings", [True], indirect=True, ids=["allowed"])


@asynccontextmanager
async def receiver(*answers):
    """Receive webhook messages on loopback, and answer with these statuses, the last for ever."""
    received = []

    async def take(request):
        received.append((dict(request.headers), await request.read()))
        status = answers[min(len(received), len(answers)) - 1]
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/hook", received
    finally:
        await runner.cleanup()


@pytest.fixture
def settings(settings, request):
    return replace(settings, local_webhooks=getattr(request, "param", False))


async def open_alerts(http):
    return (await ask(http, "GET", f"{ALERTS}?unacknowledged"))["value"]


class TestRules:
    @pytest.mark.parametrize(
        "condition",
        [
            {**HOT, "seconds": 600, "templates": []},
            {**HOT, "seconds": 0, "templates": ["dtmi:a:Celsius;1"]},
            {"kind": "silence", "seconds": 900},
            {"kind": "property", "property": "a*b", "values": [1, "x", True], "negated": False}
            | {"seconds": 0},
            {"kind": "missing", "count": 3, "seconds": 900},
        ],
    )
    async def test_a_rule_is_listed_as_it_was_added(self, http, condition):
        rule = {"name": "A rule", "condition": condition, "tags": ["cellar"], "devices": ["pi-1"]}
        rule |= {"enabled": True, "webhook": "https://example.org/hook"}
        added = await ask(http, "POST", RULES, rule, expect=201)
        (listed,) = (await ask(http, "GET", RULES))["value"]
        assert listed == {**rule, **added, "hasWebhook": True, "delivery": None}

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ({"name": " "}, "name"),
            ({"enabled": 1}, "enabled"),
            ({"condition": []}, "condition"),
            ({"condition": {"kind": "other"}}, "kind"),
            ({"condition": {**HOT, "seconds": -1}}, "seconds"),
            ({"condition": {**HOT, "seconds": 0, "limit": "30"}}, "limit"),
            ({"condition": {**HOT, "seconds": 0, "above": None}}, "above"),
            ({"condition": {**HOT, "seconds": 0, "templates": "x"}}, "templates"),
            ({"condition": {"kind": "silence", "seconds": 1}}, "seconds"),
            ({"condition": {"kind": "missing", "count": 0, "seconds": 0}}, "count"),
            ({"condition": {"kind": "property", "property": "x", "values": []}}, "values"),
            ({"condition": {"kind": "property", "property": "x", "values": [{}]}}, "values"),
            ({"tags": "cellar"}, "tags"),
            ({"devices": ["a b"]}, "devices"),
            ({"webhook": "http://user:pass@example.org"}, "webhook"),
        ],
    )
    async def test_a_rule_that_cannot_be_judged_is_refused(self, http, change, what):
        error = await refused(http, "POST", RULES, {**RULE, **change}, expect=400)
        assert what in error["message"]

    async def test_there_is_a_limit_of_rules(self, http, monkeypatch):
        monkeypatch.setattr("central.console.page_api.rules.MOST_RULES", 1)
        await ask(http, "POST", RULES, RULE, expect=201)
        assert "limit" in (await refused(http, "POST", RULES, RULE, expect=400))["message"]

    @pytest.mark.parametrize("number", ["9", "x", "9" * 30])
    async def test_an_unknown_rule_is_not_found(self, http, number):
        await refused(http, "PUT", f"{RULES}/{number}", RULE, expect=404)
        await refused(http, "DELETE", f"{RULES}/{number}", expect=404)


class TestAlerts:
    async def test_an_alert_is_acknowledged_and_stays_in_the_history(self, http, central):
        rule = await ask(http, "POST", RULES, RULE, expect=201)
        await record(central, {"temp": 31})
        (alert,) = await eventually(lambda: open_alerts(http))
        assert alert["value"] == 31
        template = central.store.read(devices.get, "pi-1").template
        assert alert["device"] == {"id": "pi-1", "name": "pi-1", "template": template}
        assert (await ask(http, "GET", f"{ALERTS}/count")) == {"unacknowledged": 1}
        numbers = {"numbers": [alert["number"]]}
        await ask(http, "POST", f"{ALERTS}/acknowledge", numbers, expect=204)
        assert await open_alerts(http) == []
        await ask(http, "DELETE", f"{RULES}/{rule['number']}", expect=204)
        (alert,) = (await ask(http, "GET", ALERTS))["value"]
        assert alert["acknowledgedBy"] == "a local user"
        assert alert["returned"]

    @pytest.mark.parametrize("numbers", [None, 1, [True], [-1], [2**60], ["1"]])
    async def test_only_numbers_of_alerts_are_acknowledged(self, http, numbers):
        body = {"numbers": numbers}
        await refused(http, "POST", f"{ALERTS}/acknowledge", body, expect=400)

    async def test_an_unknown_alert_is_not_found(self, http):
        await refused(http, "POST", f"{ALERTS}/acknowledge", {"numbers": [7]}, expect=404)

    async def test_older_alerts_follow(self, http, central, monkeypatch):
        monkeypatch.setattr("central.console.page_api.alerts.SHOWN", 2)
        await ask(http, "POST", RULES, RULE, expect=201)
        for temp in (31, 20, 32, 20, 33):
            await record(central, {"temp": temp})

        async def all_three():
            first = await ask(http, "GET", ALERTS)
            return first if first["unacknowledged"] == 3 else None

        first = await eventually(all_three)
        assert first["more"] is True
        rest = await ask(http, "GET", f"{ALERTS}?before={first['value'][-1]['number']}")
        assert [each["value"] for each in first["value"] + rest["value"]] == [33, 32, 31]


class TestWebhooks:
    @allowed
    async def test_a_message_is_signed_and_tried_again(self, http, central, monkeypatch):
        monkeypatch.setattr(actions, "FIRST_PAUSE", 0.01)
        async with receiver(500, 302, 204) as (url, received):
            await ask(http, "POST", RULES, {**RULE, "webhook": url}, expect=201)
            await record(central, {"temp": 31})

            async def delivered():
                (alert,) = await open_alerts(http) or [None]
                sent = alert["webhook"] if alert else [{"outcome": ""}]
                return sent[0]["outcome"] == "delivered" and sent

            sent = await eventually(delivered)
        assert sent[0]["attempts"] == 3
        assert [headers["webhook-id"] for headers, _ in received] == ["alert-1"] * 3
        secret = (await ask(http, "GET", "/console/api/webhook-secret"))["secret"]
        headers, body = received[-1]
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), content, "sha256")
        assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
        message = json.loads(body)
        assert message["type"] == "alert.fired"
        assert message["data"]["device"] == {"id": "pi-1", "name": "pi-1"}
        assert message["data"]["value"] == 31

    async def test_nothing_is_sent_to_this_machine_unless_it_is_allowed(self, http, central):
        async with receiver(204) as (url, received):
            hosts = ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127\u30020.0.1")
            for host in hosts:
                target = url.replace("127.0.0.1", host)
                body = {"url": target}
                result = await ask(http, "POST", "/console/api/webhook-test", body)
                assert "address of this machine" in result["outcome"], host
        assert received == []

    @allowed
    async def test_a_test_message_shows_what_became_of_it(self, http, monkeypatch):
        monkeypatch.setattr(actions, "DEADLINE", 0.3)
        async with receiver(404) as (url, received):
            result = await ask(http, "POST", "/console/api/webhook-test", {"url": url})
            assert result == {"outcome": "the receiver responded with status 404"}
            assert json.loads(received[0][1])["type"] == "test"
        result = await ask(http, "POST", "/console/api/webhook-test", {"url": url})
        assert "cannot connect" in result["outcome"]
        with socket.create_server(("127.0.0.1", 0)) as server:  # It never accepts.
            body = {"url": f"http://127.0.0.1:{server.getsockname()[1]}/"}
            result = await ask(http, "POST", "/console/api/webhook-test", body)
        assert result == {"outcome": "no response within 0.3 s"}

    @allowed
    @pytest.mark.parametrize(
        "sent", [b"", b"not HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"]
    )
    async def test_an_outcome_does_not_say_the_url(self, http, sent):
        """Its path may be the secret, and viewers see the outcome."""

        async def answer(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(sent)
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            body = {"url": f"http://127.0.0.1:{port}/secret"}
            result = await ask(http, "POST", "/console/api/webhook-test", body)
        assert "secret" not in result["outcome"]
        assert "receiver closed" in result["outcome"] or "not HTTP" in result["outcome"]

    @allowed
    async def test_a_slow_receiver_holds_up_no_other(self, http, central):
        """It never responds, has many messages, and they are older."""
        slow = {"name": "Slow", "condition": {**HOT, "limit": 10, "seconds": 0}}
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}/"
            await ask(http, "POST", RULES, {**slow, "webhook": url}, expect=201)
            for _ in range(10):
                await record(central, {"temp": 11})
                await record(central, {"temp": 0})

            async def waiting():
                return len(central.store.read(rules.alerts)) == 10

            await eventually(waiting)
            async with receiver(204) as (other, received):
                await ask(http, "POST", RULES, {**RULE, "webhook": other}, expect=201)
                await record(central, {"temp": 31})

                async def arrived():
                    return received

                async with asyncio.timeout(actions.DEADLINE - 1):
                    await eventually(arrived)

    @allowed
    async def test_an_endless_response_is_not_read(self, http):
        async def answer(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
            with suppress(ConnectionError):  # Central has closed the connection.
                while True:
                    writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                    await writer.drain()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            body = {"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"}
            result = await ask(http, "POST", "/console/api/webhook-test", body)
        assert result == {"outcome": "the receiver responded with status 500"}

    @allowed
    async def test_a_message_that_cannot_be_made_is_an_attempt_that_failed(
        self, http, central, monkeypatch
    ):
        monkeypatch.setattr(actions, "_body", lambda *_: 1 // 0)
        await ask(http, "POST", RULES, {**RULE, "webhook": "http://127.0.0.1:9/"}, expect=201)
        await record(central, {"temp": 31})

        async def failed():
            (rule,) = (await ask(http, "GET", RULES))["value"]
            return rule["delivery"]

        sent = await eventually(failed)
        assert sent["outcome"] == "the request failed (ZeroDivisionError)"
        assert sent["next"]

    async def test_attempts_that_fail_are_given_up(self, http, central, monkeypatch):
        monkeypatch.setattr(actions, "FIRST_PAUSE", 0.01)
        monkeypatch.setattr(actions, "MOST_ATTEMPTS", 2)
        await ask(http, "POST", RULES, {**RULE, "webhook": "http://127.0.0.1:9/"}, expect=201)
        await record(central, {"temp": 31})

        async def given_up():
            (rule,) = (await ask(http, "GET", RULES))["value"]
            sent = rule["delivery"]
            return sent if sent and sent["next"] is None else None

        sent = await eventually(given_up)
        assert sent["attempts"] == 2
        assert "address of this machine" in sent["outcome"]
        assert len(central.store.read(rules.alerts)) == 1
