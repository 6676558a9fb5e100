"""`sensor-agent central user` and `token`: who may use the console of the local IoT Central."""

import shlex
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

from agent.cli.setup.terminal_questions import ask_secret, is_terminal
from agent.errors import in_words
from central.console.sign_in import passwords, tokens
from central.errors import CentralError, InvalidPassword, InvalidUser
from central.records import ApiToken, Role, User, iso
from central.server import open_store
from central.storage import accounts
from central.storage.store import Store

DONE, FAILURE = 0, 1
DAY = 86400.0  # Seconds.
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Accounts:
    """Changes who may use the console of a central, running or not. Returns exit statuses."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def add_user(self, name: str, role: str, *, password_file: Path | None) -> int:
        """Add a user, whose password is in a file or asked for."""

        def act(store: Store) -> None:
            accounts.check_name(name)
            if store.read(accounts.find_user, name) is not None:
                raise InvalidUser(f"There already is a user {name!r}.")
            password = _new_password(name, password_file)
            user = User(name, Role(role), passwords.hash_password(password), time.time())
            store.call(accounts.add_user, user)
            print(f"Added {name} with the role {role}.")

        return self._change(act)

    def set_password(self, name: str, *, password_file: Path | None) -> int:
        """Give a user another password."""

        def act(store: Store) -> None:
            if store.read(accounts.find_user, name) is None:
                raise InvalidUser(f"There is no user {name!r}.")
            password = _new_password(name, password_file)
            store.call(accounts.set_password, name, passwords.hash_password(password))
            print(f"{name} has another password, and must sign in again.")

        return self._change(act)

    def remove_user(self, name: str) -> int:
        """Remove a user."""

        def act(store: Store) -> None:
            store.call(accounts.remove_user, name)
            print(f"Removed {name}.")

        return self._change(act)

    def list_users(self) -> int:
        """Print each user with the role."""

        def act(store: Store) -> None:
            for user in store.read(accounts.users):
                print(f"{user.name:<20} {user.role}")

        return self._change(act)

    def add_token(self, name: str, role: str, *, days: int) -> int:
        """Make an API token and print it. It is not stored, and cannot be printed again."""

        def act(store: Store) -> None:
            accounts.check_name(name)
            now = time.time()
            text = tokens.new_token(
                resource=store.call(accounts.application_id),
                name=name,
                expires=now + days * DAY,
            )
            made = tokens.parse(text)
            assert made is not None  # noqa: S101 - it was just made.
            store.call(
                accounts.add_token, ApiToken(name, Role(role), made.digest, now, made.expires)
            )
            print(text)

        return self._change(act)

    def remove_token(self, name: str) -> int:
        """Remove an API token."""

        def act(store: Store) -> None:
            store.call(accounts.remove_token, name)
            print(f"Removed {name}.")

        return self._change(act)

    def list_tokens(self) -> int:
        """Print each API token with its role and when it expires."""

        def act(store: Store) -> None:
            for token in store.read(accounts.tokens):
                print(f"{token.name:<20} {token.role:<14} expires {iso(token.expires)[:10]}")

        return self._change(act)

    def _change(self, act: Callable[[Store], None]) -> int:
        try:
            with open_store(self._data) as store:
                act(store)
        except CentralError as error:
            print(error, file=sys.stderr)
            return FAILURE
        except OSError as error:
            print(f"Cannot use {error.filename or self._data}: {in_words(error)}.", file=sys.stderr)
            return FAILURE
        return DONE


def _new_password(name: str, file: Path | None) -> str:
    """Return a new password from a file or the terminal. Raise InvalidPassword or OSError."""
    if file is not None:
        if file.stat().st_mode & OTHERS:
            raise InvalidPassword(
                f"Other users can read {file}. Type: chmod 600 {shlex.quote(str(file))}"
            )
        password = file.read_text(encoding="utf-8").strip()
    elif is_terminal():
        password = ask_secret(f"Password for {name}")
        if ask_secret("The same password again") != password:
            raise InvalidPassword("The two passwords differ. Nothing was changed.")
    else:
        raise InvalidPassword(
            "The password can be asked for only in a terminal. Use --password-file."
        )
    passwords.check_new(password, name=name)
    return password
