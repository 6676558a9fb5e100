"""Sends alerts to webhooks, as https://www.standardwebhooks.com describes: signed, and tried again.

A message is queued in the transaction that stores its alert, so that neither a crash nor a restart
loses it. A receiver may get one twice, with the same `webhook-id`.
"""

import asyncio
import base64
import hmac
import ipaddress
import json
import logging
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from central.errors import InvalidWebhook, StoreError, UnknownAlert
from central.events import Events
from central.records import Alert, Delivery, Event, iso
from central.storage import deliveries, rules
from central.storage.rules import condition_body
from central.storage.store import Store

DEADLINE = 10.0  # Seconds for the whole request.
MOST_ATTEMPTS = 12  # Over more than 3 hours.
FIRST_PAUSE, LONGEST_PAUSE = 10.0, 3600.0  # Seconds; each pause is twice the one before.
AT_ONCE = 64  # Receivers that are sent to at the same time, each one message.
LOOKED = 60.0  # Seconds after which due messages are looked for without an event.
LONGEST_URL = 2000
NOT_ALLOWED = "which central allows with --local-webhooks only"
DELIVERED = "delivered"
NUMBER = re.compile("[0-9]+|0[xX][0-9a-fA-F]*")
THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
# IPv4-compatible addresses, and those that NAT64 translates (RFC 6052 and 8215).
TRANSLATED = [ipaddress.IPv6Network(each) for each in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")]
SECRET_PREFIX = "whsec_"  # noqa: S105 - what the secret begins with

log = logging.getLogger(__name__)


def refusal_of(address: str) -> str | None:
    """Return why no message is sent to an IP address, or None if it may be."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = _embedded(ip) or ip
    if ip.is_loopback or ip.is_unspecified or ip in THIS_NETWORK:
        return f"{address} is an address of this machine, {NOT_ALLOWED}"
    if ip.is_link_local:
        return f"{address} is a link-local address, {NOT_ALLOWED}"
    if ip.is_multicast or ip == ipaddress.IPv4Address("255.255.255.255"):
        return f"{address} is an address of a group of machines, {NOT_ALLOWED}"
    return None


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that packets to an IPv6 address may be delivered to."""
    if any(ip in network for network in TRANSLATED):
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour


def check_url(text: str) -> None:
    """Raise InvalidWebhook if this cannot be the URL of a webhook."""
    try:
        url = URL(text)
        usable = url.scheme in {"http", "https"} and bool(url.host) and url.port is not None
    except ValueError:
        usable = False
    if not usable or len(text) > LONGEST_URL or url.user is not None or url.password is not None:
        raise InvalidWebhook(
            "A webhook is an http or https URL without a user name, of at most "
            f"{LONGEST_URL} characters."
        )


def secret_of(key: str) -> str:
    """Return the signing key as Standard Webhooks writes it."""
    return SECRET_PREFIX + key


def signed(key: str, message_id: str, now: float, body: bytes) -> dict[str, str]:
    """Return the headers of a message."""
    content = f"{message_id}.{int(now)}.".encode() + body
    digest = hmac.digest(base64.b64decode(key), content, "sha256")
    return {
        "Content-Type": "application/json",
        "User-Agent": "sensor-agent central",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def pause_after(attempts: int) -> float | None:
    """Return the seconds to wait after so many failed attempts; None: give up."""
    if attempts >= MOST_ATTEMPTS:
        return None
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempts - 1)))


class Resolver(AbstractResolver):
    """Looks up host names, and leaves out the addresses to which no message is sent.

    The connection is made to one of the addresses that were checked.
    """

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [each for each in found if refusal_of(each["host"]) is None]
        if not allowed:
            raise OSError(refusal_of(found[0]["host"]))
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


