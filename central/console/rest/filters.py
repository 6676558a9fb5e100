"""Filters of lists: the part of OData's expressions that IoT Central documents.

Comparisons (eq, ne, lt, le, gt, ge) of a field with a literal, `contains(field, 'text')`,
`indexof(field, 'text')` as a number, and these joined by and, or, not and parentheses. Text is
compared by its code points; contains and indexof ignore case, as in IoT Central's examples.

https://learn.microsoft.com/azure/iot-central/core/howto-manage-devices-with-rest-api#filter
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from central.console.responses import RestError, bad_request

T = TypeVar("T")
Predicate = Callable[[T], bool]

LONGEST = 1500  # Bytes. With it, a next link stays shorter than the longest request line.
DEEPEST = 32  # Parentheses and nots in one another.

TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<word>@?\w+)|(?P<number>-\d+)|(?P<sign>\S))")
WORD = re.compile(r"@?[A-Za-z]\w*", re.ASCII)
NUMBER = re.compile(r"-?[0-9]{1,9}")

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
ANY_KIND = ("eq", "ne")  # The comparisons of true and false, null and lists.
LITERALS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Field(Generic[T]):
    """A field of things of one kind: a `text` (or None), a `flag`, or a list of `texts`."""

    kind: Literal["text", "flag", "texts"]
    get: Callable[[T], Any]


def parse_filter(text: str, fields: Mapping[str, Field[T]]) -> Predicate[T]:
    """Return the predicate that a filter means. Raises RestError for any other text."""
    if len(text.encode()) > LONGEST:
        raise _invalid(f"it has more than {LONGEST} bytes")
    parser = _Parser(text, fields)
    predicate = parser.any_of(0)
    parser.expect_end()
    return predicate


class _Parser(Generic[T]):
    """A recursive descent over the tokens. Each method consumes the tokens of its part."""

    def __init__(self, text: str, fields: Mapping[str, Field[T]]) -> None:
        self._tokens = [match[0].strip() for match in TOKEN.finditer(text.strip())]
        self._fields = {name.lower(): field for name, field in fields.items()}
        self._names = ", ".join(fields)

    def any_of(self, depth: int) -> Predicate[T]:
        parts = [self._all_of(depth)]
        while self._accept("or"):
            parts.append(self._all_of(depth))
        return parts[0] if len(parts) == 1 else lambda thing: any(part(thing) for part in parts)

    def _all_of(self, depth: int) -> Predicate[T]:
        parts = [self._term(depth)]
        while self._accept("and"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else lambda thing: all(part(thing) for part in parts)

    def _term(self, depth: int) -> Predicate[T]:
        if depth > DEEPEST:
            raise _invalid(f"it is nested more than {DEEPEST} deep")
        if self._accept("not"):
            negated = self._term(depth + 1)
            return lambda thing: not negated(thing)
        if self._accept("("):
            inner = self.any_of(depth + 1)
            self._expect(")")
            return inner
        if self._accept("contains"):
            find = self._search()
            return lambda thing: find(thing) >= 0
        if self._accept("indexof"):
            return self._index_comparison(self._search())
        return self._comparison()

    def _search(self) -> Callable[[T], int]:
        """Return the function of `(field, 'text')`: where the text begins in the field, or -1."""
        self._expect("(")
        name, field = self._field()
        if field.kind != "text":
            raise _invalid(f"{name} is not a text")
        self._expect(",")
        wanted = self._literal()
        self._expect(")")
        if not isinstance(wanted, str):
            raise _invalid("the second argument of a function must be a text in single quotes")
        sought = wanted.lower()
        return lambda thing: (field.get(thing) or "").lower().find(sought)

    def _index_comparison(self, find: Callable[[T], int]) -> Predicate[T]:
        compare, number = COMPARISONS[self._comparator()], self._literal()
        if type(number) is not int:
            raise _invalid("indexof must be compared with a number")
        return lambda thing: compare(find(thing), number)

    def _comparison(self) -> Predicate[T]:
        name, field = self._field()
        word, value = self._comparator(), self._literal()
        fits = isinstance(value, bool) if field.kind == "flag" else isinstance(value, str)
        if not fits and not (value is None and field.kind == "text"):
            kind = "true or false" if field.kind == "flag" else "a text in single quotes"
            raise _invalid(f"{name} must be compared with {kind}")
        if word not in ANY_KIND and (field.kind != "text" or value is None):
            raise _invalid(f"{name} can be compared with this by {' and '.join(ANY_KIND)} only")
        if field.kind == "texts":
            return lambda thing: (value in field.get(thing)) == (word == "eq")
        compare = COMPARISONS[word]
        if word in ANY_KIND:
            return lambda thing: compare(field.get(thing), value)
        return lambda thing: (own := field.get(thing)) is not None and compare(own, value)

    def _field(self) -> tuple[str, Field[T]]:
        name = self._next()
        # In IoT Central's examples, names with @ are in quotes.
        bare = name.strip("'") if name.startswith("'@") else name
        field = self._fields.get(bare.lower())
        if field is None:
            raise _invalid(f"{name[:40]!r} is not one of the fields {self._names}")
        return bare, field

    def _comparator(self) -> str:
        word = self._next()
        if word not in COMPARISONS:
            raise _invalid(f"{word[:40]!r} is not one of {', '.join(COMPARISONS)}")
        return word

    def _literal(self) -> str | bool | int | None:
        token = self._next()
        if len(token) > 1 and token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token in LITERALS:
            return LITERALS[token]
        if NUMBER.fullmatch(token):
            return int(token)
        raise _invalid(f"{token[:40]!r} is not a text in single quotes, a number, true or false")

    def _accept(self, wanted: str) -> bool:
        if self._tokens[:1] != [wanted]:
            return False
        del self._tokens[0]
        return True

    def _expect(self, wanted: str) -> None:
        if not self._accept(wanted):
            found = repr(self._tokens[0][:40]) if self._tokens else "its end"
            raise _invalid(f"{wanted!r} is missing before {found}")

    def expect_end(self) -> None:
        if self._tokens:
            raise _invalid(f"{self._tokens[0][:40]!r} is not expected; parts are joined by and, or")

    def _next(self) -> str:
        if not self._tokens:
            raise _invalid("it ends too early")
        return self._tokens.pop(0)


def _invalid(reason: str) -> RestError:
    return bad_request(f"The filter is not valid: {reason}.", code="InvalidQuery")
