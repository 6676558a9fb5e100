import shutil

import pytest

from agent.errors import StoreInUse
from agent.storage.lock import Lock


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "deep" / "state"


def test_a_second_daemon_is_refused(directory):
    first, second = Lock(directory), Lock(directory)
    first.take()
    first.take()
    with pytest.raises(StoreInUse, match="another sensor-agent is using it"):
        second.take()
    first.release()
    second.take()
    second.release()


def test_only_the_owner_can_open_the_directory(directory):
    lock = Lock(directory)
    lock.take()
    lock.release()
    assert directory.stat().st_mode & 0o077 == 0


def test_a_removed_directory_is_recreated_and_locked(directory):
    lock = Lock(directory)
    lock.take()
    shutil.rmtree(directory)
    lock.take()
    with pytest.raises(StoreInUse):
        Lock(directory).take()
    lock.release()


def test_a_directory_that_another_daemon_recreated_is_refused(directory):
    first, second = Lock(directory), Lock(directory)
    first.take()
    shutil.rmtree(directory)
    second.take()
    with pytest.raises(StoreInUse):
        first.take()
    second.release()
    first.take()
    first.release()


def test_a_directory_that_cannot_be_created_is_an_os_error(directory):
    directory.parent.write_text("in the way")
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        Lock(directory).take()