class Webhooks:
    """Sends the queued messages about alerts.

    With `allow_local`, also to loopback and link-local addresses.
    """

    def __init__(
        self, store: Store, events: Events, *, clock: Callable[[], float], allow_local: bool
    ) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._allow_local = allow_local
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Send whatever is due, until cancelled."""
        self._events.listen(self._on_event)
        sending: dict[str, asyncio.Task[None]] = {}
        try:
            async with self._session() as session:
                while True:
                    self._woken.clear()
                    pause = LOOKED
                    with suppress(StoreError):  # The next time may succeed.
                        pause = await self._start_due(session, sending)
                    with suppress(TimeoutError):  # The next delivery is due.
                        async with asyncio.timeout(pause):
                            await self._woken.wait()
        finally:
            self._events.unlisten(self._on_event)
            for task in sending.values():
                task.cancel()

    async def test(self, url: str) -> str:
        """Send a message that is only a test, once; return DELIVERED, or what failed."""
        now = self._clock()
        body = {"type": "test", "timestamp": iso(now), "data": {}}
        async with self._session() as session:
            return await self._post(session, url, f"test-{now:.0f}", body)

    def _on_event(self, event: Event) -> None:
        if event.kind == "alerts":
            self._woken.set()

    def _session(self) -> aiohttp.ClientSession:
        resolver = None if self._allow_local else Resolver()
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=DEADLINE),
        )

    async def _start_due(
        self, session: aiohttp.ClientSession, sending: dict[str, asyncio.Task[None]]
    ) -> float:
        """Begin to send the messages that are due; return the seconds until there may be another.

        One at a time to each URL, so that a slow receiver holds up only its own.
        """
        while len(sending) < AT_ONCE:
            delivery = await asyncio.to_thread(
                self._store.read, deliveries.next_due, besides=tuple(sending)
            )
            if delivery is None or delivery.due is None:
                return LOOKED
            if delivery.due > self._clock():
                return min(LOOKED, delivery.due - self._clock())
            task = asyncio.create_task(self._send(session, delivery))
            sending[delivery.url] = task
            task.add_done_callback(partial(self._sent, sending, delivery.url))
        return LOOKED

    def _sent(
        self, sending: dict[str, asyncio.Task[None]], url: str, task: asyncio.Task[None]
    ) -> None:
        """Go on with the next message to this URL."""
        del sending[url]
        if not task.cancelled():
            self._events.publish(Event("alerts", ""))  # The page shows what became of it.
            self._woken.set()

    async def _send(self, session: aiohttp.ClientSession, delivery: Delivery) -> None:
        """Send a message, and record what became of it."""
        try:
            alert = await asyncio.to_thread(self._store.read, rules.get_alert, delivery.alert)
            outcome = await self._attempt(session, alert, delivery)
            due = None if outcome == DELIVERED else self._next_attempt(alert, delivery, outcome)
            await self._store.run(deliveries.attempted, delivery.number, outcome=outcome, due=due)
        except UnknownAlert:
            return  # It was deleted with its device, and the message with it.
        except StoreError:  # The store has logged it. It is sent again, but not at once.
            await asyncio.sleep(LOOKED)

    async def _attempt(
        self, session: aiohttp.ClientSession, alert: Alert, delivery: Delivery
    ) -> str:
        """Send a message; return DELIVERED, or what failed, whatever it is."""
        try:
            body = _body(alert, delivery)
            return await self._post(session, delivery.url, f"alert-{delivery.number}", body)
        except StoreError:  # No attempt was made.
            raise
        except Exception as error:  # noqa: BLE001 - others are sent
            return _failure(error)

    def _next_attempt(self, alert: Alert, delivery: Delivery, outcome: str) -> float | None:
        """Log that a message was not delivered, and return when it is tried again."""
        pause = pause_after(delivery.attempts + 1)
        log.warning(
            "Cannot send alert %d of the rule %r to its webhook: %s. %s",
            alert.number,
            alert.rule_name,
            outcome,
            "It is not tried again." if pause is None else f"Trying again in {pause:g} s.",
        )
        return None if pause is None else self._clock() + pause

    async def _post(
        self, session: aiohttp.ClientSession, url: str, message_id: str, body: dict[str, Any]
    ) -> str:
        """Make one request; return DELIVERED, or what failed."""
        target = URL(url)
        if not self._allow_local and (refused := _literal_refusal(target.host or "")):
            return refused
        content = json.dumps(body).encode()
        key = await self._store.run(deliveries.signing_key)
        headers = signed(key, message_id, self._clock(), content)
        try:
            async with session.post(
                target, data=content, headers=headers, allow_redirects=False
            ) as response:  # Its body is not read.
                if 200 <= response.status < 300:  # noqa: PLR2004 - the successes of HTTP
                    return DELIVERED
                return f"the receiver responded with status {response.status}"
        except TimeoutError:
            return f"no response within {DEADLINE:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _failure(error)


def _failure(error: Exception) -> str:
    """Return what failed, without the URL: everybody who signs in sees it."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return "the receiver's certificate is not trusted, or not for its name"
        case aiohttp.ClientConnectorError():
            return f"cannot connect ({error.os_error.strerror or error.os_error})"
        case aiohttp.ServerDisconnectedError():
            return "the receiver closed the connection without a response"
        case aiohttp.ClientResponseError():
            return "the response is not HTTP"
        case OSError() if error.strerror:
            return f"the request failed ({error.strerror})"
        case _:
            return f"the request failed ({type(error).__name__})"


def _literal_refusal(host: str) -> str | None:
    """Return why no message is sent to a host that is an IP address; names are looked up later."""
    try:
        return refusal_of(host)
    except ValueError:
        # Such as 127.1 or 0177.0.0.1, which some functions take for addresses.
        is_number = ":" in host or NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2])
        return "the host is neither a name nor an address" if is_number else None


def _body(alert: Alert, delivery: Delivery) -> dict[str, Any]:
    return {
        "type": f"alert.{delivery.event}",
        "timestamp": iso(alert.recorded),
        "data": {
            "alert": alert.number,
            "rule": {"number": alert.rule, "name": alert.rule_name},
            "device": {"id": alert.device_id, "name": alert.device_name},
            "condition": condition_body(alert.condition),
            "value": alert.value,
            "fired": iso(alert.fired),
            "returned": None if alert.returned is None else iso(alert.returned),
        },
    }
