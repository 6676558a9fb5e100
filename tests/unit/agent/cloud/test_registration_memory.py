from dataclasses import replace

import pytest

from agent.cloud.registration_memory import SETTING, RegistrationMemory
from agent.cloud.sdk import Assignment
from agent.config.loader import load
from agent.storage.store import Store


@pytest.fixture
def cloud(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[device]\nid = "pi-1"\n[cloud]\nid_scope = "0ne00000000"\nkey_file = "key"\n')
    return load(path).cloud


async def test_the_last_hub_is_remembered_over_a_restart(tmp_path, cloud):
    store = Store.open(tmp_path / "state.db")
    memory = RegistrationMemory(store, cloud, "pi-1")
    assert await memory.recall() is None
    await memory.remember(Assignment("hub.test", "pi-1"))
    store.close()

    store = Store.open(tmp_path / "state.db")
    assert await RegistrationMemory(store, cloud, "pi-1").recall() == Assignment("hub.test", "pi-1")
    store.close()


async def test_another_application_or_device_does_not_get_it(tmp_path, cloud):
    store = Store.open(tmp_path / "state.db")
    await RegistrationMemory(store, cloud, "pi-1").remember(Assignment("hub.test", "pi-1"))
    assert await RegistrationMemory(store, cloud, "pi-2").recall() is None
    moved = replace(cloud, id_scope="0ne11111111")
    assert await RegistrationMemory(store, moved, "pi-1").recall() is None
    store.close()


@pytest.mark.parametrize("rotten", [7, [], {"asked": 1}, {"asked": [], "hub": None}])
async def test_what_has_rotted_is_asked_for_anew(tmp_path, cloud, rotten):
    store = Store.open(tmp_path / "state.db")
    await store.put(SETTING, rotten)
    assert await RegistrationMemory(store, cloud, "pi-1").recall() is None
    store.close()
