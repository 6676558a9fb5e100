"""Changes to files of the machine: printed, made atomically, and undone if a later step fails."""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.cli.setup.machine import Done, Machine
from agent.errors import AgentError, in_words
from agent.storage.files import replace_file
from hw import boot_config
from hw.errors import BootConfigError


@dataclass(frozen=True, slots=True)
class File:
    """The content of a file, its mode, and the numbers of its owners."""

    content: bytes
    mode: int
    user: int
    group: int


class Changes:
    """The changes of one run; `made` tells whether there are any. A dry run only prints them."""

    def __init__(self, machine: Machine, *, dry_run: bool) -> None:
        self.machine = machine
        self.dry_run = dry_run
        self.made = False
        self.is_pending = False  # Whether a failure now would leave only a part of the changes.
        self._undo: list[tuple[str, Callable[[], object]]] = []

    def undo_with(self, what: str, function: Callable[[], object]) -> None:
        """Call `function`, which does `what`, if a later step fails. The last one comes first."""
        if not self.dry_run:
            self._undo.append((what, function))

    def undo_last(self, what: str, function: Callable[[], object]) -> None:
        """As `undo_with`, but after everything else is undone."""
        if not self.dry_run:
            self._undo.insert(0, (what, function))

    def finish(self) -> None:
        """Keep the changes, whatever fails later."""
        self._undo.clear()
        self.is_pending = False

    def undo(self) -> None:
        """Undo everything. A failure is printed, and the rest is undone all the same."""
        if not self._undo:
            return
        print("Undoing the changes:", file=sys.stderr)
        while self._undo:
            what, function = self._undo.pop()
            print(f"    {what}", file=sys.stderr)
            try:
                function()
            except (OSError, AgentError, BootConfigError) as error:
                print(f"    That failed: {error}", file=sys.stderr)

    def run(self, *command: str) -> Done:
        """Run a command. A dry run only prints it."""
        if self.dry_run:
            print(f"    {' '.join(command)}")
            return Done(0)
        return self.machine.run(command)

    def must_run(self, *command: str) -> None:
        """Run a command. Raises AgentError if it fails."""
        done = self.run(*command)
        if done.status != 0:
            raise AgentError(f"{' '.join(command)} failed: {done.reason}")

    def directory(self, name: str, mode: int, group: str = "root") -> None:
        """Make sure that there is a directory with this mode, which belongs to root:`group`."""
        path = self.machine.path(name)
        number = self._number(group)
        is_there = path.is_dir()
        if is_there:
            found = path.stat()
            owners = (self.machine.root_user, number)
            if (stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)) == (mode, owners):
                return
        self._announce(f"Creating {name}")
        if self.dry_run:
            return
        if not is_there:
            self.undo_with(f"removing {name}", path.rmdir)
        with writing(name):
            path.mkdir(0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self.machine.chown(descriptor, self.machine.root_user, number)
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)

    def put(self, name: str, content: bytes, mode: int, group: str = "root") -> None:
        """Write a file with this mode, which belongs to root:`group`, if it is not so already."""
        path = self.machine.path(name)
        before = self._before(path)
        wanted = File(content, mode, self.machine.root_user, self._number(group))
        if before == wanted:
            return
        self._announce(f"Writing {name}")
        if not self.dry_run:
            with writing(name):
                self._keep(name, path, before)
                self._replace(path, wanted)

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        path = self.machine.path(name)
        try:
            is_there = os.path.lexists(path)
        except OSError:  # An ordinary user's dry run cannot look there.
            is_there = False
        if not is_there:
            return
        self._announce(f"Removing {name}")
        if not self.dry_run:
            with writing(name):
                self._keep(name, path, self._before(path))
                path.unlink()

    def put_boot_config(self, file: Path, content: bytes) -> None:
        """Write config.txt. Raises AgentError; the file is then unchanged."""
        self.made = True
        if self.dry_run:
            return
        self.is_pending = True
        try:
            before = boot_config.read(file)
            self.undo_with(f"restoring {file}", lambda: _restore(file, before))
            boot_config.write(file, content)
        except BootConfigError as error:
            raise AgentError(str(error)) from error

    def _number(self, group: str) -> int:
        try:
            return self.machine.group_number(group)
        except KeyError:
            if self.dry_run:
                return -1
            raise AgentError(
                f"The group {group} does not exist. Install the package sensor-agent again."
            ) from None

    def _announce(self, sentence: str) -> None:
        self.made = True
        self.is_pending = not self.dry_run
        print(sentence)

    def _before(self, path: Path) -> File | None:
        """Return the present file, or None if it does not exist or a dry run may not read it."""
        try:
            found = path.stat()
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            if self.dry_run:
                return None
            raise AgentError(f"Cannot read {path}: {in_words(error)}.") from error
        return File(content, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)

    def _keep(self, name: str, path: Path, before: File | None) -> None:
        if before is None:
            self.undo_with(f"removing {name}", lambda: path.unlink(missing_ok=True))
        else:
            self.undo_with(f"restoring {name}", lambda: self._replace(path, before))

    def _replace(self, path: Path, wanted: File) -> None:
        def prepare(descriptor: int) -> None:
            self.machine.chown(descriptor, wanted.user, wanted.group)
            os.fchmod(descriptor, wanted.mode)

        replace_file(path, wanted.content, prepare)


def _restore(file: Path, content: bytes) -> None:
    """Write config.txt as it was, unless it still is so: it may be on a full disk."""
    if boot_config.read(file) != content:
        boot_config.write(file, content)


@contextmanager
def writing(name: str | Path) -> Iterator[None]:
    """Raise AgentError, with the file's name, for an OSError in the block."""
    try:
        yield
    except OSError as error:
        raise AgentError(f"Cannot write {name}: {in_words(error)}.") from error
