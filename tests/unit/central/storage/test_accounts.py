"""Users, sign-ins, API tokens and the audit in the database."""

import sqlite3

import pytest

from central.errors import InvalidUser, StoreError
from central.records import ApiToken, AuditEntry, Role, User
from central.storage import accounts
from central.storage.store import SCHEMA_VERSION, Store

ANN = User("Ann", Role.ADMINISTRATOR, "hash", 1.0)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "central.db")
    yield store
    store.close()


def sign_in(store, user=ANN, digest="d", *, created=10.0, expires=20.0):
    store.call(accounts.add_sign_in, user, digest, created=created, expires=expires)


def test_a_user_is_found_in_any_case(store):
    store.call(accounts.add_user, ANN)
    assert store.read(accounts.find_user, "aNN") == ANN
    assert store.read(accounts.find_user, "bob") is None
    with pytest.raises(InvalidUser, match="already"):
        store.call(accounts.add_user, User("ANN", Role.VIEWER, "x", 2.0))


@pytest.mark.parametrize("name", ["", " ann", "a b", "ann\n", "-ann", "x" * 65, "ann'", "\u00e4nn"])
def test_a_strange_name_is_refused(store, name):
    with pytest.raises(InvalidUser):
        store.call(accounts.add_user, User(name, Role.VIEWER, "x", 2.0))


def test_an_administrator_is_wanted(store):
    store.call(accounts.add_user, User("bob", Role.OPERATOR, "x", 1.0))
    assert not store.read(accounts.has_administrator)
    store.call(accounts.add_user, ANN)
    assert store.read(accounts.has_administrator)


def test_a_sign_in_has_the_present_role_and_expires(store):
    store.call(accounts.add_user, ANN)
    sign_in(store)
    found = store.read(accounts.find_sign_in, "d", 19.9)
    assert (found.user, found.role, found.created, found.expires) == ("Ann", ANN.role, 10.0, 20.0)
    assert store.read(accounts.find_sign_in, "d", 20.0) is None
    assert store.read(accounts.find_sign_in, "e", 15.0) is None
    store.call(accounts.extend_sign_in, "d", 30.0)
    assert store.read(accounts.find_sign_in, "d", 29.0) is not None
    store.call(accounts.end_sign_in, "d")
    assert store.read(accounts.find_sign_in, "d", 15.0) is None


@pytest.mark.parametrize(
    "change",
    [(accounts.remove_user, "ann"), (accounts.set_password, "ANN", "another hash")],
)
def test_another_password_and_removal_end_all_sign_ins(store, change):
    store.call(accounts.add_user, ANN)
    sign_in(store)
    store.call(*change)
    assert store.read(accounts.find_sign_in, "d", 15.0) is None
    with pytest.raises(InvalidUser):  # The password was checked before the change.
        sign_in(store)


def test_a_user_has_a_bounded_number_of_sign_ins(store):
    store.call(accounts.add_user, ANN)
    for number in range(accounts.MOST_SIGN_INS + 3):
        sign_in(store, digest=str(number), created=float(number), expires=1e9)
    assert store.read(accounts.find_sign_in, "2", 1.0) is None
    assert store.read(accounts.find_sign_in, "3", 1.0) is not None


def test_unknown_names_are_reported(store):
    for query, kind in ((accounts.remove_user, "user"), (accounts.remove_token, "API token")):
        with pytest.raises(InvalidUser, match=f"no {kind} 'ann'"):
            store.call(query, "ann")
    with pytest.raises(InvalidUser, match="no user 'ann'"):
        store.call(accounts.set_password, "ann", "x")


def test_api_tokens_are_listed_and_removed(store):
    token = ApiToken("script", Role.VIEWER, "digest", 1.0, 2.0)
    store.call(accounts.add_token, token)
    assert store.read(accounts.tokens) == [token]
    assert store.read(accounts.find_token, "Script") == token
    with pytest.raises(InvalidUser, match="already"):
        store.call(accounts.add_token, token)
    store.call(accounts.remove_token, "script")
    assert store.read(accounts.tokens) == []


def test_the_id_in_tokens_stays(store):
    assert store.call(accounts.application_id) == store.call(accounts.application_id)


def test_the_audit_is_newest_first_and_forgotten_by_age(store):
    for at, device in ((1.0, "pi-1"), (2.0, "pi-2"), (3.0, "pi-1")):
        entry = AuditEntry(at, "Ann", "192.0.2.1", "PUT /api/devices/x", device, 200)
        store.call(accounts.add_audit, [entry])
    assert [entry.at for entry in store.read(accounts.audit_of, "pi-1")] == [3.0, 1.0]
    store.call(accounts.forget, before=2.0, now=0.0)
    assert [entry.at for entry in store.read(accounts.audit_of, "pi-1")] == [3.0]


def test_the_audit_is_bounded_and_refusals_displace_no_change(store, monkeypatch):
    monkeypatch.setattr(accounts, "MOST_KEPT", 10)
    monkeypatch.setattr(accounts, "MOST_REFUSED", 3)
    entries = [
        AuditEntry(float(at), "Ann", "192.0.2.1", "PUT /api/devices/x", "pi-1", status)
        for at, status in enumerate([200] * 12 + [403] * 50)
    ]
    store.call(accounts.add_audit, entries)
    store.call(accounts.forget, before=0.0, now=0.0)
    kept = [(entry.at, entry.status) for entry in store.read(accounts.audit_of, "pi-1")]
    assert kept == [(float(at), 403) for at in (61, 60, 59)] + [
        (float(at), 200) for at in range(11, 4, -1)
    ]


def test_in_the_audit_nobody_displaces_what_others_have_changed(store, monkeypatch):
    monkeypatch.setattr(accounts, "MOST_KEPT", 10)
    entries = [
        AuditEntry(float(at), who, "192.0.2.1", "PUT /api/devices/x", "pi-1", 200)
        for at, who in enumerate(["Ann"] * 3 + ["Otto"] * 50)
    ]
    store.call(accounts.add_audit, entries)
    store.call(accounts.forget, before=0.0, now=0.0)
    kept = [entry.at for entry in store.read(accounts.audit_of, "pi-1")]
    assert kept == [52.0, 51.0, 50.0, 49.0, 48.0, 47.0, 46.0, 2.0, 1.0, 0.0]


def test_expired_sign_ins_are_forgotten(store):
    store.call(accounts.add_user, ANN)
    sign_in(store)
    store.call(accounts.forget, before=0.0, now=20.0)
    assert store.read(accounts.find_sign_in, "d", 0.0) is None


def test_a_second_process_may_change_users_of_a_running_central(store, tmp_path):
    other = Store(tmp_path / "central.db", upgrade=False)
    other.call(accounts.add_user, ANN)
    other.close()
    assert store.read(accounts.find_user, "ann") == ANN


def test_a_running_centrals_database_is_never_upgraded(tmp_path):
    older = tmp_path / "older.db"
    first = Store(older)
    first.close()
    db = sqlite3.connect(older)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 1}")
    db.close()
    with pytest.raises(StoreError, match=f"it has version {SCHEMA_VERSION - 1}"):
        Store(older, upgrade=False)
