"""The daemon's status, as the control socket, `sensor-agent status` and the checks use it.

Times are ISO 8601 in UTC. Temperatures are in degrees Celsius, humidity is relative, in percent.
"""

import reprlib
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True, kw_only=True, slots=True)
class LastReading:
    temperature: float
    humidity: float
    unit: str = "celsius"
    taken: str


def sensor_name(driver: str, model: str) -> str:
    """Return the sensor for people: its driver, or the model if the driver is the kernel's."""
    return model if driver == "kernel" and model else driver


@dataclass(frozen=True, kw_only=True, slots=True)
class SensorPart:
    """The sensor. `interval` is in seconds, `unit` the unit in which temperatures are sent.

    `model` is empty in the status of a daemon of an earlier version.

    `status` and `warning` are values of the properties `sensorStatus` and `sensorWarning`.
    `counters` has `attempts`, `accepted`, and the attempts without a reading by reason.
    """

    driver: str
    model: str = ""
    interval: float
    status: str
    status_since: str
    last: LastReading | None = None
    counters: dict[str, int]
    error: str | None = None
    warning: str = "none"
    unit: str = "celsius"

    @property
    def name(self) -> str:
        return sensor_name(self.driver, self.model)

    @property
    def attempts(self) -> int:
        return self.counters.get("attempts", 0)

    @property
    def accepted(self) -> int:
        return self.counters.get("accepted", 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class LedPart:
    """The LED. `state` is `off`, `on` or `blinking`; `brightness` 1 high, 2 medium, 3 low.

    `signals` is true while it shows that a limit is crossed, and not what was last ordered.
    """

    driver: str
    state: str
    brightness: int
    signals: bool = False
    fault: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitsPart:
    """The limits. `status` is the value of the property `limitStatus`.

    `in_force` has the limits that are set, by property. `outside` has those that are crossed, and
    since when; while the sensor gives no readings, those that were crossed before.
    """

    status: str
    in_force: dict[str, float]
    outside: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacePart:
    """Where the device belongs: its ID scope, and the hub that it was last assigned to, if known.

    `moving_to` is the ID scope that it is moving to, `status` the property `moveStatus`. `since`
    and `by` say when it was moved and by whose order; None if the configuration decides.
    """

    id_scope: str | None
    hub: str | None = None
    moving_to: str | None = None
    status: str = "none"
    since: str | None = None
    by: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CloudPart:
    """The session. `hub` is None while the daemon is not connected.

    `next_attempt` is in how many seconds it tries to connect again; None if it does so now.
    """

    hub: str | None
    attempts: int = 0
    connections: int = 0
    error: str | None = None
    next_attempt: float | None = None
    place: PlacePart | None = None


@dataclass(frozen=True, slots=True)
class DroppedReadings:
    """Readings that were given up: the numbers `first` to `last` of a run, and why."""

    run: str
    first: int
    last: int
    reason: str

    @property
    def count(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SetAsideFile:
    """A file or folder of the state directory that was renamed, by its new name.

    `reason` is `damaged`, `other-board`, `earlier-version` or `newer-version`.
    """

    file: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxPart:
    """The queue. `in_memory` counts the waiting readings that are not on disk.

    `room_seconds` is how long the queue can grow before readings are dropped. `dropped` are the
    last ranges of dropped readings, `dropped_total` counts all of them. `damaged` counts the blocks
    and records on disk that were skipped since the start.
    """

    waiting: int
    in_memory: int = 0
    oldest: str | None = None
    room_seconds: float
    dropped: tuple[DroppedReadings, ...] = ()
    dropped_total: int = 0
    damaged: int = 0
    set_aside: tuple[SetAsideFile, ...] = ()
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """The daemon's status. It contains no secrets.

    `origin` says which Debian package the version comes from, if it comes from one. `cloud`,
    `properties` (the writable ones, by name) and `outbox` are None without a cloud, and `limits`
    from a daemon that has none.
    """

    time: str
    version: str
    origin: str = ""
    device_id: str
    sensor: SensorPart
    led: LedPart
    limits: LimitsPart | None = None
    cloud: CloudPart | None = None
    properties: dict[str, Any] | None = None
    outbox: OutboxPart | None = None


def status_to_json(status: Status) -> dict[str, Any]:
    """Return the status as JSON's types."""
    return asdict(status)


def status_from_json(value: object) -> Status:
    """Return the status that a daemon of this or another version sent.

    Unknown keys are ignored, and missing ones get their default. Raises ValueError, which names
    the key, if a key without a default is missing or a value has the wrong type.
    """
    status: Status = _decoded(Status, value, "status")
    return status


def _decoded(kind: Any, value: Any, name: str) -> Any:
    """Return `value`, which JSON gave, as the annotated type `kind`. Raises ValueError."""
    arguments, origin = get_args(kind), get_origin(kind)
    if kind is Any:
        return value
    if NoneType in arguments:
        return None if value is None else _decoded(arguments[0], value, name)
    if is_dataclass(kind) and isinstance(value, dict):
        return _decoded_fields(kind, value, name)
    if origin is tuple and isinstance(value, list):
        return tuple(_decoded(arguments[0], one, name) for one in value)
    if origin is dict and isinstance(value, dict):
        return {key: _decoded(arguments[1], one, f"{name}.{key}") for key, one in value.items()}
    # JSON has one kind of number. Booleans are integers to isinstance().
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    raise ValueError(f"{name} has an unexpected value: {reprlib.repr(value)}")


def _decoded_fields(kind: Any, value: dict[str, Any], name: str) -> Any:
    types = get_type_hints(kind)
    arguments = {}
    for one in fields(kind):
        if one.name in value:
            arguments[one.name] = _decoded(types[one.name], value[one.name], f"{name}.{one.name}")
        elif one.default is MISSING:
            raise ValueError(f"{name}.{one.name} is missing")
    return kind(**arguments)
