"""Who may talk to the console: programs and pages of this machine, and no page from elsewhere.

The console has no passwords. It listens on the loopback interface alone; what remains is the
operator's own browser, which a foreign page might use: under a name that points to 127.0.0.1 (DNS
rebinding: seen by its Host), or with requests across origins (seen by their Origin).
"""

import asyncio
import re
from http import HTTPStatus

from aiohttp import web

from central.console.responses import Handler, refusal

POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


# Names that lead to this machine whoever is asked. The port is the browser's end of `ssh -L`, so it
# may be any.
OWN_HOST = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?")


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse foreign hosts and origins with 403."""
    hosts = [host.lower() for host in request.headers.getall("Host", [])]
    if len(hosts) != 1 or not OWN_HOST.fullmatch(hosts[0]):
        return refusal(
            HTTPStatus.FORBIDDEN,
            "Forbidden",
            "This console answers to localhost and 127.0.0.1 only. From another machine: "
            "ssh -L 8080:127.0.0.1:PORT HOST, then http://localhost:8080/.",
        )
    origins = request.headers.getall("Origin", [])
    # A page of another port of this machine is a foreign one too: its origin is not the host.
    if any(origin.lower() != f"http://{hosts[0]}" for origin in origins):
        return refusal(
            HTTPStatus.FORBIDDEN, "Forbidden", "Pages from elsewhere may not use this console."
        )
    return await handler(request)


MOST_AT_ONCE = 256  # Requests under way; each may hold a body, or wait for a device.
UNDER_WAY: web.AppKey[set[object]] = web.AppKey("under_way")


@web.middleware
async def bound(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse with 429 what is asked while too much is under way."""
    under_way = request.app[UNDER_WAY]
    if len(under_way) >= MOST_AT_ONCE:
        response = refusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            "TooManyRequests",
            f"{MOST_AT_ONCE} requests are under way already; ask again in a moment.",
        )
        response.headers["Retry-After"] = "1"
        return response
    task = asyncio.current_task()
    under_way.add(task)
    try:
        return await handler(request)
    finally:
        under_way.discard(task)


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Send the security headers with every answer, refusals included."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
