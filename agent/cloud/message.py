"""Make a message of a reading."""

import json
from dataclasses import dataclass, field

from agent.readings.clock import Clock, utc
from agent.readings.outbox import Entry


@dataclass(frozen=True, slots=True)
class Message:
    """A message to the hub: a JSON body in UTF-8, its id, and application properties."""

    id: str
    body: str
    properties: dict[str, str] = field(default_factory=dict)


def message(entry: Entry, *, unit: str, clock: Clock) -> Message:
    """Return the message of `entry`, in `unit` ("celsius" or "fahrenheit").

    IoT Central takes the time of a late reading from the property `iothub-creation-time-utc`.
    `clock=unsynchronised` means that this time may be wrong.
    """
    taken, believable = clock.true_time(entry.taken)
    temperature = entry.reading.temperature
    if unit == "fahrenheit":
        temperature = temperature * 9 / 5 + 32
    # A DHT22 resolves tenths. Conversion and offsets need a second digit.
    body = {"temp": round(temperature, 2), "humid": round(entry.reading.humidity, 2)}
    properties = {"iothub-creation-time-utc": utc(taken)}
    if not believable:
        properties["clock"] = "unsynchronised"
    return Message(entry.message_id, json.dumps(body), properties)
