"""`sensor-agent central user` and `token`, in a terminal and without one."""

import os
import pty
import sqlite3
import sys
from pathlib import Path

import pytest

from agent.cli.parser import main
from central.console.sign_in import passwords
from central.console.sign_in import tokens as api_tokens
from central.records import Role
from central.server import open_store
from central.storage import accounts
from central.storage.store import SCHEMA_VERSION

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch):
    monkeypatch.setattr(passwords, "N", 2**4)


@pytest.fixture
def data(tmp_path):
    return tmp_path / "central"


@pytest.fixture
def central(data):
    def run(*words):
        return main(["central", "--data", str(data), *words])

    return run


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return path


def user(data, name):
    with open_store(data) as store:
        return store.read(accounts.find_user, name)


def test_the_first_administrator_is_added_before_the_first_start(central, data, password_file):
    words = ("user", "add", "ann", "--role", "administrator")
    assert central(*words, "--password-file", str(password_file)) == 0
    found = user(data, "ann")
    assert found.role is Role.ADMINISTRATOR
    assert passwords.matches(PASSWORD, found.password)
    assert data.stat().st_mode & 0o777 == 0o700
    assert PASSWORD not in (data / "central.db").read_bytes().decode(errors="replace")


def test_the_directory_may_be_named_after_the_command(data, password_file, capsys):
    words = ["user", "add", "ann", "--role", "viewer", "--password-file", str(password_file)]
    assert main(["central", *words, "--data", str(data)]) == 0
    assert main(["central", "user", "list", "--data", str(data)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["ann", "viewer"]


def test_a_user_gets_another_password_and_is_removed(central, data, password_file, capsys):
    words = ("--password-file", str(password_file))
    central("user", "add", "ann", "--role", "viewer", *words)
    password_file.write_text("another horse battery")
    assert central("user", "password", "ann", *words) == 0
    assert passwords.matches("another horse battery", user(data, "ann").password)
    assert central("user", "remove", "ann") == 0
    assert user(data, "ann") is None
    assert central("user", "remove", "ann") == 1
    assert capsys.readouterr().err == "There is no user 'ann'.\n"


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        ("short", 0o600, "A password must have 10 to 256 characters."),
        ("aaaaaaaaaaaaaa", 0o600, "too easy to guess"),
        (PASSWORD, 0o644, "Other users can read"),
    ],
)
def test_an_unfit_password_adds_nobody(central, data, password_file, capsys, text, mode, sentence):
    password_file.write_text(text)
    password_file.chmod(mode)
    words = ("--password-file", str(password_file))
    assert central("user", "add", "ann", "--role", "viewer", *words) == 1
    assert sentence in capsys.readouterr().err
    assert user(data, "ann") is None


def test_a_bad_or_taken_name_is_reported_before_the_password_is_asked_for(
    central, password_file, capsys
):
    words = ("--role", "viewer", "--password-file")
    assert central("user", "add", "b b", *words, "/no") == 1
    assert "'b b' cannot be a name" in capsys.readouterr().err
    central("user", "add", "ann", *words, str(password_file))
    assert central("user", "add", "Ann", *words, "/no") == 1
    assert capsys.readouterr().err == "There already is a user 'Ann'.\n"


def test_a_missing_password_file_is_named(central, tmp_path, capsys):
    words = ("--password-file", str(tmp_path / "no"))
    assert central("user", "add", "ann", "--role", "viewer", *words) == 1
    assert f"Cannot use {tmp_path / 'no'}: No such file or directory" in capsys.readouterr().err


def test_a_password_is_never_an_argument(central, capsys):
    with pytest.raises(SystemExit):
        central("user", "add", "ann", "--role", "viewer", "--password", PASSWORD)
    with pytest.raises(SystemExit):
        central("user", "password", "ann", f"--password={PASSWORD}")
    said = capsys.readouterr().err
    assert "--password is not an option: other users could see it." in said
    assert PASSWORD not in said


