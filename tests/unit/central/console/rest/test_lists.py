"""Lists in pages, against one sorted list of the same things."""

from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.console.responses import RestError
from central.console.rest.filters import LONGEST, Field
from central.console.rest.lists import LARGEST_PAGE, Listing, list_body, select

LISTING: Listing[tuple[str, str]] = Listing(
    fields={"id": Field("text", lambda thing: thing[0])},
    id=lambda thing: thing[0],
    name=lambda thing: thing[1],
)
THINGS = st.dictionaries(st.text("abé", max_size=3), st.text('xyé\n"', max_size=2), max_size=20)
ORDERS = st.sampled_from([None, "displayName", "displayName asc", "displayName desc"])
REQUEST_LINE = 8190  # Bytes, the most that the console's server accepts.


def request(query):
    return SimpleNamespace(scheme="http", host="localhost:8080", path="/api/devices", query=query)


def following(query, things):
    """Return a page, and the query of the next one or None."""
    shown, key = select(query, LISTING).page(things)
    link = list_body(request(query), shown, key).get("nextLink")
    return shown, None if link is None else dict(parse_qsl(urlsplit(link).query))


def in_order(things, order):
    if order is None:
        return sorted(things)
    return sorted(things, key=lambda thing: thing[::-1], reverse=order.endswith("desc"))


@given(THINGS, ORDERS, st.integers(1, 7), st.booleans(), st.data())
def test_the_pages_are_the_whole_list_also_while_it_changes(names, order, size, only_some, data):
    query = {"maxpagesize": str(size)}
    if order is not None:
        query["orderby"] = order
    if only_some:
        query["filter"] = "id ge 'b'"
    kept, seen = dict(names), []
    while query is not None:
        shown, query = following(query, list(names.items()))
        assert len(shown) <= size
        seen += shown
        if query is not None and names:
            gone = data.draw(st.sampled_from(sorted(names)))
            names = {name: label for name, label in names.items() if name != gone}
            kept.pop(gone, None)
            names |= data.draw(st.dictionaries(st.text("cd", min_size=4, max_size=4), st.text("z")))
    assert len(seen) == len(set(seen))
    assert seen == in_order(seen, order)
    stayed = [thing for thing in in_order(kept.items(), order) if not only_some or thing[0] >= "b"]
    assert [thing for thing in seen if kept.get(thing[0]) == thing[1]] == stayed


@given(st.integers(0, 70))
def test_pages_have_25_things_unless_asked_otherwise(count):
    things = [(f"{number:03}", "") for number in range(count)]
    sizes: list[int] = []
    query: dict[str, str] | None = {}
    while query is not None:
        shown, query = following(query, things)
        sizes.append(len(shown))
    assert sum(sizes) == count
    assert all(size == 25 for size in sizes[:-1])


@pytest.mark.parametrize(
    "query",
    [
        {"maxpagesize": "0"},
        {"maxpagesize": str(LARGEST_PAGE + 1)},
        {"maxpagesize": "-1"},
        {"maxpagesize": "1.5"},
        {"maxpagesize": "٣"},
        {"maxpagesize": ""},
        {"maxpagesize": "5", "$top": "5"},
        {"filter": "id eq 'a'", "$filter": "id eq 'a'"},
        {"filter": ""},
        {"orderby": "id"},
        {"orderby": "displayName up"},
        {"orderby": "displayName desc, id"},
        {"$skiptoken": ""},
        {"$skiptoken": "%"},
        {"$skiptoken": "bm9uc2Vuc2U="},
        {"$skiptoken": "WzFd"},  # [1]
        {"$skiptoken": "WyJhIl0=", "orderby": "displayName"},  # ["a"], of the other order
    ],
)
def test_a_query_that_is_not_understood_is_refused(query):
    with pytest.raises(RestError) as refused:
        select(query, LISTING)
    assert (refused.value.status, refused.value.code) == (400, "InvalidQuery")


def test_the_longest_next_link_is_a_request_that_is_accepted():
    longest = "id ge '" + "\x01" * (LONGEST - 8) + "'"
    things = [("x" * 128, "\x01" * 256), ("y" * 128, "\x01" * 256)]
    query = {"api-version": "2022-10-31-preview", "orderby": "displayName desc", "maxpagesize": "1"}
    shown, key = select(query | {"filter": longest}, LISTING).page(things)
    link = list_body(request(query | {"filter": longest}), shown, key)["nextLink"]
    assert len(f"GET {link} HTTP/1.1\r\n") < REQUEST_LINE
