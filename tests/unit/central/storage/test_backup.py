"""Backup of the data directory to one file, and back."""

import io
import json
import os
import sqlite3
import stat
import tarfile
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import pytest

from central.errors import BackupError, CentralError, DataDirectoryInUse
from central.protocol.sas import new_key
from central.records import Role, User
from central.storage import accounts, backup, data_directory, devices
from central.storage.data_directory import BEFORE, locked
from central.storage.registry import Registry
from central.storage.store import SCHEMA_VERSION, Store

NOW = 1_796_000_000.0
FILES = {
    "group-key": b"key\n",
    "ca.pem": b"certificate\n",
    "ca-key.pem": b"key of it\n",
    "devices/pi@home.pem": b"certificate of a device\n",
}


@pytest.fixture
def data(tmp_path):
    """The data directory of a central that does not run."""
    return a_central(tmp_path / "data", "pi-1")


def a_central(directory, device):
    (directory / "devices").mkdir(parents=True)
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
        (directory / name).chmod(0o644 if name.endswith("ca.pem") else 0o600)
    (directory / "central.json").write_text("{}")
    store = Store(directory / "central.db")
    Registry(store, group_key=new_key(), clock=lambda: NOW).add_device(device)
    store.close()
    return directory


@pytest.fixture
def file(data, tmp_path):
    """A backup of `data`."""
    assert backup.back_up(data, tmp_path / "backup", NOW) > 0
    return tmp_path / "backup"


def device_ids(directory):
    with closing(sqlite3.connect(directory / "central.db")) as db:
        return [row[0] for row in db.execute("SELECT id FROM devices ORDER BY id")]


def content(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != data_directory.LOCK
    }


# Backup


def test_a_backup_is_restored_as_it_was(data, file, tmp_path):
    assert not backup.restore(tmp_path / "new", file)
    assert device_ids(tmp_path / "new") == ["pi-1"]
    restored = content(tmp_path / "new")
    del restored["central.db"]
    assert restored == FILES
    modes = {name: stat.S_IMODE((tmp_path / "new" / name).stat().st_mode) for name in FILES}
    assert modes == {name: 0o644 if name == "ca.pem" else 0o600 for name in FILES}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_only_its_owner_can_read_a_backup(file):
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_backup_leaves_nothing_beside_it(file, tmp_path):
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "data"]


def test_a_backup_has_what_is_committed_while_the_database_is_open(data, tmp_path):
    store = Store(data / "central.db")
    try:
        registry = Registry(store, group_key=new_key(), clock=lambda: NOW)
        registry.add_device("pi-2")
        backup.back_up(data, tmp_path / "backup", NOW)
        registry.add_device("pi-3")
        assert store.read(devices.get, "pi-3")
    finally:
        store.close()
    backup.restore(tmp_path / "new", tmp_path / "backup")
    assert device_ids(tmp_path / "new") == ["pi-1", "pi-2"]


def test_a_key_that_changes_during_a_backup_belongs_to_its_database(data, tmp_path, monkeypatch):
    read = backup._read_files
    contents = iter([b"old", b"new", b"new", b"new"])

    def read_files(directory):
        (directory / "group-key").write_bytes(next(contents))
        return read(directory)

    monkeypatch.setattr(backup, "_read_files", read_files)
    backup.back_up(data, tmp_path / "backup", NOW)
    monkeypatch.undo()
    backup.restore(tmp_path / "new", tmp_path / "backup")
    assert (tmp_path / "new" / "group-key").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("backup", "exists already"),
        ("data/backup", "inside of the data directory"),
        ("missing/backup", "No such file or directory"),
    ],
)
def test_a_backup_is_not_written_just_anywhere(data, tmp_path, name, reason):
    (tmp_path / "backup").write_bytes(b"mine")
    with pytest.raises(BackupError, match=reason):
        backup.back_up(data, tmp_path / name, NOW)
    assert (tmp_path / "backup").read_bytes() == b"mine"


def test_a_directory_without_a_database_is_not_backed_up(tmp_path):
    with pytest.raises(BackupError, match="is not the data directory of a central"):
        backup.back_up(tmp_path, tmp_path.parent / "backup", NOW)


def test_a_damaged_database_is_not_backed_up(data, tmp_path):
    (data / "central.db").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    with pytest.raises(BackupError, match="Cannot read"):
        backup.back_up(data, tmp_path / "backup", NOW)
    assert not (tmp_path / "backup").exists()


# Restore


def test_a_restore_replaces_everything_and_keeps_what_was_there(file, tmp_path):
    other = a_central(tmp_path / "other", "pi-9")
    (other / "devices" / "pi-9.pem").write_bytes(b"stale")
    (other / "central.db-wal").write_bytes(b"stale")
    assert backup.restore(other, file)
    assert not {"devices/pi-9.pem", "central.db-wal"} & content(other).keys()
    assert device_ids(other) == ["pi-1"]
    assert (other / BEFORE / "devices" / "pi-9.pem").read_bytes() == b"stale"
    (other / BEFORE / "central.db-wal").unlink()
    assert device_ids(other / BEFORE) == ["pi-9"]


