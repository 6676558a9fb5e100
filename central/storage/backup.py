"""Backup of central's data directory to one file, and back.

The file is a tar archive: first `manifest.json`, which says what it is and has the SHA-256 of every
other file, then the database, the keys and the certificates. Whoever can read it can sign in as any
device, so it has mode 0600.
"""

import hashlib
import io
import json
import os
import re
import sqlite3
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TypeGuard

from central.errors import BackupError, in_words
from central.protocol.twins import parse_json
from central.records import iso
from central.storage import data_directory
from central.storage.data_directory import DATABASE
from central.storage.ownership import as_owner
from central.storage.store import SCHEMA_VERSION

MANIFEST = "manifest.json"
FORMAT = "sensor-agent central backup"
VERSION = 1
MAX_MANIFEST = 16 * 1024 * 1024  # Bytes: a hundred thousand files.
CHUNK = 1024 * 1024
TRIES = 5  # To read keys and certificates that do not change meanwhile.
DIRECTORIES = ("devices",)  # Besides the files of the data directory itself.
# The characters of device ids, after which their certificates are named.
NAME = re.compile(r"(?:devices/)?(?!\.\.?\Z)[A-Za-z0-9.:%_*?!(),=@;$'-]{1,200}")
# Besides what only a running central has: SQLite takes every file named after the database for its
# own, and does what it says. A journal can name another file, which SQLite then removes.
LEFT_OUT = re.compile(r"central\.(?:db-.*|lock|json)|.*\.new")
MAX_FILE = 1024 * 1024  # Bytes of a key or certificate.
READABLE = 0o044  # What others may do with a certificate.


# Backup


def back_up(directory: Path, file: Path, now: float) -> int:
    """Write a backup of a data directory, whether or not its central runs; return its size.

    `file` must not exist yet, and appears only when it is complete. It has one state of the
    database, and keys and certificates that belong to it. Raise BackupError.
    """
    directory = directory.absolute()
    try:
        _check_places(directory, file)
        return _write(directory, file, now)
    except OSError as error:
        raise BackupError(f"Cannot write the backup {file}: {in_words(error)}.") from None
    except sqlite3.Error as error:
        raise BackupError(f"Cannot read {directory / DATABASE}: {error}.") from None


def _check_places(directory: Path, file: Path) -> None:
    with as_owner(directory):
        if not (directory / DATABASE).is_file():
            raise BackupError(
                f"{directory} is not the data directory of a central: it has no {DATABASE}. Give "
                "the right one with --data."
            )
    if file.absolute().parent.resolve().is_relative_to(directory.resolve()):
        raise BackupError(
            f"{file} is inside of the data directory. Choose a place outside, best on another disk."
        )
    if file.exists():
        raise BackupError(f"{file} exists already. Choose another name, or remove it first.")


def _write(directory: Path, file: Path, now: float) -> int:
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.absolute().parent) as made:
        copy, archive = Path(made) / DATABASE, Path(made) / "archive"
        files = _copy(directory, copy)
        with _create(archive) as out, tarfile.open(fileobj=out, mode="w") as tar:
            digests = {
                name: hashlib.sha256(content).hexdigest() for name, (_, content) in files.items()
            }
            with copy.open("rb") as database:
                digests[DATABASE] = hashlib.file_digest(database, "sha256").hexdigest()
            manifest = {"format": FORMAT, "version": VERSION, "created": iso(now), "files": digests}
            _add(tar, MANIFEST, json.dumps(manifest, indent=1).encode(), 0o600)
            with copy.open("rb") as database:
                info = _info(DATABASE, copy.stat().st_size, 0o600)
                tar.addfile(info, database)
            for name, (mode, content) in files.items():
                _add(tar, name, content, mode & READABLE | 0o600)
        data_directory.sync(archive)
        archive.replace(file)
        data_directory.sync(file.absolute().parent)
    return file.stat().st_size


def _create(path: Path) -> IO[bytes]:
    """Create a file that only its owner can read, and open it for writing."""
    # Not with chmod, which a USB stick with FAT refuses.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _copy(directory: Path, to: Path) -> dict[str, tuple[int, bytes]]:
    """Copy the database; return the other files as they were before it and are after it.

    With each comes its mode.
    """
    for _ in range(TRIES):
        to.unlink(missing_ok=True)
        with closing(sqlite3.connect(to)) as target:
            # No file beside the copy: it belongs to root, and the rest of this to the owner.
            target.execute("PRAGMA journal_mode = OFF")
            with as_owner(directory):
                files = _read_files(directory)
                # Not read-only: if central was killed, its last changes are in another file.
                source = sqlite3.connect(f"{(directory / DATABASE).as_uri()}?mode=rw", uri=True)
                with closing(source):
                    source.backup(target)
                unchanged = _read_files(directory) == files
            # Without this, a program that opens the copy makes two more files beside it.
            target.execute("PRAGMA journal_mode = DELETE")
        if unchanged:
            return files
    raise BackupError(f"The keys and certificates in {directory} are changing. Try again later.")


def _read_files(directory: Path) -> dict[str, tuple[int, bytes]]:
    places = [directory, *(directory / name for name in DIRECTORIES)]
    paths = [path for place in places if place.is_dir() for path in sorted(place.iterdir())]
    return {
        str(path.relative_to(directory)): _read_file(path)
        for path in paths
        if path.is_file() and path.name != DATABASE and not LEFT_OUT.fullmatch(path.name)
    }


