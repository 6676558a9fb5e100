"""What a path of the console needs, and what each role may do."""

from collections.abc import Mapping
from enum import StrEnum

from central.records import Role


class Permission(StrEnum):
    """What a path needs. Each path declares exactly one."""

    PUBLIC = "public"
    """Nothing: the page's own files, and signing in. The response has no data of a device."""

    VIEW = "view"
    """See devices, their data and templates."""

    OPERATE = "operate"
    """Send commands, set properties, acknowledge alerts, and set the simulated sensor."""

    ADMINISTER = "administer"
    """Add, change and delete devices, templates and rules, and simulate faults."""

    KEYS = "keys"
    """Read the keys with which devices sign in."""


VIEWER = frozenset({Permission.PUBLIC, Permission.VIEW})
OPERATOR = VIEWER | {Permission.OPERATE}
LOCAL = OPERATOR | {Permission.ADMINISTER}
"""What everyone on this machine may do if the console listens on loopback only."""

MAY: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: VIEWER,
    Role.OPERATOR: OPERATOR,
    Role.ADMINISTRATOR: LOCAL | {Permission.KEYS},
}
"""What each role may do."""
