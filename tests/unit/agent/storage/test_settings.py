"""The settings survive power cuts, failing disks and damage."""

import asyncio
import errno
import json
import logging
import os
import shutil
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fakes import until
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values

from agent.errors import StoreInUse
from agent.storage import files as files_module
from agent.storage import settings as settings_module
from agent.storage.set_aside import Reason
from agent.storage.settings import SETTINGS_NAME, Settings, decode, encode

OLD, NEW = encode({"name": "old", "brightness": 2}, "a"), encode({"name": "new"}, "a")


@asynccontextmanager
async def opened(directory, board="a"):
    settings = await Settings.open(directory, board=board)
    try:
        yield settings
    finally:
        await settings.close()


async def test_settings_survive_a_restart(tmp_path):
    async with opened(tmp_path / "deep" / "state") as settings:
        await settings.put("property.brightness", 2)
        await settings.put("assignment", {"hub": "a", "list": [1, None, "å"]})
        await settings.put("removed", 1)
        await settings.put("removed", None)
    async with opened(tmp_path / "deep" / "state") as settings:
        assert await settings.get("property.brightness") == 2
        assert await settings.get("assignment") == {"hub": "a", "list": [1, None, "å"]}
        assert await settings.get("removed") is None
        assert await settings.get("never put") is None


async def test_only_the_owner_can_read_the_file(tmp_path):
    async with opened(tmp_path / "state") as settings:
        await settings.put("name", "x")
    assert (tmp_path / "state" / SETTINGS_NAME).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


async def test_a_second_daemon_is_refused(tmp_path):
    async with opened(tmp_path):
        with pytest.raises(StoreInUse):
            await Settings.open(tmp_path)
    async with opened(tmp_path):
        pass


async def test_concurrent_changes_are_all_kept(tmp_path):
    async with opened(tmp_path) as settings:
        await asyncio.gather(*(settings.put(f"n{n % 7}", n) for n in range(50)))
        kept = {f"n{n % 7}": n for n in range(50)}
        assert {name: await settings.get(name) for name in kept} == kept
    async with opened(tmp_path) as settings:
        assert {name: await settings.get(name) for name in kept} == kept


async def test_a_cancelled_change_is_kept(tmp_path):
    async with opened(tmp_path) as settings:
        putting = asyncio.create_task(settings.put("name", "x"))
        await asyncio.sleep(0)
        putting.cancel()
        await asyncio.wait({putting})
        assert await settings.get("name") == "x"
    async with opened(tmp_path) as settings:
        assert await settings.get("name") == "x"


# Power cuts.


