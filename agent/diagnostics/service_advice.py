"""Advice that depends on whether the service is installed, and on who may talk to its socket."""

import grp
import os
import pwd
from collections.abc import Callable, Sequence
from pathlib import Path

UNIT = "sensor-agent.service"
UNIT_DIRECTORIES = ("etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
SERVICE_GROUP = "sensor-agent"


def service_is_installed(root: Path = Path("/")) -> bool:
    """Return whether systemd has a unit for the daemon; `root` is the root directory."""
    return any((root / directory / UNIT).exists() for directory in UNIT_DIRECTORIES)


def how_to_start(root: Path = Path("/")) -> str:
    if service_is_installed(root):
        return (
            "To start the service: sudo systemctl start sensor-agent. If it fails to start: "
            "sudo journalctl -u sensor-agent -n 20"
        )
    return "To start one: sensor-agent run, or sensor-agent run --fake-hw without a Raspberry Pi"


def how_to_restart(root: Path = Path("/")) -> str:
    if service_is_installed(root):
        return "To restart the service: sudo systemctl restart sensor-agent"
    return "Stop the daemon with Ctrl-C in its terminal, and start it again."


def where_the_log_is(root: Path = Path("/")) -> str:
    if service_is_installed(root):
        return "To see the log: sudo journalctl -xu sensor-agent -n 20"
    return "The log is in the terminal in which the daemon was started."


def group_of(path: Path) -> str:
    """Return the group that `path` belongs to, or its directory if this user cannot look there."""
    for place in (path, *path.parents):
        try:
            number = place.stat().st_gid
        except OSError:
            continue
        return _name(number)
    return _name(0)


def _name(group: int) -> str:
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)


def user_name() -> str:
    """Return the name of this user, or the number if it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def how_to_join(
    group: str,
    *,
    user: str | None = None,
    members: Callable[[str], list[str]] = lambda name: grp.getgrnam(name).gr_mem,
    session: Sequence[str] | None = None,
) -> str:
    """Return how `user` (default: this one) gets access to a socket of `group`.

    `members` returns the members of a group, `session` are the groups of this login session.
    """
    if group != SERVICE_GROUP:
        return "Use sudo, or run the command as the user that runs the daemon."
    user = user or user_name()
    if session is None:
        session = [_name(number) for number in os.getgroups()]
    if user in members(group) and group not in session:
        return f"{user} has joined this group since the last login. Log out and log in again."
    return f"Use sudo, or join the group and log in again: sudo usermod -aG {group} {user}"
