"""API tokens, in the form of IoT Central's: `SharedAccessSignature sr=..&sig=..&skn=..&se=..`.

`sr` is the application's id, `skn` the token's name, `se` when it expires (unix milliseconds), and
`sig` 256 random bits in base64. Only a digest of all four is stored, so that a copy of the database
signs nobody in.

https://learn.microsoft.com/rest/api/iotcentral/authentication
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from urllib.parse import quote, unquote

SCHEME = "SharedAccessSignature"
FIELDS = ("sr", "sig", "skn", "se")
LONGEST = 1000  # Characters of a token.
LONGEST_TIME = 15  # Digits of `se`.


@dataclass(frozen=True, slots=True)
class Presented:
    """What a client presented as a token. It is genuine if `digest` is the stored one."""

    name: str
    digest: str
    expires: float  # Unix seconds.


def new_token(*, resource: str, name: str, expires: float) -> str:
    """Return a new token, which is the value of the header `Authorization`."""
    signature = base64.b64encode(secrets.token_bytes(32)).decode()
    values = (resource, signature, name, str(int(expires * 1000)))
    pairs = (
        f"{field}={quote(value, safe='')}" for field, value in zip(FIELDS, values, strict=True)
    )
    return f"{SCHEME} {'&'.join(pairs)}"


def parse(header: str) -> Presented | None:
    """Return the token in a header `Authorization`, or None if it is not one."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != SCHEME.lower() or len(rest) > LONGEST:
        return None
    pairs = [part.partition("=")[::2] for part in rest.strip().split("&")]
    found = {field: unquote(value, errors="replace") for field, value in pairs}
    if sorted(field for field, _ in pairs) != sorted(FIELDS):
        return None
    if not all(value and value.isprintable() for value in found.values()):
        return None  # A line break could move text from one field to the next in the digest.
    expires = found["se"]
    if not (expires.isascii() and expires.isdigit() and len(expires) <= LONGEST_TIME):
        return None
    text = "\n".join(found[field] for field in FIELDS)
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    return Presented(found["skn"], digest, int(expires) / 1000)
