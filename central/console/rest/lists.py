"""Lists in pages: filtered, in order, and with a link to the next page.

A page begins after the last thing of the page before, so that things which are added and deleted
meanwhile neither repeat nor hide others.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from aiohttp import web

from central.console.responses import bad_request
from central.console.rest.filters import Field, Predicate, parse_filter

T = TypeVar("T")
Key = tuple[str, ...]

USUAL_PAGE = 25
LARGEST_PAGE = 100

TOKEN = "$skiptoken"  # noqa: S105 - the name of a query parameter
# The names of 2022-10-31-preview, and those of the previews before.
SIZE, FILTER, ORDER = ("maxpagesize", "$top"), ("filter", "$filter"), ("orderby", "$orderby")
LIST_QUERY = (*FILTER, *ORDER, *SIZE, TOKEN)


@dataclass(frozen=True)
class Listing(Generic[T]):
    """How things of one kind are filtered, identified and sorted by name."""

    fields: Mapping[str, Field[T]]
    id: Callable[[T], str]
    name: Callable[[T], str]


@dataclass(frozen=True)
class Selection(Generic[T]):
    """One page of a list, as a request asks for it."""

    matches: Predicate[T]
    key: Callable[[T], Key]
    descending: bool
    size: int
    after: Key | None  # The key of the last thing of the page before.

    def page(self, things: Iterable[T]) -> tuple[list[T], Key | None]:
        """Return the things of the page, and the last one's key if another page follows."""
        keyed = [(self.key(thing), thing) for thing in things if self.matches(thing)]
        if self.after is not None and self.descending:
            keyed = [each for each in keyed if each[0] < self.after]
        elif self.after is not None:
            keyed = [each for each in keyed if each[0] > self.after]
        keyed.sort(key=lambda each: each[0], reverse=self.descending)
        shown = keyed[: self.size]
        return [thing for _, thing in shown], shown[-1][0] if len(keyed) > len(shown) else None


def select(query: Mapping[str, str], listing: Listing[T]) -> Selection[T]:
    """Return what a query asks for. Raises RestError if it is malformed."""
    wanted = _one_of(query, FILTER)
    matches = (lambda _: True) if wanted is None else parse_filter(wanted, listing.fields)
    order = (_one_of(query, ORDER) or "").split()
    by_name = bool(order)
    if by_name and (order[0].lower() != "displayname" or order[1:] not in ([], ["asc"], ["desc"])):
        raise _invalid("orderby must be displayName, displayName asc or displayName desc.")
    return Selection(
        matches,
        (lambda thing: (listing.name(thing), listing.id(thing)))
        if by_name
        else (lambda thing: (listing.id(thing),)),
        descending=order[1:] == ["desc"],
        size=_size(_one_of(query, SIZE)),
        after=_read_token(query.get(TOKEN), 2 if by_name else 1),
    )


def list_body(request: web.Request, shown: list[Any], following: Key | None) -> dict[str, Any]:
    """Return a page's body, with the link to the next page if there is one."""
    if following is None:
        return {"value": shown}
    query = urlencode({**request.query, TOKEN: _token(following)})
    return {
        "value": shown,
        "nextLink": f"{request.scheme}://{request.host}{request.path}?{query}",
    }


def _one_of(query: Mapping[str, str], names: tuple[str, str]) -> str | None:
    """Return the value of a parameter with two names."""
    if all(name in query for name in names):
        raise _invalid(f"{' and '.join(names)} are two names of one parameter.")
    return next((query[name] for name in names if name in query), None)


def _size(text: str | None) -> int:
    if text is None:
        return USUAL_PAGE
    if re.fullmatch("[0-9]{1,3}", text) and 1 <= int(text) <= LARGEST_PAGE:
        return int(text)
    raise _invalid(f"{SIZE[0]} must be a number from 1 to {LARGEST_PAGE}, not {text[:40]!r}.")


def _token(key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps(key, ensure_ascii=False).encode()).decode()


def _read_token(token: str | None, parts: int) -> Key | None:
    if token is None:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, RecursionError):
        key = None
    if not isinstance(key, list) or [type(part) for part in key] != [str] * parts:
        raise _invalid(f"{TOKEN} does not come from a nextLink of this list.")
    return tuple(key)


def _invalid(sentence: str) -> Exception:
    return bad_request(sentence, code="InvalidQuery")
