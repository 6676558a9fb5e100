"""Conditions of a change: If-Match, If-None-Match, and the etag in a body.

https://www.rfc-editor.org/rfc/rfc9110#section-13
"""

from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from central.console.responses import RestError, bad_request
from central.console.rest.paths import Body

Etags = frozenset[str]
ANY = "*"


@dataclass(frozen=True)
class Condition:
    """The etags one of which a thing must have (None: any or no thing), and those it must not."""

    match: tuple[Etags, ...]
    none_match: Etags

    def check(self, etag: str | None) -> None:
        """Raise RestError (412) unless a thing with this etag, None for no thing, may change."""
        found = set() if etag is None else {ANY, _bare(etag)}
        if self.none_match & found:
            raise _failed("It already exists.")
        for wanted in self.match:
            if not wanted & found:
                raise _failed("It has changed or was deleted since it was read. Read it again.")


def condition_of(request: web.Request, body: Body | None = None) -> Condition:
    """Return the condition of a request. Raises RestError for a malformed etag in the body."""
    match = [_etags(header) for header in request.headers.getall("If-Match", [])]
    own = (body or {}).get("etag")
    if own is not None:
        if not isinstance(own, str):
            raise bad_request("etag must be a string.")
        match.append(frozenset({_bare(own)}))
    none_match = [_etags(header) for header in request.headers.getall("If-None-Match", [])]
    return Condition(tuple(match), frozenset().union(*none_match))


def _etags(header: str) -> Etags:
    return frozenset(_bare(etag) for etag in header.split(","))


def _bare(etag: str) -> str:
    """Return an etag without quotes and the mark of weak ones, which clients add and remove."""
    return etag.strip().removeprefix("W/").strip('"')


def _failed(sentence: str) -> RestError:
    return RestError(HTTPStatus.PRECONDITION_FAILED, sentence)
