"""Passwords are stored as scrypt hashes, and every refusal takes as long as a check."""

import hashlib

import pytest

from central.console.sign_in import passwords
from central.errors import InvalidPassword

CHEAP = 2**4


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    monkeypatch.setattr(passwords, "N", CHEAP)


def test_only_the_same_password_matches():
    stored = passwords.hash_password("correct horse")
    assert passwords.matches("correct horse", stored)
    for wrong in ("", "correct hors", "correct horse ", "Correct horse"):
        assert not passwords.matches(wrong, stored)


def test_two_hashes_of_a_password_differ():
    assert passwords.hash_password("correct horse") != passwords.hash_password("correct horse")


def test_a_password_in_another_normal_form_matches():
    assert passwords.matches("cafe\u0301 au lait", passwords.hash_password("caf\u00e9 au lait"))


def test_a_hash_of_earlier_parameters_still_matches(monkeypatch):
    stored = passwords.hash_password("correct horse")
    assert stored.startswith(f"scrypt${CHEAP}$8$5$")
    monkeypatch.setattr(passwords, "N", 2 * CHEAP)
    assert passwords.matches("correct horse", stored)


def test_an_unknown_user_costs_as_much_as_a_wrong_password(monkeypatch):
    costs = []
    scrypt = hashlib.scrypt

    def measured(text, **parameters):
        costs.append({name: parameters[name] for name in ("n", "r", "p")})
        return scrypt(text, **parameters)

    monkeypatch.undo()
    stored = passwords.hash_password("correct horse")
    monkeypatch.setattr(hashlib, "scrypt", measured)
    assert not passwords.matches("x", None)
    assert not passwords.matches("x", stored)
    assert costs[0] == costs[1]
    assert costs[0]["n"] >= 2**14


def test_a_text_that_is_not_unicode_is_a_wrong_password():
    assert not passwords.matches("\ud800", passwords.hash_password("correct horse"))


@pytest.mark.parametrize("password", ["", "short", "x" * 257, "aaaaaaaaaaaa", "Ann.Example"])
def test_a_weak_password_is_refused(password):
    with pytest.raises(InvalidPassword):
        passwords.check_new(password, name="ann.example")


def test_a_long_sentence_is_a_good_password():
    passwords.check_new("correct horse battery staple", name="ann")
