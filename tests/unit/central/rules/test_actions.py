"""Where messages to webhooks may go, how they are signed, and how often they are tried."""

import base64
import hashlib
import hmac

import aiohttp
import pytest

from central.errors import InvalidWebhook
from central.rules import actions


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",  # noqa: S104 - not bound
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "0.1.2.3",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::1",
        "::ffff:169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "ff02::1",
    ],
)
def test_nothing_is_sent_to_this_machine_or_to_a_link(address):
    assert address in (actions.refusal_of(address) or "")


@pytest.mark.parametrize(
    "address",
    ["192.168.1.5", "10.0.0.1", "93.184.215.14", "2001:db8::1", "fd00::1", "64:ff9b::5db8:d70e"],
)
def test_other_addresses_are_allowed_private_ones_too(address):
    assert actions.refusal_of(address) is None


@pytest.mark.parametrize("host", ["127.1", "0177.0.0.1", "2130706433", "0x7f.1", "[::1"])
def test_what_some_functions_take_for_an_address_is_refused(host):
    assert "neither a name nor an address" in (actions._literal_refusal(host) or "")


@pytest.mark.parametrize("host", ["example.org", "3com.example", "a1"])
def test_a_name_is_looked_up(host):
    assert actions._literal_refusal(host) is None


@pytest.fixture
def looked_up(monkeypatch):
    """Return a function that looks up a name whose addresses are these, as the system would say."""

    async def resolve(*hosts):
        async def answer(_resolver, host, port, _family):
            return [{"hostname": host, "host": each, "port": port} for each in hosts]

        monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", answer)
        resolver = actions.Resolver()
        try:
            return [found["host"] for found in await resolver.resolve("name.example", 80)]
        finally:
            await resolver.close()

    return resolve


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_name_with_an_address_of_this_machine_is_refused(looked_up, host):
    with pytest.raises(OSError, match=r"^(127.0.0.1|::1) is an address of this machine"):
        await looked_up(host)


async def test_of_the_addresses_of_a_name_only_the_allowed_ones_are_used(looked_up):
    assert await looked_up("127.0.0.1", "192.168.1.5", "169.254.1.1") == ["192.168.1.5"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org/x",
        "ftp://example.org/",
        "https:///x",
        "http://user@example.org/",
        "http://:secret@example.org/",
        "http://example.org:99999/",
        "http://" + "a" * 2000,
    ],
)
def test_other_texts_are_not_webhooks(url):
    with pytest.raises(InvalidWebhook):
        actions.check_url(url)


def test_a_webhook_may_have_a_port_and_a_query():
    actions.check_url("https://example.org:8443/hook?key=1")


def test_a_message_is_signed_as_the_documentation_verifies_it():
    key = base64.b64encode(bytes(range(32))).decode()
    secret, body = actions.secret_of(key), b'{"type":"test"}'
    headers = actions.signed(key, "alert-7", 1_700_000_000.9, body)
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), content, hashlib.sha256)
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest.digest()).decode()}"
    assert headers["webhook-timestamp"] == "1700000000"


def test_attempts_slow_down_and_end():
    pauses = [actions.pause_after(attempts) for attempts in range(1, 13)]
    assert pauses[:3] == [10.0, 20.0, 40.0]
    assert pauses[-2:] == [3600.0, None]