def _read_file(path: Path) -> tuple[int, bytes]:
    with path.open("rb") as file:
        content = file.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            raise BackupError(f"{path} is larger than a key or a certificate. Move it elsewhere.")
        return stat.S_IMODE(os.fstat(file.fileno()).st_mode), content


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    tar.addfile(_info(name, len(content), mode), io.BytesIO(content))


def _info(name: str, size: int, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, mode
    return info


# Restore


def restore(directory: Path, file: Path) -> bool:
    """Replace the content of a data directory by a backup; return whether it had any.

    What was there is in `before-restore` of the directory afterwards. If this is interrupted, the
    directory has either content. What root restores belongs to the owner of the directory. Raise
    DataDirectoryInUse while a central runs, or BackupError.
    """
    with (
        _as_error(file),
        file.open("rb") as opened,
        as_owner(directory),
        data_directory.locked(directory) as target,
    ):
        had_content = any(path.name not in data_directory.OWN for path in target.iterdir())
        place = target / data_directory.RESTORING
        place.mkdir(mode=0o700)
        try:
            _extract(opened, file, place)
            _check_database(place / DATABASE, file)
            _end_sign_ins(place / DATABASE)
        except BaseException:  # Ctrl-C, too, must leave nothing behind.
            data_directory.discard(place)
            raise
        data_directory.discard(target / data_directory.BEFORE)
        for path in (*place.rglob("*"), place):
            data_directory.sync(path)
        place.replace(target / data_directory.RESTORED)
        data_directory.sync(target)
        data_directory.finish_restore(target)
        return had_content


def _end_sign_ins(database: Path) -> None:
    """End all sign-ins: one that has ended since the backup must not come back with it."""
    with closing(sqlite3.connect(database)) as db, db:
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'sign_ins'").fetchone():
            db.execute("DELETE FROM sign_ins")


@contextmanager
def _as_error(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(f"Cannot restore {file}: {in_words(error)}.") from None
    except sqlite3.Error as error:
        raise _damaged(file, f"its database cannot be used ({error})") from None


def _foreign(file: Path) -> BackupError:
    return BackupError(f"{file} is not a backup that `sensor-agent central backup` made.")


def _damaged(file: Path, what: str) -> BackupError:
    return BackupError(f"{file} is damaged: {what}. Nothing was changed. Use another backup.")


def _extract(opened: IO[bytes], file: Path, place: Path) -> None:
    """Write the files of an archive to a directory. Raise BackupError if one is not as it was."""
    try:
        with tarfile.open(fileobj=opened, mode="r:") as tar:
            digests = _read_manifest(tar, file)
            for info in iter(tar.next, None):  # After the manifest.
                if not info.isreg() or info.name not in digests:
                    raise _damaged(file, f"it has {info.name[:80]!r}, which is not in its list")
                content = tar.extractfile(info) or io.BytesIO()
                if _save(content, place / info.name, info.mode) != digests.pop(info.name):
                    raise _damaged(file, f"{info.name} is not as it was written")
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(file, str(error)) from None
    if digests:
        raise _damaged(file, f"{next(iter(digests))} is missing")


def _read_manifest(tar: tarfile.TarFile, file: Path) -> dict[str, str]:
    """Return the digest of each file. Raise BackupError."""
    info = tar.next()
    if info is None or info.name != MANIFEST or not info.isreg() or info.size > MAX_MANIFEST:
        raise _foreign(file)
    content = tar.extractfile(info) or io.BytesIO()
    try:
        manifest: object = parse_json(content.read())
    except (ValueError, RecursionError):
        raise _damaged(file, "its list of files cannot be read") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise _foreign(file)
    if manifest.get("version") != VERSION:
        raise BackupError(f"{file} was made by a newer sensor-agent. Restore it with that version.")
    files = manifest.get("files")
    if not _is_list_of_files(files):
        raise _damaged(file, "its list of files cannot be read")
    return files


def _is_list_of_files(files: object) -> TypeGuard[dict[str, str]]:
    return (
        isinstance(files, dict)
        and DATABASE in files
        and all(NAME.fullmatch(name) and isinstance(digest, str) for name, digest in files.items())
        and not any(
            name in data_directory.OWN or name in DIRECTORIES or LEFT_OUT.fullmatch(name)
            for name in files
        )
    )


def _save(content: IO[bytes], path: Path, mode: int) -> str:
    """Write a file, and return its digest."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    digest = hashlib.sha256()
    with _create(path) as out:
        while data := content.read(CHUNK):
            digest.update(data)
            out.write(data)
        os.fchmod(out.fileno(), mode & READABLE | 0o600)
    return digest.hexdigest()


def _check_database(path: Path, file: Path) -> None:
    """Raise BackupError if SQLite finds a fault, or if the database is of a newer version."""
    try:
        with closing(sqlite3.connect(path)) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            fault = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise _damaged(file, f"its database cannot be read ({error})") from None
    if version > SCHEMA_VERSION:
        raise BackupError(
            f"{file} was made by a newer sensor-agent: its database has version {version}, this "
            f"one reads up to {SCHEMA_VERSION}. Upgrade sensor-agent first."
        )
    if version == 0:
        raise _damaged(file, "its database is empty")
    if fault != "ok":
        raise _damaged(file, f"its database has a fault ({fault})")
