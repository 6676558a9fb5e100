"""Judge, as root, what the service may read: it runs as another user."""

import os
import pwd
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.config.credentials import SERVICE_CREDENTIALS

USER = "sensor-agent"
TO_CREDENTIALS = (
    f"Move it to {SERVICE_CREDENTIALS}, and set its name without a directory in [cloud]: sudo "
    "sensor-agent setup does both"
)
HIDDEN = (Path("/home"), Path("/root"), Path("/run/user"))  # ProtectHome=yes
READ, SEARCH = 0o400, 0o100  # The owner's bits of a file and of a directory.


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """The number of the service's user, and those of its groups."""

    uid: int
    gids: frozenset[int]


def service_user() -> ServiceUser | None:
    """Return the user of the service. None if it does not exist."""
    try:
        found = pwd.getpwnam(USER)
    except KeyError:
        return None
    return ServiceUser(found.pw_uid, frozenset(os.getgrouplist(USER, found.pw_gid)))


def hidden_from_service(
    files: Iterable[Path],
    *,
    user: ServiceUser | None = None,
    stat: Callable[[Path], os.stat_result] = Path.stat,
) -> str | None:
    """Return why the service cannot read one of these files, or None.

    `user` is that of the service (default: this machine's). Files of its directory of credentials
    are read by systemd for it. Missing files are not judged.
    """
    user = user or service_user()
    for file in files:
        place = Path(os.path.normpath(file.absolute()))
        if Path(SERVICE_CREDENTIALS) in place.parents:
            continue
        if any(directory in place.parents for directory in HIDDEN):
            return f"The service cannot read {file}, because it has no access to home directories."
        if user is not None and not _may_read(place, user, stat):
            return f"The service's user {USER} cannot read {file}."
    return None


def _may_read(file: Path, user: ServiceUser, stat: Callable[[Path], os.stat_result]) -> bool:
    try:
        if not _has(stat(file), user, READ):
            return False
        return all(_has(stat(one), user, SEARCH) for one in file.parents)
    except OSError:
        return True  # Reading it gives a better reason.


def _has(found: os.stat_result, user: ServiceUser, owners_bit: int) -> bool:
    if found.st_uid == user.uid:
        return bool(found.st_mode & owners_bit)
    if found.st_gid in user.gids:
        return bool(found.st_mode & owners_bit >> 3)
    return bool(found.st_mode & owners_bit >> 6)