def test_a_second_restore_keeps_only_what_was_there_last(file, tmp_path):
    other = a_central(tmp_path / "other", "pi-9")
    backup.restore(other, file)
    (other / "group-key").write_bytes(b"second")
    backup.restore(other, file)
    assert (other / BEFORE / "group-key").read_bytes() == b"second"
    assert device_ids(other / BEFORE) == ["pi-1"]


def test_what_a_restore_has_replaced_is_not_backed_up(file, tmp_path):
    other = a_central(tmp_path / "other", "pi-9")
    backup.restore(other, file)
    backup.back_up(other, tmp_path / "second", NOW)
    with tarfile.open(tmp_path / "second") as tar:
        assert sorted(tar.getnames()) == sorted([*FILES, "central.db", "manifest.json"])


def test_a_restore_is_refused_while_a_central_runs(file, tmp_path):
    other = a_central(tmp_path / "other", "pi-9")
    with locked(other), pytest.raises(DataDirectoryInUse):
        backup.restore(other, file)
    assert device_ids(other) == ["pi-9"]


class Unplugged(Exception):  # noqa: N818 - not an error of ours
    """The power was cut."""


@pytest.mark.parametrize("renames", range(20))
def test_an_interrupted_restore_leaves_either_content(file, tmp_path, monkeypatch, renames):
    other = a_central(tmp_path / "other", "pi-9")
    before = content(other)
    left = renames
    replace = Path.replace

    def unplug(self, target):
        nonlocal left
        if left == 0:
            raise Unplugged
        left -= 1
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", unplug)
    monkeypatch.setattr(data_directory, "discard", lambda _: None)
    try:
        backup.restore(other, file)
    except Unplugged:
        pass
    else:
        assert renames > len(FILES)
    monkeypatch.undo()
    with locked(other):
        pass
    if renames == 0:
        assert content(other) == before
    else:
        assert device_ids(other) == ["pi-1"]
        assert device_ids(other / BEFORE) == ["pi-9"]
        assert sorted(path.name for path in other.iterdir()) == sorted(
            {name.partition("/")[0] for name in FILES} | {"central.db", "central.lock", BEFORE}
        )


def test_a_full_disk_changes_nothing(file, tmp_path, monkeypatch):
    other = a_central(tmp_path / "other", "pi-9")
    before = content(other)

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "_save", no_space)
    with pytest.raises(BackupError, match="No space left on device"):
        backup.restore(other, file)
    assert content(other) == before


def test_a_file_that_is_missing_is_named(data, tmp_path):
    with pytest.raises(BackupError, match="No such file or directory"):
        backup.restore(data, tmp_path / "backup")


# Foreign and damaged files


