"""Signing in and out, and who is signed in."""

import asyncio
import logging
import math
from http import HTTPStatus

from aiohttp import web

from central.console.responses import (
    CENTRAL,
    RestError,
    answer,
    bad_request,
    look_up,
    not_found,
    read_object,
    refusal,
)
from central.console.routes import Routes
from central.console.sign_in import known_browsers, passwords, sessions
from central.console.sign_in.gate import MOST_HASHING, SIGN_IN, Identity, SignIn, identify
from central.console.sign_in.roles import Permission
from central.errors import InvalidUser
from central.records import User
from central.storage import accounts

routes = Routes()

PATH = "/console/api/session"
LONGEST_NAME = 64

log = logging.getLogger(__name__)


@routes.on("GET", PATH, needs=Permission.PUBLIC)
async def get_session(request: web.Request) -> web.Response:
    """Return who uses the page and what they may do; `user` is null before signing in."""
    sign_in = request.app[SIGN_IN]
    try:
        identity: Identity | None = await identify(request)
    except RestError:
        identity = None
    return answer(
        {
            "required": sign_in.required,
            "user": identity.name if identity and sign_in.required else None,
            "role": identity.role if identity else None,
            "may": sorted(identity.may) if identity else [],
            "authority": "/console-ca.pem" if sign_in.has_authority else None,
            "tokenFile": None if sign_in.required else str(sign_in.token_file),
        }
    )


@routes.on("POST", PATH, needs=Permission.PUBLIC)
async def start_session(request: web.Request) -> web.Response:
    """Sign a user in, with `user` and `password` in the body, and set the browser's cookie."""
    sign_in = request.app[SIGN_IN]
    if not sign_in.required:
        raise not_found(
            "The console of this central listens on this machine only and has no users."
        )
    if "Origin" not in request.headers:  # `guard` has compared it.
        raise RestError(
            HTTPStatus.FORBIDDEN, "Only the console's own page signs in. Scripts use an API token."
        )
    body = await read_object(request)
    name, password = body.get("user"), body.get("password")
    if not isinstance(name, str) or not isinstance(password, str):
        raise bad_request("user and password must be texts.")
    address = request.remote or ""
    if len(name) > LONGEST_NAME or len(password) > passwords.LONGEST:
        name, password = "", ""  # As wrong as any other.
    if sign_in.waiting >= MOST_HASHING:  # Not counted: all may be right, as when a class begins.
        return _too_many(address, 1.0)
    known_mark = request.cookies.get(sign_in.known_cookie, "")
    browser = known_browsers.find(known_mark, name, secret=sign_in.token)
    if wait := sign_in.attempts.begin(name, address, browser):
        return _too_many(address, wait)
    user = await _user(request, sign_in, name, password)
    if user is None:
        log.warning("A sign-in from %s failed: wrong name or password.", address)
        raise RestError(
            HTTPStatus.UNAUTHORIZED, "The name or the password is wrong.", code="WrongPassword"
        )
    sign_in.attempts.forgive(name, address, browser)
    log.info("%s (%s) signed in from %s.", user.name, user.role, address)
    response = answer({"user": user.name, "role": user.role})
    await _set_cookie(request, response, user)
    if browser is None:
        mark = known_browsers.new_mark(user.name, secret=sign_in.token)
        _give(response, sign_in.known_cookie, mark, seconds=known_browsers.LASTS)
    return response


@routes.on("DELETE", PATH, needs=Permission.VIEW)
async def end_session(request: web.Request) -> web.Response:
    """Sign the browser out."""
    identity = await identify(request)
    sign_in = request.app[SIGN_IN]
    if identity.sign_in is not None:
        await request.app[CENTRAL].store.run(accounts.end_sign_in, identity.sign_in)
        log.info("%s signed out.", identity.name)
    response = web.Response(status=HTTPStatus.NO_CONTENT)
    response.del_cookie(sign_in.cookie, path="/", secure=True, httponly=True, samesite="Strict")
    return response


async def _user(request: web.Request, sign_in: SignIn, name: str, password: str) -> User | None:
    """Return the user with this name and password, or None."""
    sign_in.waiting += 1
    try:
        user = await look_up(request, accounts.find_user, name)
        async with sign_in.hashing:
            stored = None if user is None else user.password
            right = await asyncio.to_thread(passwords.matches, password, stored)
    finally:
        sign_in.waiting -= 1
    return user if right else None


async def _set_cookie(request: web.Request, response: web.Response, user: User) -> None:
    sign_in, secret = request.app[SIGN_IN], sessions.new_secret()
    now = sign_in.clock()
    try:
        await request.app[CENTRAL].store.run(
            accounts.add_sign_in,
            user,
            sessions.digest(secret),
            instead_of=sessions.digest(request.cookies.get(sign_in.cookie, "")),
            created=now,
            expires=sessions.expiry(now, now),
        )
    except InvalidUser as error:
        raise RestError(HTTPStatus.UNAUTHORIZED, str(error)) from error
    _give(response, sign_in.cookie, secret, seconds=int(sessions.LONGEST))


def _give(response: web.Response, cookie: str, value: str, *, seconds: int) -> None:
    response.set_cookie(
        cookie, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="Strict"
    )


def _too_many(address: str, wait: float) -> web.Response:
    seconds = math.ceil(wait)
    log.warning("A sign-in from %s is refused for %d s: too many attempts.", address, seconds)
    response = refusal(
        HTTPStatus.TOO_MANY_REQUESTS,
        "TooManyRequests",
        f"There were too many attempts to sign in. Try again in {seconds} s.",
    )
    response.headers["Retry-After"] = str(seconds)
    return response
