"""The daemon's settings: the operator's accepted values, the assigned hub, and the last move.

They are one small file of JSON, which each change replaces atomically. The file is read once, at
the start. While the disk fails, changes stay in memory.
"""

import asyncio
import json
import logging
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

from agent.errors import StoreInUse, in_words
from agent.logs.events import LogEvent
from agent.storage.files import replace_file
from agent.storage.lock import Lock
from agent.storage.set_aside import Reason, set_aside

T = TypeVar("T")

log = logging.getLogger(__name__)

SETTINGS_NAME = "settings.json"
VERSION = 1
MOST_BYTES = 1_000_000  # Of a file. The daemon's own has about 1,000.

RETRY = 60.0  # Seconds between two attempts to write changes that are in memory only.
CLOSE_DEADLINE = 0.5  # Seconds. The daemon stops within 5 even if the disk hangs.


class Settings:
    """The settings in a state directory, which stays locked until `close`.

    The file survives a power cut at any moment: it has the old settings or the new ones. Whoever
    creates other files in the directory calls `lock.take()` first.
    """

    def __init__(self, directory: Path, *, board: str | None) -> None:
        self.lock = Lock(directory)
        self._path = directory / SETTINGS_NAME
        self._board = board
        self._stored: Mapping[str, Any] | None = None  # None until the file could be read.
        self._changes: dict[str, Any] = {}  # Not on disk yet; None for a deleted setting.
        self._failed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="settings")
        self._retrying: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, directory: Path, *, board: str | None = None) -> "Settings":
        """Lock the directory and read the file.

        A file that is damaged, of a newer version, or of another board than `board` is set aside.
        Raises StoreInUse if another daemon uses the directory. If the disk fails, the settings are
        empty until it works.
        """
        settings = cls(directory, board=board)
        try:
            settings._stored = await settings._in_thread(settings._load)
        except OSError as error:
            settings._disk_failed(error)
        except BaseException:  # When cancelled, too, the lock and the thread must go.
            await settings.close()
            raise
        settings._retrying = asyncio.create_task(settings._retry(), name="settings")
        return settings

    async def get(self, name: str) -> Any:
        """Return the setting `name`, or None if it does not exist."""
        return {**(self._stored or {}), **self._changes}.get(name)

    async def put(self, name: str, value: Any) -> None:
        """Store `value` (of JSON's types) as the setting `name`. None deletes the setting.

        When this returns, the value survives a power cut, unless the disk failed. A cancellation
        does not interrupt it.
        """
        self._changes[name] = value
        await asyncio.shield(self._write())

    def is_saved(self, name: str) -> bool:
        """Return whether the latest value of a setting is on disk."""
        return name not in self._changes

    async def close(self) -> None:
        """Write what is in memory only, and release the lock. Raises nothing.

        If the disk hangs for CLOSE_DEADLINE seconds, the directory stays locked: the process is
        about to end.
        """
        if self._retrying is not None:
            self._retrying.cancel()
        last = asyncio.ensure_future(self._write() if self._changes else self._in_thread(bool))
        done, _ = await asyncio.wait({last}, timeout=CLOSE_DEADLINE)
        self._thread.shutdown(wait=False)
        last.cancel()
        if done:
            self.lock.release()

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(RETRY)
            if self._must_write():
                await asyncio.shield(self._write())

    def _must_write(self) -> bool:
        if self._changes or self._stored is None:
            return True
        try:
            return bool(self._stored) and not self._path.exists()
        except OSError:  # The attempt to write reports it.
            return True

    async def _write(self) -> None:
        changes = dict(self._changes)
        try:
            self._stored = await self._in_thread(partial(self._save, self._stored, changes))
        except (OSError, StoreInUse) as error:
            self._disk_failed(error)
            return
        for name, value in changes.items():
            # A newer value waits for its own attempt.
            if self._changes.get(name, self) is value:
                del self._changes[name]
        if self._failed:
            self._failed = False
            log.info(
                "The disk works again. Wrote %s.",
                self._path,
                extra=LogEvent.DISK_RECOVERED.about(),
            )

    def _disk_failed(self, error: OSError | StoreInUse) -> None:
        if not self._failed:
            why = "another sensor-agent uses its directory"
            log.warning(
                "Cannot use %s: %s. Settings are kept in memory until the disk works again.",
                self._path,
                in_words(error) if isinstance(error, OSError) else why,
                extra=LogEvent.DISK_FAILED.about(),
            )
        self._failed = True

    async def _in_thread(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    # In the thread.

    def _load(self) -> Mapping[str, Any]:
        self.lock.take()
        try:
            content = _read(self._path)
        except FileNotFoundError:
            return {}
        found = decode(content, self._board)
        if isinstance(found, Reason):
            set_aside(self._path, found)
            return {}
        return found

    def _save(
        self, stored: Mapping[str, Any] | None, changes: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return the settings that are now on disk."""
        self.lock.take()
        before = self._load() if stored is None else stored
        after = {name: value for name, value in {**before, **changes}.items() if value is not None}
        if after != before or not self._path.exists():
            replace_file(self._path, encode(after, self._board))
        return after


def read_settings(directory: Path) -> Mapping[str, Any]:
    """Return the settings in a directory that a daemon may use. Empty if they cannot be read."""
    try:
        found = decode(_read(directory / SETTINGS_NAME), None)
    except OSError:
        return {}
    return {} if isinstance(found, Reason) else found


def encode(settings: Mapping[str, Any], board: str | None) -> bytes:
    """Return the content of the file."""
    content = {"version": VERSION, "board": board, "settings": settings}
    return json.dumps({**content, "checksum": _checksum(content)}, indent=1).encode()


def decode(content: bytes, board: str | None) -> Mapping[str, Any] | Reason:
    """Return the settings in the content of a file, or why they cannot be used.

    With `board` None, or a file that names none, the board is not compared.
    """
    try:
        file = json.loads(content)
        checksum = _checksum({key: file[key] for key in ("version", "board", "settings")})
    except (ValueError, RecursionError, TypeError, KeyError):
        return Reason.DAMAGED
    if isinstance(file["version"], int) and file["version"] > VERSION:
        return Reason.NEWER_VERSION
    if file.get("checksum") != checksum or not isinstance(file["settings"], dict):
        return Reason.DAMAGED
    if board is not None and file["board"] not in (None, board):
        return Reason.OTHER_BOARD
    return file["settings"]


def _read(path: Path) -> bytes:
    """Return the content of a file; of one that cannot be the daemon's, nothing."""
    if not stat.S_ISREG(path.stat().st_mode):  # Opening a pipe would wait for its writer.
        return b""
    with path.open("rb") as file:
        return file.read(MOST_BYTES)


def _checksum(content: Mapping[str, Any]) -> int:
    return crc32(json.dumps(content, sort_keys=True).encode())
