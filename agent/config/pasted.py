"""Text that people paste into a file: keys and connection strings, as the portal shows them.

Each error says what the file holds instead, and never shows it.
"""

import base64
import binascii
import codecs
import json
import re
from contextlib import suppress
from dataclasses import dataclass, field

from agent.ranges import HOST_NAME, HUB_DEVICE_ID

UTF8_MARK = codecs.BOM_UTF8
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}

# 32 or 64 bytes in base64, as Azure makes them.
AZURE_KEY = re.compile(r"[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==")
CONNECTION_STRING = re.compile(
    r"(?:^|[;\s\"'])\s*(?:HostName|DeviceId|SharedAccessKey|SharedAccessKeyName|Endpoint)\s*=",
    re.IGNORECASE,
)

DEVICE_STRING = (
    "az iot hub device-identity connection-string show --hub-name HUB --device-id DEVICE"
)
PARTS = {
    name.lower(): name
    for name in ("HostName", "DeviceId", "SharedAccessKey", "x509")  # Microsoft's spelling.
}
LONGEST_NAME = 40  # Characters of the name of a part. A longer one may be part of a secret.


class PasteError(ValueError):
    """The text cannot be used. `str()` continues a sentence that begins with the file's name."""


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """The connection string of one device of IoT Hub. `key` is None if it has x509=true."""

    hub: str
    device_id: str
    key: str | None = field(repr=False)


def decode(raw: bytes) -> str:
    """Return the text of a file, in UTF-8 or in the UTF-16 of Windows' programs.

    Raises UnicodeDecodeError for anything else.
    """
    if raw.startswith(UTF16_MARKS):
        return raw.decode("utf-16")
    if 0 in raw[:2]:  # UTF-16 without a mark: no text here has a zero character.
        return raw.decode("utf-16-be" if raw[0] == 0 else "utf-16-le")
    return raw.decode("utf-8-sig")


def unquoted(text: str) -> str:
    """Return `text` without space around it, and without one pair of quotes."""
    text = text.strip()
    if len(text) > 1 and QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text


def is_connection_string(text: str) -> bool:
    """Return whether `text` is meant to be a connection string, of a device or of a service."""
    return CONNECTION_STRING.search(text) is not None


def is_key(text: str) -> bool:
    """Return whether `text` is a key as Azure makes them, or one without the `=` at its end."""
    bare = text.strip(" \t\r\n\"'`")
    if bare.startswith(("/", "~")) and not bare.endswith("="):
        return False  # A path.
    return re.fullmatch(r"(?:[A-Za-z0-9+/]{43}|[A-Za-z0-9+/]{86})={0,2}", bare) is not None


def check_key(text: str) -> None:
    """Raise PasteError, which says what `text` is, if it is not a key in base64."""
    if not text:
        raise PasteError("is empty, except for quotes.")
    if "-----BEGIN" in text:
        raise PasteError("holds a certificate or a private key in PEM, not a key in base64.")
    if text.startswith("SharedAccessSignature"):
        raise PasteError("holds a token (SharedAccessSignature), which expires, not a key.")
    if (lines := len(text.splitlines())) > 1:
        raise PasteError(f"holds {lines} lines; a key is one line.")
    if found := re.search(r"[^A-Za-z0-9+/=]", text):
        raise PasteError(
            f"holds a character that no key has, at position {found.start() + 1}. A key is one "
            "line of base64: letters, digits, +, / and = at the end."
        )
    try:
        decoded = base64.b64decode(text, validate=True)
    except binascii.Error:
        decoded = b""
    if not decoded:
        raise PasteError(
            f"holds a part of a key only, or more than one: its {len(text)} characters are not "
            "complete base64. Copy the key again."
        )


