"""Shared access signatures: make and derive keys, and check tokens.

https://learn.microsoft.com/azure/iot-hub/authenticate-authorize-sas
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from urllib.parse import unquote

from central.errors import InvalidKey


class Unauthorized(Exception):  # noqa: N818 - names the outcome
    """A client did not prove its identity. `str()` says why, for the log and not for the client."""


def new_key() -> str:
    """Return a random key of 64 bytes, in base64."""
    return base64.b64encode(secrets.token_bytes(64)).decode()


def check_key(key: str) -> str:
    """Return a key that is 16 to 64 bytes in base64. Raise InvalidKey for any other."""
    try:
        length = len(base64.b64decode(key, validate=True))
    except ValueError:
        raise InvalidKey from None
    if not 16 <= length <= 64:  # noqa: PLR2004 - IoT Hub's limits
        raise InvalidKey
    return key


def derive_device_key(group_key: str, device_id: str) -> str:
    """Return the key of a device in this enrolment group, in base64. Raise InvalidKey.

    https://learn.microsoft.com/azure/iot-dps/concepts-symmetric-key-attestation#group-enrollments
    """
    return _sign(group_key, device_id)


def check_token(token: bytes | None, *, path: str, keys: Iterable[str], now: float) -> float:
    """Return when the token expires (unix seconds). Raise Unauthorized.

    The token must be for a resource that ends in `path` (after any host name), signed with one of
    `keys`, and not expired at `now` (unix seconds).
    """
    fields = _fields(token)
    resource, signature, expiry = fields.get("sr"), fields.get("sig"), fields.get("se")
    if resource is None or signature is None or expiry is None:
        raise Unauthorized("the password is not a shared access signature")
    # `skn` names a policy. A device's own token has none, or `registration`.
    if fields.get("skn") not in {None, "", "registration"}:
        raise Unauthorized("the token names a policy, which this central does not have")
    if "/" + unquote(resource).partition("/")[2] != path:
        raise Unauthorized(f"the token is for {unquote(resource)!r}")
    signature = unquote(signature)
    signed = f"{resource}\n{expiry}"
    if not any(hmac.compare_digest(_sign(k, signed).encode(), signature.encode()) for k in keys):
        raise Unauthorized("the key is wrong")
    # Checked after the signature, so that only holders of a key learn anything about the clock.
    if not (expiry.isascii() and expiry.isdigit() and len(expiry) <= 12):  # noqa: PLR2004 - a time
        raise Unauthorized(f"the token expires at {expiry[:20]!r}, which is not a time")
    if int(expiry) <= now:
        raise Unauthorized(f"the token expired {now - int(expiry):.0f} s ago by central's clock")
    return float(expiry)


def _fields(token: bytes | None) -> dict[str, str]:
    try:
        scheme, _, rest = (token or b"").decode("ascii").partition(" ")
    except UnicodeDecodeError:
        return {}
    if scheme != "SharedAccessSignature":
        return {}
    return dict(part.partition("=")[::2] for part in rest.split("&"))


def _sign(key: str, text: str) -> str:
    try:
        secret = base64.b64decode(key)
    except binascii.Error:
        raise InvalidKey from None
    return base64.b64encode(hmac.digest(secret, text.encode(), hashlib.sha256)).decode()
