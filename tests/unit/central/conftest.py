"""A clock that tests set, and a store."""

import pytest

from central.storage.store import Store


class Clock:
    """A clock that shows `now` until a test changes it."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "central.db")
    yield store
    store.close()
