"""Browsers in which a user has signed in before.

A cookie marks such a browser. Its attempts to sign in are counted separately, so wrong passwords
sent from elsewhere do not lock the user out (OWASP calls these "device cookies"). The cookie alone
does not sign anyone in.
"""

import hashlib
import hmac
from secrets import token_hex

LASTS = 180 * 86400  # Seconds.
PURPOSE = b"browsers in which a user has signed in"


def new_mark(name: str, *, secret: str) -> str:
    """Return the cookie's value for a browser in which this user has signed in."""
    browser = token_hex(16)
    return f"{browser}.{_signature(browser, name, secret)}"


def find(mark: str, name: str, *, secret: str) -> str | None:
    """Return which browser it is, or None if this user has not signed in there."""
    browser, _, signature = mark.partition(".")
    expected = _signature(browser, name, secret)
    return browser if hmac.compare_digest(_bytes(signature), expected.encode()) else None


def _signature(browser: str, name: str, secret: str) -> str:
    key = hmac.digest(secret.encode(), PURPOSE, hashlib.sha256)
    return hmac.digest(key, _bytes(f"{browser}.{name.lower()}"), hashlib.sha256).hex()


def _bytes(text: str) -> bytes:
    # A header's bytes that are not UTF-8 arrive as surrogates.
    return text.encode(errors="surrogatepass")
