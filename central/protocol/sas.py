"""Shared access signatures: keys, how a device's is derived, and whether a token is valid.

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


class Unauthorized(Exception):  # noqa: N818 - says what is the case.
    """A token is not valid; `str()` says why, for the log. The client is not told."""


def new_key() -> str:
    """Return a new random key, in base64."""
    return base64.b64encode(secrets.token_bytes(64)).decode()


def check_key(key: str) -> str:
    """Return the key, or raise InvalidKey."""
    try:
        length = len(base64.b64decode(key, validate=True))
    except ValueError:
        raise InvalidKey from None
    if not 16 <= length <= 64:  # noqa: PLR2004 - as IoT Hub has it
        raise InvalidKey
    return key


def derive_device_key(group_key: str, device_id: str) -> str:
    """Return the key that a device of this enrolment group has, in base64.

    https://learn.microsoft.com/azure/iot-dps/concepts-symmetric-key-attestation#group-enrollments
    """
    return _sign(group_key, device_id)


def check_token(token: bytes | None, *, path: str, keys: Iterable[str], now: float) -> float:
    """Return when the token expires (unix seconds), or raise Unauthorized.

    The token must be for a resource that ends in `path` (before it, the service's own name,
    which is whatever the client reached it by), signed with one of `keys`, and not expired.
    """
    fields = _fields(token)
    resource, signature, expiry = fields.get("sr"), fields.get("sig"), fields.get("se")
    if resource is None or signature is None or expiry is None:
        raise Unauthorized("the password is no shared access signature")
    # `skn` names a policy. A device's own token has none, or that of the registration.
    if fields.get("skn") not in {None, "", "registration"}:
        raise Unauthorized("the token names a policy, and there are none here")
    if "/" + unquote(resource).partition("/")[2] != path:
        raise Unauthorized(f"the token is for {unquote(resource)!r}")
    signature = unquote(signature)
    signed = f"{resource}\n{expiry}"
    if not any(hmac.compare_digest(_sign(k, signed).encode(), signature.encode()) for k in keys):
        raise Unauthorized("the key is wrong")
    # Judged after the signature: who does not have the key learns nothing about the clock.
    if not (expiry.isascii() and expiry.isdigit() and len(expiry) <= 12):  # noqa: PLR2004 - a time
        raise Unauthorized(f"the token expires at {expiry[:20]!r}, which is no time")
    if int(expiry) <= now:
        raise Unauthorized(f"the token expired {now - int(expiry):.0f} s ago by the clock here")
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
