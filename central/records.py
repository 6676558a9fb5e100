"""What central records, as frozen dataclasses. Times are unix seconds."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

# What the hub allows, except for the ids . and .., which browsers remove from a path:
# https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-identity-registry
DEVICE_ID = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9.:%_*?!(),=@;$'-]{1,128}")


@dataclass(frozen=True, slots=True)
class Device:
    """A device as central knows it, connected or not."""

    id: str
    display_name: str
    created: float
    etag: str  # Changes with each update.
    template: str | None = None  # The device's template, announced by it or chosen by the operator.
    enabled: bool = True
    provisioned: bool = False  # Whether it has registered at least once.
    simulated: bool = False
    announced: str | None = None  # The model id that the device itself announced last.
    id_scope: str | None = None  # Where it registered last.
    organizations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """A message from a device, usually with telemetry."""

    number: int  # Central's own, increasing.
    device_id: str
    received: float
    created: float | None  # When the device says that it made it, if that is a valid time.
    body: bytes
    properties: dict[str, str]  # Set by the application.
    system: dict[str, str]  # message_id, content_type, component, ...: names without `$.`


@dataclass(frozen=True, slots=True)
class Command:
    """A command that the operator sent to a device, and how the device answered."""

    id: str
    device_id: str
    name: str  # In a component: `component*name`.
    request: object | None
    asked: float
    queued: bool = False
    answered: float | None = None  # When the device acknowledged it, for a queued command.
    status: int | None = None  # The device's, or 404 not connected, 504 no answer. None if queued.
    response: object | None = None
    completion: object | None = None  # After status 202: the reported property of this name.
    completed: float | None = None


@dataclass(frozen=True, slots=True)
class Twin:
    """A device's desired and reported properties. Versions start at 1."""

    desired: dict[str, Any]
    desired_version: int
    reported: dict[str, Any]
    reported_version: int
    desired_times: dict[str, float]  # When each top-level property last changed.
    reported_times: dict[str, float]


@dataclass(frozen=True, slots=True)
class Connection:
    """One line of a device's connection log."""

    device_id: str
    at: float
    event: str  # connected, disconnected, refused, registered, registration refused
    detail: str


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message to a device, until the device acknowledges it."""

    number: int
    device_id: str
    command_id: str
    properties: dict[str, str]
    body: bytes
    expires: float
    sent: bool  # At least once: then it is a duplicate.

    @property
    def packet_id(self) -> int:
        """The same in every connection, as [MQTT-4.4.0-1] requires of a message sent again."""
        return self.number % 0xFFFF + 1


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `kind` is device, connection, telemetry, twin, command or lagged.

    `data` is the Device, Connection, Message, Twin or Command. It is None if a device was deleted.
    """

    kind: str
    device_id: str
    data: Any = None


class Role(StrEnum):
    """What a user of the console, or a script with an API token, is."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True)
class User:
    """Someone who may sign in to the console."""

    name: str  # Upper and lower case are the same.
    role: Role
    password: str  # Its hash, as `central.console.sign_in.passwords` makes it.
    created: float


@dataclass(frozen=True, slots=True)
class SignIn:
    """A browser in which a user is signed in."""

    digest: str  # Of the secret that the browser has.
    user: str
    role: Role
    created: float
    expires: float


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token with which a script uses the console."""

    name: str  # Upper and lower case are the same.
    role: Role
    digest: str
    created: float
    expires: float


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A request that changed something, or read a device's keys."""

    at: float
    who: str
    address: str
    request: str  # Method and path.
    device_id: str | None
    status: int  # Of the response.


def iso(seconds: float) -> str:
    """Format a time (unix seconds) as Azure's services do: UTC, milliseconds, `Z`."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
