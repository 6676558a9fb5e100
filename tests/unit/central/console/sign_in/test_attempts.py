"""How often someone may try to sign in."""

import pytest

from central.console.sign_in import attempts
from central.console.sign_in.attempts import (
    OF_ADDRESS,
    OF_BROWSER,
    OF_NAME,
    OF_NAME_AT_ADDRESS,
    Attempts,
)


@pytest.fixture
def tries(clock):
    return Attempts(clock)


def fail(tries, name, address, times):
    for _ in range(times):
        assert tries.begin(name, address) == 0


def test_a_guessed_name_must_wait_after_the_burst(tries, clock):
    fail(tries, "ann", "192.0.2.1", OF_NAME_AT_ADDRESS.burst)
    assert tries.begin("ann", "192.0.2.1") == OF_NAME_AT_ADDRESS.seconds
    clock.now += OF_NAME_AT_ADDRESS.seconds
    assert tries.begin("ann", "192.0.2.1") == 0
    assert tries.begin("ann", "192.0.2.1") > 0


def test_refused_attempts_do_not_prolong_the_wait(tries):
    fail(tries, "ann", "192.0.2.1", OF_NAME_AT_ADDRESS.burst)
    assert {tries.begin("ann", "192.0.2.1") for _ in range(50)} == {OF_NAME_AT_ADDRESS.seconds}


def test_upper_and_lower_case_are_one_name(tries):
    fail(tries, "ann", "192.0.2.1", OF_NAME_AT_ADDRESS.burst)
    assert tries.begin("ANN", "192.0.2.1") > 0


def test_an_address_that_tries_many_names_must_wait(tries):
    for number in range(OF_ADDRESS.burst):
        assert tries.begin(f"user-{number}", "192.0.2.1") == 0
    assert tries.begin("ann", "192.0.2.1") == OF_ADDRESS.seconds
    assert tries.begin("ann", "192.0.2.2") == 0


def test_a_user_is_not_kept_out_by_guesses_from_elsewhere(tries):
    fail(tries, "ann", "192.0.2.1", OF_NAME_AT_ADDRESS.burst)
    assert tries.begin("ann", "192.0.2.1") > 0
    assert tries.begin("ann", "198.51.100.7") == 0


def test_a_name_that_many_addresses_guess_is_slowed_down(tries):
    for number in range(OF_NAME.burst):
        assert tries.begin("ann", f"10.0.{number}.1") == 0
    assert tries.begin("ann", "198.51.100.7") == OF_NAME.seconds
    assert tries.begin("bob", "198.51.100.7") == 0


def test_a_browser_in_which_the_user_signed_in_before_is_not_kept_out(tries):
    fail(tries, "ann", "192.0.2.1", OF_NAME_AT_ADDRESS.burst)
    for number in range(OF_NAME.burst):
        tries.begin("ann", f"10.0.{number}.1")
    assert tries.begin("ann", "192.0.2.1") > 0
    assert tries.begin("ann", "192.0.2.1", "browser") == 0


def test_guesses_in_such_a_browser_are_slowed_down_wherever_it_is(tries):
    for number in range(OF_BROWSER.burst):
        assert tries.begin("ann", f"10.0.{number}.1", "browser") == 0
    assert tries.begin("ann", "198.51.100.7", "browser") == OF_BROWSER.seconds


def test_guesses_in_many_such_browsers_are_slowed_down(tries):
    """Whoever knew an earlier password of the user can have made many."""
    for number in range(OF_NAME.burst):
        assert tries.begin("ann", f"10.0.{number}.1", f"browser {number}") == 0
    assert tries.begin("ann", "198.51.100.7", "another") == OF_NAME.seconds
    assert tries.begin("bob", "198.51.100.7", "another") == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8::1", "2001:db8::ffff:2"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::2%eth0"),
    ],
)
def test_addresses_of_one_machine_count_together(tries, one, other):
    fail(tries, "ann", one, OF_NAME_AT_ADDRESS.burst)
    assert tries.begin("ann", other) > 0


def test_those_who_know_their_password_never_wait(tries):
    for _ in range(1000):
        assert tries.begin("ann", "192.0.2.1") == 0
        tries.forgive("ann", "192.0.2.1")


def test_a_success_does_not_forget_earlier_failures(tries):
    """Otherwise a user could guess another user's password without a limit by address."""
    for number in range(OF_ADDRESS.burst - 1):
        assert tries.begin(f"user-{number}", "192.0.2.1") == 0
    assert tries.begin("bob", "192.0.2.1") == 0
    tries.forgive("bob", "192.0.2.1")
    assert tries.begin("ann", "192.0.2.1") == 0
    assert tries.begin("eve", "192.0.2.1") > 0


def test_memory_is_bounded_and_a_guessed_name_stays(tries, monkeypatch):
    monkeypatch.setattr(attempts, "MOST_REMEMBERED", 100)
    fail(tries, "ann", "192.0.2.1", OF_NAME_AT_ADDRESS.burst)
    for number in range(500):
        tries.begin(f"user-{number}", f"10.{number % 250}.{number // 250}.1")
    assert len(tries._paid) <= 100
    assert tries.begin("ann", "192.0.2.1") > 0


def test_a_strange_address_is_an_address(tries):
    fail(tries, "ann", "", OF_NAME_AT_ADDRESS.burst)
    assert tries.begin("ann", "") > 0
