"""Who makes a request, and whether they may: the middlewares `gate` and `audit`."""

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from central.console.responses import CENTRAL, MAKER, Handler, RestError, look_up
from central.console.sign_in import sessions, tokens
from central.console.sign_in.attempts import Attempts
from central.console.sign_in.roles import LOCAL, MAY, Permission
from central.console.sign_in.sites import Site
from central.errors import CentralError, StoreError
from central.records import AuditEntry, Role
from central.storage import accounts

LONGEST_REQUEST = 300  # Characters of a request in the audit,
LONGEST_DEVICE = 128  # and of a device id, which need not be one.
SAFE = {"GET", "HEAD"}
AUDITED = {Permission.OPERATE, Permission.ADMINISTER, Permission.KEYS}
MOST_HASHING = 8  # Sign-ins that wait for their password to be checked, one at a time.

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """Who makes a request, and what they may do."""

    name: str
    may: frozenset[Permission]
    role: Role | None = None  # None: someone on this machine, without signing in.
    sign_in: str | None = None  # The digest of the sign-in, for a browser.


@dataclass
class Access:
    """What was found out about a request, for `audit` around it."""

    needs: Permission | None = None
    identity: Identity | None = None
    devices: dict[str, int] = field(default_factory=dict)
    """The status of each device, by its id, if the request changes many."""


ACCESS: ContextVar[Access] = ContextVar("access")


@dataclass
class SignIn:
    """How the console knows its users."""

    site: Site
    required: bool
    """Whether requests need a user or a token. If not, only programs of this machine reach it."""

    token_file: Path
    token: str
    """The token in that file, with which a program that can read the file may do anything."""

    cookie: str
    """The name of the cookie with the secret of a sign-in."""

    has_authority: bool = False
    """Whether /console-ca.pem is the authority of the console's certificate."""

    clock: Callable[[], float] = time.time
    attempts: Attempts = field(default_factory=lambda: Attempts(time.monotonic))
    hashing: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0

    @property
    def known_cookie(self) -> str:
        """The name of the cookie of a browser in which a user has signed in before."""
        return f"{self.cookie}-known"