class Card:
    """A file system in memory that can show what a power cut leaves.

    What was not synced may be on the card or not, file contents also in part. `files_module` calls
    it instead of `os`.
    """

    O_WRONLY, O_RDONLY, O_CREAT, O_EXCL, O_DIRECTORY = 1, 0, 2, 4, 8

    def __init__(self, content):
        self.names = {SETTINGS_NAME: 1}  # Name to inode, as programs see it.
        self.synced_names = dict(self.names)
        self.files = {1: content}
        self.synced_files = {1: [content]}  # What a power cut may leave of each inode.
        self.handles = {}
        self.states = [self.state()]

    def state(self):
        return (dict(self.names), dict(self.synced_names), dict(self.synced_files))

    def open(self, path, flags, _mode=0):
        handle = len(self.handles) + 10
        if flags & self.O_DIRECTORY:
            self.handles[handle] = None
            return handle
        inode = self.names.get(path.name)
        if inode is None:
            inode = self.names[path.name] = len(self.files) + 1
        self.handles[handle] = inode
        self.change(inode, b"")
        return handle

    def write(self, handle, data):
        some = max(1, len(data) // 3)
        self.change(self.handles[handle], self.files[self.handles[handle]] + data[:some])
        return some

    def change(self, inode, content):
        self.files[inode] = content
        kept = self.synced_files.get(inode, [])
        self.synced_files[inode] = [*kept, content, b"\0" * len(content)]
        self.states.append(self.state())

    def fsync(self, handle):
        inode = self.handles[handle]
        if inode is None:
            self.synced_names = dict(self.names)
        else:
            self.synced_files[inode] = [self.files[inode]]
        self.states.append(self.state())

    def close(self, _handle):
        pass

    def rename(self, source, target):
        self.names[target.name] = self.names.pop(source.name)
        self.states.append(self.state())

    def after_cuts(self):
        """Return every content of the settings file that a power cut can leave."""
        for names, synced_names, files in self.states:
            for found in (names, synced_names):
                yield from files[found[SETTINGS_NAME]]


def replace_on(card, monkeypatch, path):
    monkeypatch.setattr(files_module, "os", card)
    monkeypatch.setattr(Path, "rename", lambda source, target: card.rename(source, target))  # noqa: PLW0108 - a method would not get `source`.
    files_module.replace_file(path / SETTINGS_NAME, NEW)


def test_a_power_cut_leaves_the_old_settings_or_the_new_ones(tmp_path, monkeypatch):
    card = Card(OLD)
    replace_on(card, monkeypatch, tmp_path)
    assert len(card.states) > 8
    assert set(card.after_cuts()) == {OLD, NEW}
    # After the last step a power cut leaves nothing else than the new ones.
    _, names, files = card.states[-1]
    assert files[names[SETTINGS_NAME]] == [NEW]


@pytest.mark.parametrize("left_out", ["file", "directory"])
def test_the_simulated_card_notices_a_missing_sync(tmp_path, monkeypatch, left_out):
    class Careless(Card):
        def fsync(self, handle):
            if (self.handles[handle] is None) != (left_out == "directory"):
                super().fsync(handle)

    card = Careless(OLD)
    replace_on(card, monkeypatch, tmp_path)
    _, names, files = card.states[-1]
    assert set(card.after_cuts()) != {OLD, NEW} or files[names[SETTINGS_NAME]] != [NEW]


# Failing disks.


class Disk:
    """Lets a call of the operating system fail, until `error` is None."""

    def __init__(self, monkeypatch, call):
        self.error: int | None = None
        real = getattr(os, call)

        def fail(*arguments):
            if self.error is not None:
                raise OSError(self.error, os.strerror(self.error))
            return real(*arguments)

        monkeypatch.setattr(os, call, fail)


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
async def test_changes_stay_in_memory_until_the_disk_works(
    tmp_path, monkeypatch, caplog, call, number
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(settings_module, "RETRY", 0.001)
    async with opened(tmp_path) as settings:
        await settings.put("name", "old")
        await settings.put("removed", 1)
        disk = Disk(monkeypatch, call)
        disk.error = number
        await settings.put("name", "newer")
        await settings.put("name", "newest")
        await settings.put("removed", None)
        assert await settings.get("name") == "newest"
        assert await settings.get("removed") is None
        assert decode((tmp_path / SETTINGS_NAME).read_bytes(), "a") == {"name": "old", "removed": 1}
        disk.error = None
        await until(lambda: "Wrote " in caplog.text)
        assert decode((tmp_path / SETTINGS_NAME).read_bytes(), "a") == {"name": "newest"}
    assert caplog.text.count("are kept in memory") == 1
    assert os.strerror(number) in caplog.text


async def test_changes_in_memory_are_written_at_the_stop(tmp_path, monkeypatch):
    async with opened(tmp_path) as settings:
        disk = Disk(monkeypatch, "write")
        disk.error = errno.ENOSPC
        await settings.put("name", "x")
        disk.error = None
    async with opened(tmp_path) as settings:
        assert await settings.get("name") == "x"


async def test_settings_that_could_not_be_read_are_not_overwritten(tmp_path, monkeypatch):
    async with opened(tmp_path) as settings:
        await settings.put("name", "kept")

    def fail(_path):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(settings_module, "_read", fail)
        settings = await Settings.open(tmp_path, board="a")
        assert await settings.get("name") is None
        await settings.put("brightness", 3)
        assert await settings.get("brightness") == 3
    await settings.put("other", 1)
    assert await settings.get("name") == "kept"
    await settings.close()
    assert decode((tmp_path / SETTINGS_NAME).read_bytes(), "a") == {
        "name": "kept", "brightness": 3, "other": 1,
    }  # fmt: skip


async def test_a_directory_that_becomes_usable_is_used(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(settings_module, "RETRY", 0.001)
    place = tmp_path / "place"
    place.write_text("in the way")
    async with opened(place) as settings:
        await settings.put("name", "x")
        assert await settings.get("name") == "x"
        place.unlink()
        await until(lambda: "Wrote " in caplog.text)
    async with opened(place) as settings:
        assert await settings.get("name") == "x"


async def test_a_removed_directory_is_recreated_with_the_settings(tmp_path, monkeypatch):
    monkeypatch.setattr(settings_module, "RETRY", 0.001)
    place = tmp_path / "state"
    async with opened(place) as settings:
        await settings.put("name", "x")
        # Renamed, because a file may be written while a directory is removed.
        place.rename(tmp_path / "removed")
        await until((place / SETTINGS_NAME).exists)
        with pytest.raises(StoreInUse):
            await Settings.open(place)
    async with opened(place) as settings:
        assert await settings.get("name") == "x"


async def test_a_directory_that_another_daemon_took_over_is_left_alone(tmp_path):
    place = tmp_path / "state"
    async with opened(place) as settings:
        await settings.put("name", "x")
        shutil.rmtree(place)
        async with opened(place) as other:
            await other.put("name", "other's")
            await settings.put("name", "newer")
            assert await settings.get("name") == "newer"
            assert decode((place / SETTINGS_NAME).read_bytes(), "a") == {"name": "other's"}


async def test_closing_does_not_wait_for_a_hanging_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(settings_module, "CLOSE_DEADLINE", 0.01)
    hanging, release = threading.Event(), threading.Event()

    def hang(*_arguments):
        hanging.set()
        release.wait(10)

    settings = await Settings.open(tmp_path)
    monkeypatch.setattr(settings_module, "replace_file", hang)
    putting = asyncio.create_task(settings.put("name", "x"))
    await until(hanging.is_set)
    await settings.close()
    assert not putting.done()
    with pytest.raises(StoreInUse):
        await Settings.open(tmp_path)
    release.set()
    await putting
    settings.lock.release()


# Files that cannot be used.


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b""), Reason.DAMAGED),
        (lambda path: path.write_bytes(OLD[:-20]), Reason.DAMAGED),
        (lambda path: path.write_bytes(b"\0" * len(OLD)), Reason.DAMAGED),
        (lambda path: path.write_bytes(OLD.replace(b"old", b"olf")), Reason.DAMAGED),
        (lambda path: path.write_bytes(OLD.replace(b"old", b"\xff\xfe\xfd")), Reason.DAMAGED),
        (lambda path: path.write_bytes(b"[" * 200_000), Reason.DAMAGED),
        (lambda path: path.write_bytes(b"7" * 5000), Reason.DAMAGED),
        (lambda path: path.write_bytes(OLD.replace(b"old", b"o" * 2_000_000)), Reason.DAMAGED),
        (pipe, Reason.DAMAGED),
        (folder, Reason.DAMAGED),
        (lambda path: path.write_bytes(encode({"name": "x"}, "b")), Reason.OTHER_BOARD),
        (
            lambda path: path.write_bytes(OLD.replace(b'"version": 1', b'"version": 2')),
            Reason.NEWER_VERSION,
        ),
    ],
    ids=[
        *("empty", "cut", "zeros", "a bit", "not UTF-8", "deep", "a number", "huge", "pipe"),
        *("folder", "another board", "newer"),
    ],
)
async def test_a_file_that_cannot_be_used_is_set_aside(tmp_path, caplog, damage, reason):
    (tmp_path / SETTINGS_NAME).write_bytes(OLD)
    async with opened(tmp_path) as settings:
        assert await settings.get("name") == "old"
    caplog.clear()
    damage(tmp_path / SETTINGS_NAME)
    async with opened(tmp_path) as settings:
        assert await settings.get("name") is None
        await settings.put("name", "fresh")
    assert len([path for path in tmp_path.iterdir() if f".{reason}-" in path.name]) == 1
    assert len(caplog.records) == 1
    async with opened(tmp_path) as settings:
        assert await settings.get("name") == "fresh"
    assert len(caplog.records) == 1


