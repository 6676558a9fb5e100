import pytest

from agent.storage.assignment import SETTING, Assignment, StoredAssignment
from agent.storage.settings import Settings

REGISTRATION = ("dps.test", "0ne00000000", "pi-1")


async def test_the_assignment_survives_a_restart(tmp_path):
    settings = await Settings.open(tmp_path)
    stored = StoredAssignment(settings, REGISTRATION)
    assert await stored.load() is None
    await stored.save(Assignment("hub.test", "pi-1"))
    await settings.close()

    settings = await Settings.open(tmp_path)
    assert await StoredAssignment(settings, REGISTRATION).load() == Assignment("hub.test", "pi-1")
    await settings.close()


@pytest.mark.parametrize("changed", [0, 1, 2], ids=["host", "ID scope", "device id"])
async def test_another_registration_does_not_get_the_assignment(tmp_path, changed):
    settings = await Settings.open(tmp_path)
    await StoredAssignment(settings, REGISTRATION).save(Assignment("hub.test", "pi-1"))
    other = list(REGISTRATION)
    other[changed] = "other"
    assert await StoredAssignment(settings, other).load() is None
    await settings.close()


@pytest.mark.parametrize("damaged", [7, [], {"asked": 1}, {"asked": [], "hub": None}])
async def test_a_damaged_assignment_is_ignored(tmp_path, damaged):
    settings = await Settings.open(tmp_path)
    await settings.put(SETTING, damaged)
    assert await StoredAssignment(settings, REGISTRATION).load() is None
    await settings.close()
