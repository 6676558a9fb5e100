import pytest

from agent.storage.assignment import SETTING, Assignment, StoredAssignment
from agent.storage.store import Store

REGISTRATION = ("dps.test", "0ne00000000", "pi-1")


@pytest.fixture
def store(tmp_path):
    store = Store.open(tmp_path / "state.db")
    yield store
    store.close()


async def test_the_assignment_survives_a_restart(tmp_path):
    store = Store.open(tmp_path / "state.db")
    stored = StoredAssignment(store, REGISTRATION)
    assert await stored.load() is None
    await stored.save(Assignment("hub.test", "pi-1"))
    store.close()

    store = Store.open(tmp_path / "state.db")
    assert await StoredAssignment(store, REGISTRATION).load() == Assignment("hub.test", "pi-1")
    store.close()


@pytest.mark.parametrize("changed", [0, 1, 2], ids=["host", "ID scope", "device id"])
async def test_another_registration_does_not_get_the_assignment(store, changed):
    await StoredAssignment(store, REGISTRATION).save(Assignment("hub.test", "pi-1"))
    other = list(REGISTRATION)
    other[changed] = "other"
    assert await StoredAssignment(store, other).load() is None


@pytest.mark.parametrize("damaged", [7, [], {"asked": 1}, {"asked": [], "hub": None}])
async def test_a_damaged_assignment_is_ignored(store, damaged):
    await store.put(SETTING, damaged)
    assert await StoredAssignment(store, REGISTRATION).load() is None
