"""Users of the console, their sign-ins, API tokens and the audit, in SQL.

Each function is a query for `Store`. Functions that take a name raise InvalidUser if it is unknown.
"""

import re
import sqlite3
import uuid
from collections.abc import Iterable

from central.errors import InvalidUser
from central.records import ApiToken, AuditEntry, Role, SignIn, User

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
MOST_SIGN_INS = 50  # Of one user. The oldest ends when there is one more.
MOST_AUDITED = 500  # Entries of one device that are returned.
MOST_KEPT = 100_000  # Entries: some 20 MB. A script must not take the room of messages.
MOST_REFUSED = 1_000  # Of them, entries of what somebody was not allowed to do.
FORBIDDEN = 403


def application_id(db: sqlite3.Connection) -> str:
    """Return the id of this central in API tokens, made when it is first needed."""
    new = str(uuid.uuid4())
    db.execute("INSERT OR IGNORE INTO settings VALUES ('application_id', ?)", (new,))
    row = db.execute("SELECT value FROM settings WHERE name = 'application_id'").fetchone()
    return str(row["value"])


# Users


def add_user(db: sqlite3.Connection, user: User) -> None:
    """Add a user. Raise InvalidUser if the name is taken or not a name."""
    check_name(user.name)
    if find_user(db, user.name) is not None:
        raise InvalidUser(f"There already is a user {user.name!r}.")
    db.execute(
        "INSERT INTO users VALUES (?, ?, ?, ?)", (user.name, user.role, user.password, user.created)
    )


def find_user(db: sqlite3.Connection, name: str) -> User | None:
    """Return a user, or None."""
    row = db.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()
    return None if row is None else _to_user(row)


def users(db: sqlite3.Connection) -> list[User]:
    """Return all users by name."""
    return [_to_user(row) for row in db.execute("SELECT * FROM users ORDER BY name")]


def set_password(db: sqlite3.Connection, name: str, password: str) -> None:
    """Replace a user's password, and end the user's sign-ins."""
    _check_found(db.execute("UPDATE users SET password = ? WHERE name = ?", (password, name)), name)
    db.execute("DELETE FROM sign_ins WHERE user = ?", (name,))


def remove_user(db: sqlite3.Connection, name: str) -> None:
    """Remove a user with all sign-ins."""
    _check_found(db.execute("DELETE FROM users WHERE name = ?", (name,)), name)


def has_administrator(db: sqlite3.Connection) -> bool:
    """Return whether there is a user with the role administrator."""
    row = db.execute("SELECT 1 FROM users WHERE role = ?", (Role.ADMINISTRATOR,)).fetchone()
    return row is not None


# Sign-ins


def add_sign_in(
    db: sqlite3.Connection,
    user: User,
    digest: str,
    *,
    created: float,
    expires: float,
    instead_of: str | None = None,
) -> None:
    """Record that a user signed in, and end the sign-in `instead_of`, if there is one.

    Raise InvalidUser if the user was removed or has another password since `user` was looked up.
    """
    if find_user(db, user.name) != user:
        raise InvalidUser(f"The user {user.name!r} was changed meanwhile.")
    if instead_of is not None:
        end_sign_in(db, instead_of)
    db.execute("INSERT INTO sign_ins VALUES (?, ?, ?, ?)", (digest, user.name, created, expires))
    db.execute(
        "DELETE FROM sign_ins WHERE user = ? AND digest NOT IN"
        " (SELECT digest FROM sign_ins WHERE user = ? ORDER BY created DESC LIMIT ?)",
        (user.name, user.name, MOST_SIGN_INS),
    )


def find_sign_in(db: sqlite3.Connection, digest: str, now: float) -> SignIn | None:
    """Return a sign-in with the user's present role, or None if there is none or it has expired."""
    row = db.execute(
        "SELECT digest, users.name, role, sign_ins.created, expires"
        " FROM sign_ins JOIN users ON users.name = user WHERE digest = ? AND expires > ?",
        (digest, now),
    ).fetchone()
    if row is None:
        return None
    return SignIn(row["digest"], row["name"], Role(row["role"]), row["created"], row["expires"])


def extend_sign_in(db: sqlite3.Connection, digest: str, expires: float) -> None:
    """Set when a sign-in expires, if it still exists."""
    db.execute("UPDATE sign_ins SET expires = ? WHERE digest = ?", (expires, digest))


