"""The documents of a twin: check, merge, compare and wrap them; and strict JSON.

https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-device-twins#device-twin-properties-format
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from central.errors import InvalidTwin, TwinTooLarge

Document = dict[str, Any]

MAX_SIZE = 32 * 1024  # Bytes of a whole document.
MAX_VALUE = 4 * 1024  # Bytes of one string.
MAX_NAME = 1024
MAX_DEPTH = 10
MAX_INTEGER = 2**52


def parse_json(body: bytes | str) -> Any:
    """Return the value of a JSON text from outside.

    Raise ValueError, and nothing else, if it is not JSON: also for NaN, infinities, and a text that
    is nested too deeply.
    """
    try:
        return json.loads(body, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large")
    return number


def dump_json(value: object) -> str:
    """Return the shortest JSON text."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def check_patch(patch: object) -> Document:
    """Return a patch that the hub accepts. Raise InvalidTwin for any other."""
    if not isinstance(patch, dict):
        raise InvalidTwin("The properties must be a JSON object.")
    _check_object(patch, depth=1)
    return patch


def is_unicode(text: str) -> bool:
    """Return whether this is Unicode text. JSON can also contain halves of surrogate pairs."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f .$#]")


def is_property_name(name: str) -> bool:
    """Return whether the hub accepts this as the name of a property."""
    return (
        bool(name)
        and is_unicode(name)
        and not FORBIDDEN.search(name)
        and len(name.encode()) <= MAX_NAME
    )


def _check_object(value: Mapping[str, Any], *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidTwin(f"Properties may be nested at most {MAX_DEPTH} deep.")
    for name, part in value.items():
        if not is_property_name(name):
            raise InvalidTwin(
                f"{name[:40]!r} cannot be the name of a property: it has 1 to {MAX_NAME} bytes, "
                "without dots, spaces, $, # and control characters."
            )
        _check_value(name, part, depth=depth)


def _check_value(name: str, value: Any, *, depth: int) -> None:
    match value:
        case dict():
            _check_object(value, depth=depth + 1)
        case list():
            if depth >= MAX_DEPTH:
                raise InvalidTwin(f"Properties may be nested at most {MAX_DEPTH} deep.")
            for part in value:
                _check_value(name, part, depth=depth + 1)
        case str():
            _check_text(name, value)
        case bool() | None:
            pass  # A bool would match int() below.
        case int() | float():
            _check_number(name, value)
        case _:
            raise InvalidTwin(f"The value of {name!r} is not JSON.")


def _check_text(name: str, value: str) -> None:
    if not is_unicode(value):
        raise InvalidTwin(f"The text of {name!r} is not Unicode.")
    if len(value.encode()) > MAX_VALUE:
        raise InvalidTwin(f"The text of {name!r} is longer than {MAX_VALUE} bytes.")


def _check_number(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise InvalidTwin(f"The number of {name!r} is not finite.")
    if isinstance(value, int) and not -MAX_INTEGER <= value < MAX_INTEGER:
        raise InvalidTwin(f"The number of {name!r} is outside the hub's range of -2^52 to 2^52.")


def merge(document: Document, patch: Mapping[str, Any]) -> Document:
    """Return the document changed by a JSON merge patch (RFC 7396): null removes."""
    merged = dict(document)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            old = merged.get(name)
            merged[name] = merge(old if isinstance(old, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def difference(old: Document, new: Document) -> Document:
    """Return the merge patch that turns `old` into `new`."""
    patch: Document = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            if value != before:
                patch[name] = difference(before, value)
        elif name not in old or dump_json(value) != dump_json(
            before
        ):  # 1 differs from true and 1.0
            patch[name] = value
    return patch


def merge_within_limit(document: Document, patch: Mapping[str, Any]) -> Document:
    """Return the document changed by a merge patch. Raise TwinTooLarge above 32 KiB of JSON."""
    merged = merge(document, patch)
    size = len(dump_json(merged).encode())
    if size > MAX_SIZE:
        raise TwinTooLarge(size, MAX_SIZE)
    return merged


def wrapped(properties: Mapping[str, Any]) -> Document:
    """Return the properties as IoT Central sent them in 2020: each in an object, `{"value": 2}`."""
    return {name: None if value is None else {"value": value} for name, value in properties.items()}
