"""Passwords, stored as scrypt hashes (RFC 7914): `scrypt$N$r$p$salt$hash`, in base64."""

import base64
import hashlib
import hmac
import secrets
import unicodedata

from central.errors import InvalidPassword

# 16 MiB and a fraction of a second. One of the equivalent choices of
# https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#scrypt
N, R, P = 2**14, 8, 5
SALT, HASH = 16, 32  # Bytes.

SHORTEST, LONGEST = 10, 256  # Characters.


def check_new(password: str, *, name: str) -> None:
    """Raise InvalidPassword if a password is not acceptable for the user `name`."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidPassword(f"A password must have {SHORTEST} to {LONGEST} characters.")
    if password.lower() == name.lower() or len(set(password)) == 1:
        raise InvalidPassword("The password is too easy to guess. Choose another one.")


def hash_password(password: str) -> str:
    """Return what to store of a password. Takes a fraction of a second."""
    salt = secrets.token_bytes(SALT)
    found = _scrypt(password, salt, N, R, P)
    return "$".join(("scrypt", str(N), str(R), str(P), _text(salt), _text(found)))


def matches(password: str, stored: str | None) -> bool:
    """Return whether a password is the stored one. Takes a fraction of a second.

    `stored` is None for an unknown user: no password matches, and it takes as long.
    """
    _, n, r, p, salt, expected = (stored or _nobody()).split("$")
    found = _scrypt(password, base64.b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(expected)) and stored is not None


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # The same password may arrive in another normal form from another keyboard.
    text = unicodedata.normalize("NFKC", password).encode(errors="surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, dklen=HASH)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _nobody() -> str:
    return "$".join(("scrypt", str(N), str(R), str(P), _text(bytes(SALT)), _text(bytes(HASH))))
