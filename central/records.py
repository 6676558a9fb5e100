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
    """Something that happened.

    `kind` is device, connection, telemetry, twin, command, alerts or lagged. `data` is the Device,
    Connection, Message, Twin or Command. It is None if a device was deleted. An event of the kind
    alerts has neither a device nor data: some alert or rule has changed.
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


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number is above or below a limit, in every reading of so many seconds."""

    telemetry: str  # In a component: `component*name`.
    above: bool
    limit: float
    margin: float  # How far inside the limit a number must be for the alert to end.
    seconds: float  # Between the first and the last of the readings; 0: one is enough.
    templates: tuple[str, ...] = ()  # Those with this unit, if not all have the same; else none.


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing was heard from a device for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class PropertyValue:
    """A reported property has had one of the values for so many seconds, or none of them."""

    property: str  # In a component: `component*name`.
    values: tuple[str | float | bool, ...]
    negated: bool  # None of the values. A property that is not reported never fulfils this.
    seconds: float


@dataclass(frozen=True, slots=True)
class MissingReadings:
    """So many readings of a device have been missing for so many seconds."""

    count: int
    seconds: float


Condition = Threshold | Silence | PropertyValue | MissingReadings


@dataclass(frozen=True, slots=True)
class Rule:
    """When to make an alert. Without tags and devices, it is for all devices."""

    number: int
    revision: int  # Increases with each change.
    name: str
    enabled: bool
    since: float  # When it was made, changed or enabled. Readings from before are not judged.
    condition: Condition
    tags: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    webhook: str | None = None  # The URL that each alert is sent to.


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert of a rule for a device."""

    number: int
    rule: int  # It may be deleted.
    rule_name: str  # As it was when the alert was made.
    device_id: str
    device_name: str
    condition: Condition
    value: str | float | bool | None  # The reading, property or number of missing readings.
    fired: float  # When the condition was fulfilled, by the time of the readings.
    recorded: float
    returned: float | None  # When the condition ceased; None while the alert is open.
    acknowledged: float | None
    acknowledged_by: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message about an alert to the webhook of its rule."""

    number: int
    alert: int
    event: str  # fired or returned
    url: str
    attempts: int
    due: float | None  # When it is tried next; None if it was delivered or given up.
    outcome: str  # Of the last attempt: `delivered`, or what failed.


def iso(seconds: float) -> str:
    """Format a time (unix seconds) as Azure's services do: UTC, milliseconds, `Z`."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
