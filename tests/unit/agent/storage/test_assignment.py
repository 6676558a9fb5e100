from types import SimpleNamespace
from typing import Any

import pytest
from fuzzing import fuzz
from hypothesis import strategies as st
from strategies import json_values

from agent.storage.assignment import SETTING, Assignment, StoredAssignment
from agent.storage.settings import Settings

REGISTRATION = ("dps.test", "0ne00000000", "pi-1")


@pytest.fixture
async def settings(tmp_path):
    settings = await Settings.open(tmp_path)
    yield settings
    await settings.close()


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
async def test_another_registration_does_not_get_the_assignment(settings, changed):
    await StoredAssignment(settings, REGISTRATION).save(Assignment("hub.test", "pi-1"))
    other = list(REGISTRATION)
    other[changed] = "other"
    assert await StoredAssignment(settings, other).load() is None


def stored(**changed):
    return {"asked": list(REGISTRATION), "hub": "hub.test", "device_id": "pi-1"} | changed


@pytest.mark.parametrize(
    "damaged",
    [
        7,
        [],
        {"asked": 1},
        stored(asked=[]),
        stored(hub=None),
        stored(hub=["hub.test"]),
        stored(hub="hub.test/"),
        stored(hub="hub\x00test"),
        stored(hub="hub..test"),
        stored(hub="a" * 300),
        stored(device_id=None),
        stored(device_id=""),
        stored(device_id="pi 1"),
        stored(device_id="pi\ud8001"),
        stored(device_id="pi/#"),
        stored(device_id="p" * 100_000),
    ],
    ids=lambda damaged: str(damaged)[-40:].encode("ascii", "replace").decode(),
)
async def test_a_damaged_assignment_is_ignored(settings, damaged):
    await settings.put(SETTING, damaged)
    assert await StoredAssignment(settings, REGISTRATION).load() is None


async def test_an_assignment_with_each_bit_flipped_is_another_valid_one_or_none(settings):
    for position in range(len("hub.test")):
        for bit in range(8):
            hub = bytearray(b"hub.test")
            hub[position] ^= 1 << bit
            await settings.put(SETTING, stored(hub=hub.decode("latin-1")))
            loaded = await StoredAssignment(settings, REGISTRATION).load()
            assert loaded is None or loaded.hub.isascii()


async def test_only_the_refused_assignment_is_forgotten(settings):
    kept = StoredAssignment(settings, REGISTRATION)
    await kept.save(Assignment("hub.test", "pi-1"))
    await kept.forget(Assignment("hub.other", "pi-1"))
    assert await kept.load() == Assignment("hub.test", "pi-1")
    await kept.forget(Assignment("hub.test", "pi-1"))
    assert await kept.load() is None


texts = st.text(st.characters())
values = st.none() | st.integers() | texts | st.lists(texts, max_size=3)


class Kept(SimpleNamespace):
    async def get(self, _name):
        return self.value


@fuzz(
    st.builds(
        stored,
        asked=st.just(list(REGISTRATION)) | values,
        hub=st.just("hub.test") | values,
        device_id=st.just("pi-1") | values,
    )
    | json_values
)
def test_any_stored_value_is_a_valid_assignment_or_none(value):
    kept: Any = Kept(value=value)
    with pytest.raises(StopIteration) as returned:  # It waits for nothing, so needs no loop.
        StoredAssignment(kept, REGISTRATION).load().send(None)
    loaded = returned.value.value
    assert loaded is None or Assignment(loaded.hub, loaded.device_id) == loaded
