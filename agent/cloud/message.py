"""A reading becomes a message. Pure: the same reading and the same clock, the same message."""

import json
from dataclasses import dataclass, field

from agent.readings.clock import Clock, utc
from agent.readings.outbox import Entry


@dataclass(frozen=True, slots=True)
class Message:
    """What the hub is sent: a JSON body in UTF-8, its id, and application properties."""

    id: str
    body: str
    properties: dict[str, str] = field(default_factory=dict)


def message(entry: Entry, *, unit: str, clock: Clock) -> Message:
    """Say `entry` in IoT Central's words, in `unit` ("celsius" or "fahrenheit").

    `iothub-creation-time-utc` is what puts a late reading at its own time; `clock=unsynchronised`
    warns that this time cannot be believed.
    """
    taken, believable = clock.true_time(entry.taken)
    temperature = entry.reading.temperature
    if unit == "fahrenheit":
        temperature = temperature * 9 / 5 + 32
    # A DHT22 resolves a tenth; a second digit keeps what a conversion or an offset adds.
    body = {"temp": round(temperature, 2), "humid": round(entry.reading.humidity, 2)}
    properties = {"iothub-creation-time-utc": utc(taken)}
    if not believable:
        properties["clock"] = "unsynchronised"
    return Message(entry.message_id, json.dumps(body), properties)