def parse_connection_string(text: str) -> ConnectionString:
    """Read the connection string of a device.

    The names of its parts may be in any order and in any case. Raises PasteError with the reason.
    https://learn.microsoft.com/azure/iot-hub/iot-hub-dev-guide-sas
    """
    text = _printed_by_azure(text)
    if not is_connection_string(text):
        raise PasteError(_no_connection_string(text))
    if len(text.splitlines()) > 1:
        raise PasteError("holds several lines; a connection string is one line.")
    parts = _parts(text)
    missing = [PARTS[name] for name in ("hostname", "deviceid") if not parts.get(name)]
    if missing:
        raise PasteError(f"holds a connection string without {' and '.join(missing)}. {_COPY}")
    hub, device_id = parts["hostname"], parts["deviceid"]
    if not re.fullmatch(HOST_NAME, hub):
        raise PasteError(f'holds a connection string with HostName="{_shown(hub)}", {_NOT_A_HOST}')
    if not re.fullmatch(HUB_DEVICE_ID, device_id) or AZURE_KEY.search(device_id):
        raise PasteError(
            f'holds a connection string with DeviceId="{_shown(device_id)}", which is not an id '
            f"that IoT Hub allows. {_COPY}"
        )
    return ConnectionString(hub, device_id, _key_of(parts))


_COPY = f"Copy the whole string again: {DEVICE_STRING}"
_NOT_A_HOST = "which is not a host name. It is the hub's name, without scheme and port."


def _printed_by_azure(text: str) -> str:
    """Return the connection string in the JSON that Azure's command line prints, else `text`."""
    if text.startswith("{"):
        with suppress(ValueError, RecursionError):  # Not JSON: it is refused as it is.
            match json.loads(text):
                case {"connectionString": str(inner)}:
                    return inner.strip()
    return text


def _no_connection_string(text: str) -> str:
    try:
        check_key(text)
    except PasteError:
        return f"does not hold a connection string, which begins with HostName=. {_COPY}"
    return (
        "holds a key only, not a connection string. Set hub and key_file in place of "
        f"connection_string_file, or copy the whole string: {DEVICE_STRING}"
    )


def _parts(text: str) -> dict[str, str]:
    """Return the parts by their names in lower case. A value may contain `=`."""
    parts: dict[str, str] = {}
    unknown = []
    for part in text.split(";"):
        name, separator, value = (word.strip() for word in part.partition("="))
        if not part.strip():
            continue
        lower = name.lower()
        if lower in parts:
            raise PasteError(f"holds a connection string that has {_shown(name)} twice. {_COPY}")
        parts[lower] = value if separator else ""
        if lower not in PARTS:
            unknown.append(_shown(name))
    _check_kind(parts)
    if unknown:
        raise PasteError(
            f"holds a connection string with the unknown part {' and '.join(unknown)}. {_COPY}"
        )
    return parts


def _check_kind(parts: dict[str, str]) -> None:
    """Raise PasteError if these are the parts of a string that is not a device's."""
    if "endpoint" in parts:
        raise PasteError(
            "holds the connection string of an Event Hubs endpoint, which is for programs that "
            f"read the hub's data. A device needs its own: {DEVICE_STRING}"
        )
    if "sharedaccesskeyname" in parts:
        raise PasteError(
            f'holds the connection string of the policy "{_shown(parts["sharedaccesskeyname"])}", '
            f"which is for services. A device needs its own: {DEVICE_STRING}"
        )
    if "sharedaccesssignature" in parts:
        raise PasteError(
            "holds a token (SharedAccessSignature), which expires. The string with the device's "
            f"key is needed: {DEVICE_STRING}"
        )
    if "moduleid" in parts:
        raise PasteError(
            "holds the connection string of a module (ModuleId). A device needs its own: "
            f"{DEVICE_STRING}"
        )
    if "gatewayhostname" in parts:
        raise PasteError(
            "holds a connection string with GatewayHostName. Connecting through an IoT Edge "
            "gateway is not supported; remove that part to connect to the hub itself."
        )


def _key_of(parts: dict[str, str]) -> str | None:
    key, x509 = parts.get("sharedaccesskey"), parts.get("x509", "false").lower()
    if x509 not in {"true", "false"}:
        raise PasteError(f'holds a connection string with x509="{_shown(x509)}", not true or false')
    if x509 == "true":
        if key is not None:
            raise PasteError(
                "holds a connection string with x509=true and SharedAccessKey. Remove one of them."
            )
        return None
    if not key:
        raise PasteError(f"holds a connection string without SharedAccessKey. {_COPY}")
    try:
        check_key(key)
    except PasteError as error:
        raise PasteError(f"holds a connection string whose SharedAccessKey {error}") from None
    return key


def _shown(text: str) -> str:
    """Return a text that is not a secret: shortened, on one line, and hidden if it may be one."""
    if re.search(r"[A-Za-z0-9+/]{40}", text):
        return "..."
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."
