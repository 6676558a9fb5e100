"""The status in words, for people."""

from collections.abc import Iterator
from datetime import datetime

from agent.device.limits import LIMITS, LimitStatus, Quantity
from agent.device.units import SYMBOLS, in_unit, temperature_text
from agent.diagnostics.installation import described
from agent.logs.local_time import in_local_time
from agent.status import (
    CloudPart,
    LedPart,
    LimitsPart,
    OutboxPart,
    SensorPart,
    Status,
)
from hw.sensors.steadiness import ADVICE, SensorWarning

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0  # Seconds.


def summary(status: Status) -> str:
    """Describe sensor, LED, session and backlog in a few lines, with local times."""
    return "\n".join(
        [
            f"{described(status.version, status.origin)} on {status.device_id}",
            *_sensor(status.sensor, status.time),
            _led(status.led),
            *_limits(status.limits, status.sensor.unit, status.time),
            *_cloud(status.cloud),
            *place(status.cloud, now=status.time),
            *_outbox(status.outbox, status.time),
        ]
    )


def _sensor(sensor: SensorPart, now: str) -> Iterator[str]:
    since = in_local_time(sensor.status_since, now=now)
    by = ", kernel driver" if sensor.name != sensor.driver else ""
    yield f"sensor ({sensor.name}{by}): {sensor.status} since {since}"
    if sensor.last is not None:
        last = sensor.last
        yield (
            f"last reading: {temperature_text(last.temperature, sensor.unit)}, "
            f"{last.humidity:.1f} %, {ago(last.taken, now)}"
        )
    faults = ", ".join(
        f"{name} {count}"
        for name, count in sensor.counters.items()
        if count and name not in {"attempts", "accepted"}
    )
    yield (
        f"attempts: {sensor.attempts}, readings: {sensor.accepted}, without one: {faults or 'none'}"
    )
    if sensor.warning != SensorWarning.NONE:
        advice = ADVICE.get(sensor.warning, "The readings may not be true.")
        yield f"warning ({sensor.warning}): {advice}"
    if sensor.error is not None:
        yield f"last fault: {sensor.error}"


def _led(led: LedPart) -> str:
    fault = f"; {led.fault}" if led.fault else ""
    signal = ", the signal of a limit" if led.signals else ""
    return f"LED ({led.driver}): {led.state}{signal}, brightness {led.brightness}{fault}"


def _limits(limits: LimitsPart | None, unit: str, now: str) -> Iterator[str]:
    if limits is None or limits.status == LimitStatus.OFF:
        return
    bounds = ", ".join(
        f"{name} {limit_text(name, value, unit)}" for name, value in limits.in_force.items()
    )
    outside = ", ".join(
        f"{_words(LIMITS[name].status)} since {in_local_time(since, now=now)}"
        for name, since in limits.outside.items()
        if name in LIMITS
    )
    if limits.status == LimitStatus.UNKNOWN:
        yield (
            "limits: unknown, because the sensor gives no readings, or doubtful ones; "
            f"last known: {outside or 'within'} ({bounds})"
        )
    else:
        yield f"limits: {outside or _words(limits.status)} ({bounds})"


def limit_text(name: str, value: float, unit: str) -> str:
    """Return a limit for people: "30 °C" or "60 %"."""
    if name in LIMITS and LIMITS[name].quantity is Quantity.HUMIDITY:
        return f"{value:g} %"
    return f"{in_unit(value, unit):g} {SYMBOLS.get(unit, SYMBOLS['celsius'])}"


def _words(status: str) -> str:
    return status.replace("_", " ")


def ago(taken: str, now: str) -> str:
    """Return how long before `now` that was, and when, in local time. Both are in ISO 8601."""
    when, age = in_local_time(taken, now=now), seconds_between(taken, now)
    return f"taken {when}" if age is None else f"{in_units(age)} ago ({when})"


def seconds_between(earlier: str, later: str) -> float | None:
    """Return the time between two times (ISO 8601), at least 0. None if they are not times."""
    try:
        span = datetime.fromisoformat(later) - datetime.fromisoformat(earlier)
    except (ValueError, TypeError):  # Another version of the daemon may send other times.
        return None
    return max(0.0, span.total_seconds())


def in_units(seconds: float) -> str:
    """Return a time span for people: "45 s", "3 min", "2 h 5 min" or "3.0 days"."""
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    minutes = round(seconds / MINUTE)
    if minutes < HOUR / MINUTE:
        return f"{minutes} min"
    if seconds < DAY:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{seconds / DAY:.1f} days"


def _cloud(cloud: CloudPart | None) -> Iterator[str]:
    if cloud is None:
        yield "cloud: not configured"
    elif cloud.hub is None:
        yield f"session: not connected; {cloud.error or 'connecting'}"
        if cloud.next_attempt is not None:
            yield f"next attempt to connect: in {in_units(cloud.next_attempt)}"
        elif cloud.error:
            yield "next attempt to connect: now"
    else:
        lately = f"; lately: {cloud.error}" if cloud.error else ""
        yield f"session: connected to {cloud.hub}, connection {cloud.connections}{lately}"


def place(cloud: CloudPart | None, *, now: str = "") -> Iterator[str]:
    """Describe where the device belongs, and its last move; today's times without the date."""
    if cloud is None or cloud.place is None or cloud.place.id_scope is None:
        return
    place = cloud.place
    hub = f", hub {place.hub}" if place.hub else ""
    order = "; as configured"
    if place.since:
        order = f"; since {in_local_time(place.since, now=now)}, by {place.by}"
    if place.moving_to is not None:
        yield f"place: moving from ID scope {place.id_scope} to {place.moving_to}{order}"
    else:
        yield f"place: ID scope {place.id_scope}{hub}{order}"
    if place.status not in {"none", "moving", "moved"}:
        yield f"last move: {place.status}"


def _outbox(outbox: OutboxPart | None, now: str) -> Iterator[str]:
    if outbox is None:
        yield "outbox: none, readings are shown and not sent"
        return
    readings = "reading" if outbox.waiting == 1 else "readings"
    since = f", since {in_local_time(outbox.oldest, now=now)}" if outbox.oldest else ""
    yield f"backlog: {outbox.waiting} {readings} waiting{since}"
    yield f"outbox: room for {in_units(outbox.room_seconds)} without the hub"
    if outbox.error is not None:
        yield f"outbox: {outbox.error}"
    if outbox.error is not None or outbox.in_memory:
        yield f"outbox: the disk fails, {outbox.in_memory} readings are in memory only"
    if outbox.damaged:
        yield f"outbox: {outbox.damaged} damaged records or blocks on disk were skipped"
    for file in outbox.set_aside:
        yield f"set aside ({file.reason}): {file.file}"
    for gap in outbox.dropped:
        yield f"dropped ({gap.reason}): {gap.run}:{gap.first} to {gap.last}"
