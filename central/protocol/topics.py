"""The topics of the hub and of provisioning, and the property bags in them.

https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_to_bytes

CREATION_TIME = "iothub-creation-time-utc"

# The system property `$.mid` on the wire is message_id in central, and so on.
SYSTEM_NAMES = {
    "mid": "message_id",
    "cid": "correlation_id",
    "uid": "user_id",
    "to": "to",
    "on": "output_name",
    "ct": "content_type",
    "ce": "content_encoding",
    "sub": "component",
    "ifid": "interface_id",
    "exp": "expiry",
    "ctime": "creation_time",
}


class BadBag(Exception):  # noqa: N818 - names what is wrong
    """A property bag is not percent-encoded UTF-8."""


def decode_bag(bag: str) -> dict[str, str]:
    """Return the properties of a percent-encoded bag: `%24.ct=text%2Fplain&a=b`. Raise BadBag."""
    properties = {}
    for part in bag.removeprefix("?").split("&"):
        if part:
            name, _, value = part.partition("=")
            properties[_unquote(name)] = _unquote(value)
    return properties


def encode_bag(properties: Mapping[str, str]) -> str:
    """Return the percent-encoded bag of these properties."""
    return "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in properties.items()
    )


def _unquote(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise BadBag(f"the property {text[:40]!r} is not UTF-8") from None


def split_properties(bag: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the application's properties, and the system's by their long names."""
    own, system = {}, {}
    for name, value in bag.items():
        if name.startswith("$."):
            short = name.removeprefix("$.")
            system[SYSTEM_NAMES.get(short, short)] = value
        else:
            own[name] = value
    return own, system


def creation_time(bag: Mapping[str, str]) -> float | None:
    """Return when the device created the message (unix seconds), or None without a valid time.

    The property `iothub-creation-time-utc` says it, or else the system's `$.ctime`. As in the
    service, only times in UTC are valid.
    """
    try:
        time = datetime.fromisoformat(bag.get(CREATION_TIME, bag.get("$.ctime", "")))
        if time.utcoffset() not in {None, timedelta(0)}:
            return None
        seconds = time.replace(tzinfo=UTC).timestamp()
        datetime.fromtimestamp(seconds, UTC)  # Fails if it was rounded up to the year 10000.
    except (ValueError, OverflowError):
        return None
    return seconds


def request_topic(topic: str, prefix: str) -> dict[str, str] | None:
    """Return the parameters of `{prefix}/?$rid=1&...`, or None for any other topic."""
    path, mark, query = topic.partition("/?")
    return decode_bag(query) if path == prefix and mark else None


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether a topic filter, perhaps with wildcards, matches a topic."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for number, level in enumerate(wanted):
        if level == "#":
            return True
        if number >= len(levels) or level not in {"+", levels[number]}:
            return False
    return len(wanted) == len(levels)
