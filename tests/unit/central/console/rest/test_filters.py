"""Filters, against a plain evaluation of the same expression."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.console.responses import RestError
from central.console.rest.devices import LISTING
from central.console.rest.filters import DEEPEST, LONGEST, parse_filter
from central.records import Device

TEXTS = st.text("abAB' é", max_size=3)
DEVICES = st.builds(
    Device,
    id=TEXTS,
    display_name=TEXTS,
    created=st.just(0.0),
    etag=st.just("e"),
    template=st.none() | TEXTS,
    enabled=st.booleans(),
    provisioned=st.booleans(),
    simulated=st.booleans(),
    organizations=st.lists(TEXTS, max_size=2).map(tuple),
)
TEXT_FIELDS = {"id": "id", "displayName": "display_name", "template": "template"}
FLAGS = ["enabled", "provisioned", "simulated"]
PYTHON = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


@st.composite
def comparisons(draw):
    """Return a comparison as OData and as a Python expression about `d`."""
    word = draw(st.sampled_from(list(PYTHON)))
    equality = draw(st.sampled_from(["eq", "ne"]))
    name, value = draw(st.sampled_from(list(TEXT_FIELDS))), draw(TEXTS)
    own = f"d.{TEXT_FIELDS[name]}"
    index = f"({own} or '').lower().find({value.lower()!r})"
    flag, on = draw(st.sampled_from(FLAGS)), draw(st.booleans())
    number = draw(st.integers(-1, 3))
    inside = {"eq": "in", "ne": "not in"}[equality]
    has_value = "True" if word in {"eq", "ne"} else f"{own} is not None"
    organizations = draw(st.sampled_from(["organizations", "scopes"]))
    return draw(
        st.sampled_from(
            [
                (
                    f"{name} {word} {quoted(value)}",
                    f"({has_value} and {own} {PYTHON[word]} {value!r})",
                ),
                (f"{name} {equality} null", f"({own} {PYTHON[equality]} None)"),
                (f"{flag} {equality} {str(on).lower()}", f"(d.{flag} {PYTHON[equality]} {on})"),
                (
                    f"{organizations} {equality} {quoted(value)}",
                    f"({value!r} {inside} d.organizations)",
                ),
                (f"contains({name}, {quoted(value)})", f"({index} >= 0)"),
                (
                    f"indexof({name},{quoted(value)}) {word} {number}",
                    f"({index} {PYTHON[word]} {number})",
                ),
            ]
        )
    )


EXPRESSIONS = st.recursive(
    comparisons(),
    lambda inner: (
        st.lists(inner, min_size=2, max_size=3).flatmap(
            lambda parts: st.sampled_from(["and", "or"]).map(
                lambda word: (
                    f" {word} ".join(f"({odata})" for odata, _ in parts),
                    f" {word} ".join(f"({python})" for _, python in parts),
                )
            )
        )
        | inner.map(lambda part: (f"not ({part[0]})", f"not ({part[1]})"))
        # `and` binds more closely than `or` in both languages.
        | st.tuples(inner, comparisons(), comparisons()).map(
            lambda parts: tuple(
                f"({first}) or {second} and {third}"
                for first, second, third in zip(*parts, strict=True)
            )
        )
    ),
    max_leaves=6,
)


@given(EXPRESSIONS, DEVICES)
def test_a_filter_means_what_it_means_in_python(expression, device):
    odata, python = expression
    matches = parse_filter(odata, LISTING.fields)
    assert matches(device) is eval(python, {"d": device})  # noqa: S307 - made above


DEVICE = Device("device1", "Kitchen", 0.0, "e", "dtmi:a:B;1", organizations=("redmond",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id eq 'device1' and scopes eq 'redmond'", True),
        ("Enabled ne true", False),
        ("indexof(displayName, 'device1') le -1", True),
        ("indexof(displayName, 'device1') ge 0", False),
        ("id eq 'device1' or simulated eq false", True),
        ("contains(displayName, 'KITCH')", True),
        ("template eq 'dtmi:a:B;1'", True),
        ("not id eq 'device1'", False),
        ("not not (((id eq 'device1')))", True),
        ("not(id eq 'x')and(enabled eq true)", True),
    ],
)
def test_the_documented_examples(text, expected):
    assert parse_filter(text, LISTING.fields)(DEVICE) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "id",
        "enabled",
        "id eq",
        "id eq device1",
        'id eq "device1"',
        "id eq 'device1",
        "id eq '''",
        "id eq 5",
        "id is 'device1'",
        "colour eq 'red'",
        "properties.x eq 'a'",
        "enabled eq 'true'",
        "enabled lt true",
        "scopes lt 'a'",
        "scopes eq null",
        "id lt null",
        "contains(enabled, 'x')",
        "contains(id, 5)",
        "contains(id)",
        "indexof(id, 'a')",
        "indexof(id, 'a') eq 'b'",
        "startswith(id, 'a')",
        "(id eq 'a'",
        "id eq 'a')",
        "id eq 'a' id eq 'b'",
        "id eq 'a' and",
        "id eq 'a' xor id eq 'b'",
        "'id' eq 'a'",
        "(" * (DEEPEST + 1) + "id eq 'a'" + ")" * (DEEPEST + 1),
        "not " * (DEEPEST + 1) + "id eq 'a'",
        f"id eq '{'x' * LONGEST}'",
    ],
)
def test_a_filter_that_is_not_understood_is_refused(text):
    with pytest.raises(RestError) as refused:
        parse_filter(text, LISTING.fields)
    assert (refused.value.status, refused.value.code) == (400, "InvalidQuery")
    assert len(str(refused.value)) < 250


@given(st.text() | st.text("ideqnot()', '").map(str))
def test_any_text_is_a_filter_or_refused(text):
    try:
        matches = parse_filter(text, LISTING.fields)
    except RestError:
        return
    assert matches(DEVICE) in {True, False}
