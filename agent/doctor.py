"""What is right and what is wrong, in words: the body of the command rundiagnostics."""

from collections.abc import Mapping
from typing import Any


def summary(status: Mapping[str, Any]) -> str:
    """Say in a few lines how sensor, session and backlog are. `status` is the daemon's own."""
    return "\n".join(
        [
            f"sensor-agent {status['version']} on {status['device_id']}",
            *_sensor(status["sensor"]),
            _led(status["led"]),
            *_cloud(status["cloud"]),
            _backlog(status),
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
        return [f"session: connected to {cloud['hub']}, connection {cloud['connections']}"]
    return [f"session: not connected; {cloud['error'] or 'connecting'}"]


def _backlog(status: Mapping[str, Any]) -> str:
    waiting = status["backlog"]
    return f"backlog: {waiting} reading{'' if waiting == 1 else 's'} waiting"
