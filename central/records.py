"""What central remembers, as it hands it out. Times are unix seconds, UTC."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Device:
    id: str
    display_name: str
    template: str | None  # A model's DTMI: announced by the device, or chosen by the operator.
    enabled: bool
    provisioned: bool  # Has it ever registered?
    simulated: bool
    created: float
    etag: str  # Another one after each change.
    announced: str | None  # The model that the device itself named last, if it names one.


@dataclass(frozen=True, slots=True)
class Message:
    number: int  # Central's own, growing.
    device_id: str
    received: float
    created: float | None  # `iothub-creation-time-utc`, if it was sent and is a time.
    body: bytes
    properties: dict[str, str]  # The application's own.
    system: dict[str, str]  # message_id, content_type, component, ...: names without `$.`


@dataclass(frozen=True, slots=True)
class Command:
    id: str
    device_id: str
    name: str  # In a component: `component*name`.
    request: object | None
    asked: float
    answered: float | None  # For a queued one: when the device took it.
    status: int | None  # The device's, or 404 not connected, 504 no answer. None if queued.
    response: object | None
    queued: bool
    completion: object | None  # After 202: the reported property of the command's name.
    completed: float | None


@dataclass(frozen=True, slots=True)
class Twin:
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
    """A message to a device that has not acknowledged it yet."""

    number: int
    device_id: str
    command_id: str
    properties: dict[str, str]
    body: bytes
    expires: float
    sent: bool  # Once before: the next time it is a duplicate.

    @property
    def packet_id(self) -> int:
        """The same in every connection, as [MQTT-4.4.0-1] wants it for what is sent again."""
        return self.number % 0xFFFF + 1


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: `device`, `connection`, `telemetry`, `twin`, `command`, `lagged`.

    `data` is the Message, Connection, Twin, Command or Device it is about; None for a device
    that was deleted.
    """

    kind: str
    device_id: str
    data: Any = None