def packed(*files):
    """Pack files into an archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, text in files:
            info = tarfile.TarInfo(info) if isinstance(info, str) else info  # noqa: PLW2901
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return out.getvalue()


def manifest(**changes):
    return json.dumps(
        {"format": backup.FORMAT, "version": backup.VERSION, "files": {"central.db": "0"}} | changes
    ).encode()


def a_link():
    link = tarfile.TarInfo("central.db")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return link


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (b"", "is not a backup|is damaged"),
        (b"hello" * 1000, "is not a backup|is damaged"),
        (packed(), "is not a backup"),
        (packed(("readme", b"hello")), "is not a backup"),
        (packed(("manifest.json", b"[]")), "is not a backup"),
        (packed(("manifest.json", b"{")), "its list of files cannot be read"),
        (packed(("manifest.json", b"[" * 100_000)), "its list of files cannot be read"),
        (packed(("manifest.json", manifest(version=2))), "made by a newer sensor-agent"),
        (packed(("manifest.json", manifest(files=[]))), "its list of files cannot be read"),
        (packed(("manifest.json", manifest(files={"group-key": "0"}))), "its list of files"),
        (packed(("manifest.json", manifest())), "central.db is missing"),
        (packed(("manifest.json", manifest()), ("x", b"")), "which is not in its list"),
        (packed(("manifest.json", manifest()), (a_link(), b"")), "which is not in its list"),
        (packed(("manifest.json", manifest()), ("central.db", b"x")), "not as it was written"),
        *[
            (packed(("manifest.json", manifest(files={"central.db": "0", name: "0"}))), "its list")
            for name in ("../x", "/x", "..", "devices/..", "a/b", "restore-complete", "", "devices")
        ],
        # A journal of SQLite can name another file, which is removed when the journal is used.
        *[
            (packed(("manifest.json", manifest(files={"central.db": "0", name: "0"}))), "its list")
            for name in ("central.db-journal", "central.db-wal", "central.db-shm", "central.json")
        ],
    ],
)
def test_a_foreign_file_is_refused(data, tmp_path, archive, reason):
    before = content(data)
    (tmp_path / "foreign").write_bytes(archive)
    with pytest.raises(BackupError, match=reason):
        backup.restore(data, tmp_path / "foreign")
    assert content(data) == before


def test_a_backup_that_was_cut_off_is_refused(data, file, tmp_path):
    whole = file.read_bytes()
    before = content(data)
    for length in range(0, len(whole) - 11_000, 7_001):  # A tar archive ends with zeros.
        file.write_bytes(whole[:length])
        with pytest.raises(BackupError, match=r"is damaged|is not a backup"):
            backup.restore(data, file)
    assert content(data) == before


def test_a_wrong_bit_is_found(data, file, tmp_path):
    whole = bytearray(file.read_bytes())
    place = whole.index(b"CREATE TABLE devices")
    whole[place] ^= 1
    file.write_bytes(whole)
    with pytest.raises(BackupError, match=r"central\.db is not as it was written"):
        backup.restore(data, file)


def test_a_database_of_a_newer_version_is_refused(data, tmp_path):
    with closing(sqlite3.connect(data / "central.db")) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    backup.back_up(data, tmp_path / "newer", NOW)
    with pytest.raises(BackupError, match="Upgrade sensor-agent first"):
        backup.restore(data, tmp_path / "newer")


# As root, in the directory of a service's user

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root handles files of another user")


@pytest.fixture
def theirs():
    """The data directory of another user's central. Everybody may look into the one above."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        data = a_central(Path(place, "data"), "pi-1")
        for path in (data, *data.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        yield data


@as_root
def test_what_root_restores_belongs_to_the_owner_of_the_directory(file, theirs):
    backup.restore(theirs, file)
    found = list(theirs.rglob("*"))
    assert {"central.db", "devices", BEFORE} <= {path.name for path in found}
    assert {(path.stat().st_uid, path.stat().st_gid) for path in found} == {(NOBODY, NOBODY)}
    assert (os.geteuid(), os.getegid()) == (0, 0)


@as_root
def test_root_saves_the_directory_of_another_user(theirs, tmp_path):
    backup.back_up(theirs, tmp_path / "backup", NOW)
    backup.restore(tmp_path / "new", tmp_path / "backup")
    assert device_ids(tmp_path / "new") == ["pi-1"]
    assert (tmp_path / "new" / "central.db").stat().st_uid == 0
    assert {path.stat().st_uid for path in theirs.rglob("*")} == {NOBODY}


@as_root
@pytest.mark.parametrize("name", ["group-key", "devices/pi.pem", "central.db"])
def test_a_link_of_the_owner_does_not_save_what_only_root_may_read(theirs, tmp_path, name):
    (tmp_path / "secret").write_bytes(b"of root")
    (theirs / name).unlink(missing_ok=True)
    (theirs / name).symlink_to(tmp_path / "secret")
    with pytest.raises(BackupError):
        backup.back_up(theirs, tmp_path / "backup", NOW)
    assert not (tmp_path / "backup").exists()


@as_root
@pytest.mark.parametrize(
    "name", ["central.lock", data_directory.RESTORING, data_directory.RESTORED, BEFORE]
)
@pytest.mark.parametrize("leads_to", ["nowhere", "roots"])
def test_a_link_of_the_owner_does_not_change_what_is_elsewhere(
    theirs, file, tmp_path, name, leads_to
):
    (tmp_path / "roots").mkdir()
    (tmp_path / "roots" / "file").write_bytes(b"of root")
    (theirs / name).symlink_to(tmp_path / leads_to)
    with suppress(CentralError):
        backup.restore(theirs, file)
    assert (tmp_path / "roots" / "file").read_bytes() == b"of root"
    assert [path.name for path in (tmp_path / "roots").iterdir()] == ["file"]
    assert not (tmp_path / "nowhere").exists()


def test_a_key_of_many_megabytes_is_not_read_into_memory(data, tmp_path):
    with (data / "group-key").open("wb") as key:
        key.truncate(backup.MAX_FILE + 1)
    with pytest.raises(BackupError, match="larger than a key or a certificate"):
        backup.back_up(data, tmp_path / "backup", NOW)


def test_a_sign_in_that_has_ended_does_not_come_back(data, tmp_path):
    user = User("ann", Role.ADMINISTRATOR, "x", NOW)
    with closing(Store(data / "central.db")) as store:
        store.call(accounts.add_user, user)
        store.call(accounts.add_sign_in, user, "digest", created=NOW, expires=NOW + 1000)
    backup.back_up(data, tmp_path / "backup", NOW)
    backup.restore(data, tmp_path / "backup")
    with closing(Store(data / "central.db")) as store:
        assert store.read(accounts.find_user, "ann") == user
        assert store.read(accounts.find_sign_in, "digest", NOW) is None


def test_a_database_that_cannot_be_used_is_damage(data, tmp_path):
    with closing(sqlite3.connect(data / "central.db")) as db:
        db.executescript("DROP TABLE sign_ins; CREATE VIEW sign_ins AS SELECT 1 AS digest")
    backup.back_up(data, tmp_path / "backup", NOW)
    with pytest.raises(BackupError, match="is damaged: its database cannot be used"):
        backup.restore(tmp_path / "new", tmp_path / "backup")
    assert content(tmp_path / "new") == {}