def end_sign_in(db: sqlite3.Connection, digest: str) -> None:
    """End a sign-in, if it still exists."""
    db.execute("DELETE FROM sign_ins WHERE digest = ?", (digest,))


# API tokens


def add_token(db: sqlite3.Connection, token: ApiToken) -> None:
    """Add an API token. Raise InvalidUser if the name is taken or not a name."""
    check_name(token.name)
    if find_token(db, token.name) is not None:
        raise InvalidUser(f"There already is an API token {token.name!r}.")
    db.execute(
        "INSERT INTO api_tokens VALUES (?, ?, ?, ?, ?)",
        (token.name, token.role, token.digest, token.created, token.expires),
    )


def find_token(db: sqlite3.Connection, name: str) -> ApiToken | None:
    """Return an API token, also an expired one, or None."""
    row = db.execute("SELECT * FROM api_tokens WHERE name = ?", (name,)).fetchone()
    return None if row is None else _to_token(row)


def tokens(db: sqlite3.Connection) -> list[ApiToken]:
    """Return all API tokens by name, also expired ones."""
    return [_to_token(row) for row in db.execute("SELECT * FROM api_tokens ORDER BY name")]


def remove_token(db: sqlite3.Connection, name: str) -> None:
    """Remove an API token."""
    found = db.execute("DELETE FROM api_tokens WHERE name = ?", (name,))
    _check_found(found, name, kind="API token")


# Audit


def add_audit(db: sqlite3.Connection, entries: Iterable[AuditEntry]) -> None:
    """Add entries to the audit. They stay when their device is deleted."""
    db.executemany(
        "INSERT INTO audit (at, who, address, request, device_id, status)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            (entry.at, entry.who, entry.address, entry.request, entry.device_id, entry.status)
            for entry in entries
        ],
    )


def audit_of(db: sqlite3.Connection, device_id: str) -> list[AuditEntry]:
    """Return the newest entries of a device, newest first."""
    rows = db.execute(
        "SELECT * FROM audit WHERE device_id = ? ORDER BY number DESC LIMIT ?",
        (device_id, MOST_AUDITED),
    )
    return [
        AuditEntry(
            row["at"], row["who"], row["address"], row["request"], row["device_id"], row["status"]
        )
        for row in rows
    ]


def forget(db: sqlite3.Connection, *, before: float, now: float) -> None:
    """Delete expired sign-ins, and what was audited before `before` or is too much."""
    db.execute("DELETE FROM sign_ins WHERE expires <= ?", (now,))
    db.execute("DELETE FROM audit WHERE at < ?", (before,))
    # First, so that those who may change nothing cannot displace what others have changed.
    db.execute(
        "DELETE FROM audit WHERE status = ? AND number <= (SELECT number FROM audit"
        " WHERE status = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (FORBIDDEN, FORBIDDEN, MOST_REFUSED),
    )
    # Then the oldest of those who have most, so that nobody displaces what others have changed.
    (kept,) = db.execute("SELECT count(*) FROM audit").fetchone()
    if kept > MOST_KEPT:
        db.execute(
            "DELETE FROM audit WHERE number IN (SELECT number FROM (SELECT number, row_number()"
            " OVER (PARTITION BY who ORDER BY number DESC) AS place FROM audit)"
            " ORDER BY place DESC, number LIMIT ?)",
            (kept - MOST_KEPT,),
        )


def check_name(name: str) -> None:
    """Raise InvalidUser if a user or a token cannot have this name."""
    if not NAME.fullmatch(name):
        raise InvalidUser(
            f"{name[:80]!r} cannot be a name: it has 1 to 64 letters (A-Z, a-z), digits and . _ @ -"
            ", and begins with a letter or digit."
        )


def _check_found(done: sqlite3.Cursor, name: str, *, kind: str = "user") -> None:
    if not done.rowcount:
        raise InvalidUser(f"There is no {kind} {name!r}.")


def _to_user(row: sqlite3.Row) -> User:
    return User(row["name"], Role(row["role"]), row["password"], row["created"])


def _to_token(row: sqlite3.Row) -> ApiToken:
    return ApiToken(row["name"], Role(row["role"]), row["digest"], row["created"], row["expires"])
