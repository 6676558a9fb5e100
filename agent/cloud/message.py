"""Make a message of a reading."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.device.units import in_unit
from agent.readings.clock import Clock, utc
from agent.readings.outbox import Entry
from agent.status import DroppedReadings

DROPPED_AT_ONCE = 45  # Ranges that a message names, each of at most 42 characters: under 2 KB.


@dataclass(frozen=True, slots=True)
class Message:
    """A message to the hub: a JSON body in UTF-8, its id, and application properties."""

    id: str
    body: str
    properties: dict[str, str] = field(default_factory=dict)


def message(
    entry: Entry, *, unit: str, clock: Clock, dropped: Sequence[DroppedReadings] = ()
) -> Message:
    """Return the message of `entry`, in `unit` ("celsius" or "fahrenheit").

    IoT Central takes the time of a late reading from the property `iothub-creation-time-utc`.
    `clock=unsynchronised` means that this time may be wrong. A receiver can prove that no reading
    is missing: numbers of a run begin with 1, `previous` is the id before the run's first, and
    `dropped` lists readings that never come, as `<run>:<first>-<last>:<reason>`.
    """
    taken, believable = clock.true_time(entry.taken)
    temperature = in_unit(entry.reading.temperature, unit)
    # A DHT22 resolves tenths. Conversion and offsets need a second digit.
    body = {"temp": round(temperature, 2), "humid": round(entry.reading.humidity, 2)}
    properties = {"iothub-creation-time-utc": utc(taken)}
    if not believable:
        properties["clock"] = "unsynchronised"
    if entry.previous is not None:
        properties["previous"] = entry.previous
    if dropped:
        properties["dropped"] = ",".join(
            f"{gap.run}:{gap.first}-{gap.last}:{gap.reason}" for gap in dropped
        )
    return Message(entry.message_id, json.dumps(body), properties)
