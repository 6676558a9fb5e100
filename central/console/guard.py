"""Who may talk to the console: programs and pages of this machine, and no page from elsewhere.

The console has no passwords. It listens on the loopback interface alone; what remains is the
operator's own browser, which a foreign page might use: under a name that points to 127.0.0.1 (DNS
rebinding: seen by its Host), or with requests across origins (seen by their Origin).
"""

from http import HTTPStatus

from aiohttp import web

from central.console.answers import Handler, refusal

HTTP_PORT = 80

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


def own_hosts(port: int) -> frozenset[str]:
    """Return what a Host header may say."""
    names = ("127.0.0.1", "localhost", "[::1]")
    hosts = {f"{name}:{port}" for name in names}
    return frozenset(hosts | set(names) if port == HTTP_PORT else hosts)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse foreign hosts and origins with 403."""
    port = request.get_extra_info("sockname")[1]
    hosts = own_hosts(port)
    if request.headers.get("Host", "").lower() not in hosts:
        return refusal(
            HTTPStatus.FORBIDDEN,
            "Forbidden",
            f"This console answers to http://localhost:{port}/ and http://127.0.0.1:{port}/ only. "
            "Through ssh -L, use the same port number on both ends.",
        )
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() not in {f"http://{host}" for host in hosts}:
        return refusal(
            HTTPStatus.FORBIDDEN, "Forbidden", "Pages from elsewhere may not use this console."
        )
    return await handler(request)


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Send the security headers with every answer, refusals included."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
