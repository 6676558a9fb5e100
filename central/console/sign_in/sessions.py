"""How long a sign-in lasts. The browser has its secret, the database the secret's digest."""

import hashlib
import secrets

LONGEST = 7 * 86400.0
"""Seconds after which a user must sign in again in any case."""

IDLE = 12 * 3600.0
"""Seconds without a request after which a user must sign in again."""

RENEWED_AFTER = 600.0
"""Seconds after which the next request extends a sign-in. Not each request writes to the disk."""


def new_secret() -> str:
    """Return a secret of 256 random bits for a browser's cookie."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return what to store of a secret. It is random, so a plain hash is enough."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def expiry(created: float, now: float) -> float:
    """Return until when a sign-in lasts that was made at `created` and used at `now`."""
    return min(created + LONGEST, now + IDLE)


def is_worth_renewing(created: float, expires: float, now: float) -> bool:
    """Return whether using a sign-in now extends it by more than RENEWED_AFTER."""
    return expiry(created, now) - expires > RENEWED_AFTER