SIGN_IN: web.AppKey[SignIn] = web.AppKey("sign_in")
NEEDS: web.AppKey[dict[web.AbstractRoute, Permission]] = web.AppKey("needs")


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a request that its maker may not make: 401 if unknown, 403 if not allowed."""
    needs = _needed(request)
    access = ACCESS.get()
    access.needs = needs
    request[MAKER] = request.remote or "unknown"
    if needs is not Permission.PUBLIC:
        identity = await identify(request)
        access.identity = identity
        request[MAKER] = identity.name
        if needs not in identity.may:
            raise _not_allowed(request, identity, needs)
        if identity.sign_in and request.method not in SAFE and "Origin" not in request.headers:
            # Browsers send it with every change. `guard` has compared it.
            raise RestError(
                HTTPStatus.FORBIDDEN, "A change by a signed-in browser needs the header Origin."
            )
    return await handler(request)


def _needed(request: web.Request) -> Permission:
    """Return what the path needs. One without a declaration cannot be used by anyone."""
    match = request.match_info
    if match.http_exception is not None:  # No such path or method.
        return Permission.VIEW
    needs = request.app[NEEDS].get(match.route)
    if needs is None:
        raise RestError(HTTPStatus.FORBIDDEN, f"{request.path} does not declare what it needs.")
    return needs


def _not_allowed(request: web.Request, identity: Identity, needs: Permission) -> RestError:
    if identity.role is None:
        return RestError(
            HTTPStatus.UNAUTHORIZED,
            "Device keys need the token of this central. Send the content of "
            f"{request.app[SIGN_IN].token_file} as the header Authorization.",
            code="TokenRequired",
        )
    able = [role for role, may in MAY.items() if needs in may]
    return RestError(
        HTTPStatus.FORBIDDEN,
        f"{identity.name} has the role {identity.role}. This needs the role {' or '.join(able)}.",
    )


async def identify(request: web.Request) -> Identity:
    """Return who makes a request. Raise RestError with 401 if that is not known."""
    sign_in = request.app[SIGN_IN]
    header = request.headers.get("Authorization")
    known = None if header is None else await _by_token(request, header)
    if not sign_in.required:
        # Everyone on this machine may use the console; a token can only add to that.
        extra = known.may if known else frozenset()
        role = known.role if known and known.may > LOCAL else None
        return Identity(known.name if known else "a local user", LOCAL | extra, role)
    if header is None:
        known = await _by_cookie(request)
    if known is None:
        raise RestError(
            HTTPStatus.UNAUTHORIZED,
            "Sign in, or send an API token as the header Authorization."
            if header is None
            else "The API token is unknown or has expired. "
            "`sensor-agent central token add` makes another one.",
            code="Unauthorized",
        )
    return known


async def _by_token(request: web.Request, header: str) -> Identity | None:
    sign_in = request.app[SIGN_IN]
    presented_bytes = header.strip().encode(errors="replace")
    if hmac.compare_digest(presented_bytes, sign_in.token.encode()):
        return Identity("the console token", MAY[Role.ADMINISTRATOR], Role.ADMINISTRATOR)
    presented = tokens.parse(header)
    if presented is None:
        return None
    found = await look_up(request, accounts.find_token, presented.name)
    if found is None or not hmac.compare_digest(found.digest, presented.digest):
        return None
    if min(found.expires, presented.expires) <= sign_in.clock():
        return None
    return Identity(f"the API token {found.name}", MAY[found.role], found.role)


async def _by_cookie(request: web.Request) -> Identity | None:
    sign_in = request.app[SIGN_IN]
    secret = request.cookies.get(sign_in.cookie)
    if not secret:
        return None
    now = sign_in.clock()
    found = await look_up(request, accounts.find_sign_in, sessions.digest(secret), now)
    if found is None:
        return None
    if sessions.is_worth_renewing(found.created, found.expires, now):
        until = sessions.expiry(found.created, now)
        with suppress(StoreError):  # It is logged. The sign-in just expires earlier.
            await request.app[CENTRAL].store.run(accounts.extend_sign_in, found.digest, until)
    return Identity(found.user, MAY[found.role], found.role, found.digest)


async def still_may(request: web.Request) -> bool:
    """Return whether a long request that the gate let in would be let in now."""
    try:
        identity = await identify(request)
    except CentralError:
        return False
    return ACCESS.get().needs in identity.may


@web.middleware
async def audit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Record each request that may change something or reads keys, with its maker and outcome."""
    access = Access()
    ACCESS.set(access)
    status = 0  # The client did not wait for the response.
    try:
        response = await handler(request)
        status = response.status
    finally:
        is_audited = access.needs is Permission.KEYS or request.method not in SAFE
        if is_audited and access.needs in AUDITED and access.identity is not None:
            of_path = {request.match_info.get("device"): status}
            await _record(request, access.identity, access.devices or of_path)
    return response


async def _record(
    request: web.Request, identity: Identity, devices: Mapping[str, int] | Mapping[str | None, int]
) -> None:
    line = f"{request.method} {request.rel_url.raw_path}"[:LONGEST_REQUEST]
    address, who = request.remote or "unknown", identity.name
    if identity.role is not None:
        who += f" ({identity.role})"
    now, store = request.app[SIGN_IN].clock(), request.app[CENTRAL].store
    entries = []
    for named, status in devices.items():
        device = named and named[:LONGEST_DEVICE]
        of_many = device and "device" not in request.match_info
        where = f"{line} of {device}" if of_many else line
        log.info("Audit: %s from %s: %s, status %d.", who, address, where, status)
        entries.append(AuditEntry(now, who, address, line, device, status))
    with suppress(StoreError):  # It is in the log.
        await store.run(accounts.add_audit, entries)