async def test_a_board_that_cannot_be_identified_keeps_the_settings(tmp_path):
    for board in ("a", None, "a"):
        async with opened(tmp_path, board=board) as settings:
            await settings.put(f"on {board}", 1)
            assert await settings.get("on a") == 1
    assert decode(encode({"name": "x"}, None), "a") == {"name": "x"}


async def test_a_file_that_cannot_be_renamed_stays_until_it_can(tmp_path, monkeypatch):
    (tmp_path / SETTINGS_NAME).write_bytes(b"damaged")

    def fail(*_arguments):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        settings = await Settings.open(tmp_path)
        await settings.put("name", "x")
        assert (tmp_path / SETTINGS_NAME).read_bytes() == b"damaged"
    await settings.put("brightness", 1)
    await settings.close()
    assert decode((tmp_path / SETTINGS_NAME).read_bytes(), None) == {"name": "x", "brightness": 1}
    assert len(list(tmp_path.glob("settings.json.damaged-*"))) == 1


@given(
    st.binary()
    | st.dictionaries(
        st.sampled_from(["version", "board", "settings", "checksum"]), json_values
    ).map(lambda file: json.dumps(file).encode())
)
def test_no_content_of_the_file_raises(content):
    assert isinstance(decode(content, "a"), Reason)


@given(st.dictionaries(st.text(), json_values))
def test_every_content_is_read_as_it_was_written(content):
    written = json.loads(json.dumps(content))
    found = decode(encode(written, "a"), "a")
    assert json.dumps(found) == json.dumps(written)


def test_every_flipped_bit_is_found():
    for place in range(len(OLD)):
        for bit in range(8):
            flipped = OLD[:place] + bytes([OLD[place] ^ 1 << bit]) + OLD[place + 1 :]
            found = decode(flipped, "a")
            # Spaces between the values may become other ones.
            assert isinstance(found, Reason) or found == decode(OLD, "a")
