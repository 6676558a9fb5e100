"""The status of a healthy daemon, and variations of it."""

from dataclasses import replace

from agent.status import (
    CloudPart,
    LastReading,
    LedPart,
    OutboxPart,
    PlacePart,
    SensorPart,
    Status,
)
from hw import Fault

COUNTERS = {"attempts": 12, "accepted": 10, "suspect": 0, "warm_up": 0}
COUNTERS |= {fault.value: 0 for fault in Fault} | {"checksum": 2}

PLACE = PlacePart(
    id_scope="0ne000000BB",
    hub="hub.new",
    status="moved",
    since="2026-11-22T10:00:00.000Z",
    by="DeviceMove from hub.old",
)

STATUS = Status(
    time="2026-11-22T10:01:30.000Z",
    version="1.2.3",
    device_id="pi-1",
    sensor=SensorPart(
        driver="dht22",
        model="dht22",
        interval=60,
        status="ok",
        status_since="2026-11-22T10:00:00.000Z",
        last=LastReading(temperature=21.5, humidity=45.0, taken="2026-11-22T10:01:00.000Z"),
        counters=COUNTERS,
    ),
    led=LedPart(driver="gpiozero", state="blinking", brightness=2),
    cloud=CloudPart(hub="hub.test", attempts=4, connections=3, place=PLACE),
    properties={"name": "attic", "brightness": 2, "telemetryInterval": 60},
    outbox=OutboxPart(waiting=1, oldest="2023-11-14T22:13:20.000Z", room_seconds=2_592_000.0),
)


def status_with(**parts):
    """Return STATUS with other parts; a dict replaces some fields of its part."""
    changes = {
        name: replace(getattr(STATUS, name), **part) if isinstance(part, dict) else part
        for name, part in parts.items()
    }
    return replace(STATUS, **changes)
