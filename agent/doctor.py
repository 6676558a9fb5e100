"""What is right and what is wrong, in words: the body of the command rundiagnostics."""

from collections.abc import Mapping
from typing import Any

from agent.telemetry import utc

DAY = 86400.0  # Seconds.


def summary(status: Mapping[str, Any]) -> str:
    """Say in a few lines how sensor, session and backlog are. `status` is the daemon's own."""
    return "\n".join(
        [
            f"sensor-agent {status['version']} on {status['device_id']}",
            *_sensor(status["sensor"]),
            _led(status["led"]),
            *_cloud(status["cloud"]),
            *_outbox(status["outbox"]),
        ]
    )


def _sensor(sensor: Mapping[str, Any]) -> list[str]:
    lines = [
        f"sensor ({sensor['driver']}): {sensor['status']} since {sensor['status_since']}",
    ]
    if sensor["last"] is not None:
        last = sensor["last"]
        lines.append(
            f"last reading: {last['temperature']:.1f} degrees Celsius, {last['humidity']:.1f} %, "
            f"taken {last['taken']}"
        )
    counters = sensor["counters"]
    faults = ", ".join(
        f"{name} {count}"
        for name, count in counters.items()
        if count and name not in {"attempts", "accepted"}
    )
    lines.append(
        f"attempts: {counters['attempts']}, readings: {counters['accepted']}, "
        f"without one: {faults or 'none'}"
    )
    if sensor["error"] is not None:
        lines.append(f"last fault: {sensor['error']}")
    return lines


def _led(led: Mapping[str, Any]) -> str:
    fault = f"; {led['fault']}" if led["fault"] else ""
    return f"LED ({led['driver']}): {led['state']}, brightness {led['brightness']}{fault}"


def _cloud(cloud: Mapping[str, Any] | None) -> list[str]:
    if cloud is None:
        return ["cloud: not configured"]
    if cloud["hub"] is not None:
        lately = f"; lately: {cloud['error']}" if cloud["error"] else ""
        return [f"session: connected to {cloud['hub']}, connection {cloud['connections']}{lately}"]
    return [f"session: not connected; {cloud['error'] or 'connecting'}"]


def _outbox(outbox: Mapping[str, Any] | None) -> list[str]:
    if outbox is None:
        return ["outbox: none, readings are shown and not sent"]
    waiting = f"backlog: {outbox['waiting']} reading{'' if outbox['waiting'] == 1 else 's'} waiting"
    if outbox["oldest"] is not None:
        waiting += f", since {utc(outbox['oldest'])}"
    lines = [waiting, f"outbox: room for {_span(outbox['room_seconds'])} without the hub"]
    if outbox["error"] is not None:
        lines.append(f"outbox: {outbox['error']}")
    if outbox["error"] is not None or outbox["in_memory"]:
        lines.append(f"outbox: the disk fails, {outbox['in_memory']} readings are in memory only")
    lines += [_set_aside(note) for note in outbox["set_aside"]]
    lines += [
        f"dropped ({gap['reason']}): {gap['outbox_id']}:{gap['first']} to {gap['last']}"
        for gap in outbox["dropped"]
    ]
    return lines


def _set_aside(note: Mapping[str, Any]) -> str:
    if note["reason"] == "corrupt":
        return f"set aside: {note['file']}, which is damaged; readings in it were not sent"
    return f"set aside: {note['file']}, with {note['readings']} readings of another board"


def _span(seconds: float) -> str:
    if seconds >= DAY:
        return f"{seconds / DAY:.1f} days"
    return f"{seconds / 3600:.1f} hours"