def test_without_a_terminal_a_password_cannot_be_asked_for(central, capsys, monkeypatch):
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert central("user", "add", "ann", "--role", "viewer") == 1
    assert "Use --password-file" in capsys.readouterr().err


@pytest.mark.parametrize(("second", "status"), [(PASSWORD, 0), ("a different one", 1)])
def test_in_a_terminal_the_password_is_asked_for_twice_and_not_shown(
    central, data, monkeypatch, second, status
):
    controller, terminal = pty.openpty()
    os.write(controller, f"{PASSWORD}\n{second}\n".encode())  # Typed ahead.
    with os.fdopen(terminal, "r") as typed:
        monkeypatch.setattr(sys, "stdin", typed)
        assert central("user", "add", "ann", "--role", "viewer") == status
    os.close(controller)
    assert (user(data, "ann") is not None) is (status == 0)


def test_a_token_is_printed_once_and_not_stored(central, data, capsys):
    assert central("token", "add", "ci", "--role", "operator", "--days", "30") == 0
    text = capsys.readouterr().out.strip()
    made = api_tokens.parse(text)
    with open_store(data) as store:
        found = store.read(accounts.find_token, "ci")
    assert made is not None
    assert found is not None
    assert (found.digest, found.role) == (made.digest, Role.OPERATOR)
    assert 29 * 86400 < found.expires - found.created <= 30 * 86400
    signature = text.partition("sig=")[2].partition("&")[0]
    assert signature not in (data / "central.db").read_bytes().decode(errors="replace")
    assert central("token", "list") == 0
    assert "ci                   operator" in capsys.readouterr().out
    assert central("token", "add", "ci", "--role", "viewer") == 1
    assert central("token", "remove", "ci") == 0
    assert central("token", "remove", "ci") == 1


@pytest.mark.parametrize("name", ["", "a b", "-x", "x&y", "é", "x" * 65])
@pytest.mark.parametrize("kind", ["user", "token"])
def test_a_name_that_cannot_be_one_is_refused(central, password_file, kind, name, capsys):
    words = ("--password-file", str(password_file)) if kind == "user" else ()
    assert central(kind, "add", "--role", "viewer", *words, "--", name) == 1
    assert "cannot be a name" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("user",), ("token",)])
def test_without_a_verb_the_verbs_are_listed(central, words, capsys):
    assert central(*words) == 2
    assert "remove" in capsys.readouterr().err


def test_a_lost_database_is_not_replaced_by_a_command(central, data, password_file, capsys):
    data.mkdir()
    (data / "group-key").write_text("x")
    words = ("--password-file", str(password_file))
    assert central("user", "add", "ann", "--role", "viewer", *words) == 1
    assert "central.db is missing" in capsys.readouterr().err


def test_the_database_of_an_older_running_central_is_not_upgraded(central, data, capsys):
    with open_store(data):  # It holds the lock, as a running central does.
        db = sqlite3.connect(data / "central.db")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 1}")
        db.close()
        assert central("user", "list") == 1
    said = capsys.readouterr().err
    assert f"it has version {SCHEMA_VERSION - 1}" in said
    assert "Restart the central that is running" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_the_directory_of_another_user_is_left_alone(central, data, capsys):
    data.mkdir()
    os.chown(data, 65534, 65534)
    assert central("user", "list") == 1
    assert "Put `sudo -u nobody` before the command." in capsys.readouterr().err
    assert list(data.iterdir()) == []


def test_a_certificate_needs_its_key(central, capsys):
    assert central("--console-certificate", "x.pem") == 2
    assert "need each other" in capsys.readouterr().err


def test_a_devices_certificate_can_be_made_after_a_user_was_added(central, password_file):
    words = ("--password-file", str(password_file))
    central("user", "add", "ann", "--role", "administrator", *words)
    assert central("--certificate", "pi-1") == 0
