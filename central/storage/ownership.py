"""Files of another user, handled by root with that user's rights only.

The owner of a directory can replace a file in it by a link to any other file. If root followed that
link, it would read, change or delete the other file.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_owner(path: Path) -> Iterator[None]:
    """Give root, in the block, the rights of the user who decides what is at `path`, no more.

    That is the owner of the first part of the path that does not belong to root; `path` need not
    exist. Files that are open already stay usable. Does nothing for other users than root.
    """
    uid, gid = _owner(path)
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    groups, own_gid = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(own_gid)
        os.setgroups(groups)


def _owner(path: Path) -> tuple[int, int]:
    # As it is written, and where it leads: a link on the way can belong to somebody, too.
    for whole in (path.absolute(), path.resolve()):
        for part in (*reversed(whole.parents), whole):
            try:
                found = part.lstat()
            except OSError:
                break
            if found.st_uid != 0:
                return found.st_uid, found.st_gid
    return 0, 0
