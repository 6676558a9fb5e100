"""What a request to each of IoT Central's paths may contain. Anything else is refused."""

from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from typing import Any

from aiohttp import web

from central.console.responses import Handler, RestError, bad_request, read_object
from central.console.routes import Route
from central.console.sign_in.roles import Permission

API_VERSIONS = (
    "1.0",
    "1.1-preview",
    "1.2-preview",
    "2022-05-31",
    "2022-06-30-preview",
    "2022-07-31",
    "2022-10-31-preview",
)
CONDITIONS = ("If-Match", "If-None-Match")

ANY_FIELD: Collection[str] = ()
"""The body of a path whose fields are names of properties. The handler checks them."""


Body = dict[str, Any]
BodyHandler = Callable[[web.Request, Body], Awaitable[web.StreamResponse]]


class Paths(list[Route]):
    """The paths of one topic. Each is declared with what a request may contain.

    Beside `api-version`, a path takes only the query parameters in `query`. Only a `conditional`
    path takes If-Match and If-None-Match.
    """

    def on(
        self,
        method: str,
        *paths: str,
        needs: Permission,
        query: Collection[str] = (),
        conditional: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Return a decorator for the handler of these paths, which take no body."""

        def decorate(handler: Handler) -> Handler:
            async def checked(request: web.Request) -> web.StreamResponse:
                _check_query(request, query)
                _check_conditions(request, conditional=conditional)
                if request.body_exists:
                    raise bad_request(f"{request.method} {request.path} takes no body.")
                return await handler(request)

            self.extend(Route(method, path, checked, needs) for path in paths)
            return handler

        return decorate

    def on_body(
        self,
        method: str,
        *paths: str,
        needs: Permission,
        fields: Collection[str],
        conditional: bool = False,
    ) -> Callable[[BodyHandler], BodyHandler]:
        """Return a decorator for the handler of these paths, which take a body with these fields.

        The body of a POST may be absent; then it has no fields.
        """

        def decorate(handler: BodyHandler) -> BodyHandler:
            async def checked(request: web.Request) -> web.StreamResponse:
                _check_query(request, ())
                _check_conditions(request, conditional=conditional)
                return await handler(request, await _read_body(request, fields))

            self.extend(Route(method, path, checked, needs) for path in paths)
            return handler

        return decorate


def _check_query(request: web.Request, offered: Collection[str]) -> None:
    for name in request.query:
        if name != "api-version" and name not in offered:
            known = ", ".join(["api-version", *offered])
            raise bad_request(
                f"The query parameter {name[:80]!r} is not supported here. Supported: {known}.",
                code="InvalidQuery",
            )
        if len(request.query.getall(name)) > 1:
            raise bad_request(f"The query has {name} more than once.", code="InvalidQuery")
    version = request.query.get("api-version", API_VERSIONS[-1])
    if version not in API_VERSIONS:
        raise bad_request(
            f"The api-version {version[:80]!r} is not supported. "
            f"Supported: {', '.join(API_VERSIONS)}.",
            code="UnsupportedApiVersionValue",
        )


def _check_conditions(request: web.Request, *, conditional: bool) -> None:
    for header in CONDITIONS:
        if header in request.headers and not conditional:
            raise RestError(
                HTTPStatus.BAD_REQUEST,
                f"{header} is not supported for {request.method} {request.path}.",
                code="InvalidHeader",
            )


async def _read_body(request: web.Request, fields: Collection[str]) -> Body:
    if request.method == "POST" and not request.body_exists:
        return {}
    body = await read_object(request)
    unknown = body.keys() - fields
    if unknown and fields is not ANY_FIELD:
        raise bad_request(
            f"The body has an unknown field {min(unknown)[:80]!r}. Known fields: "
            f"{', '.join(fields)}."
        )
    return body
