"""The status in words, for people."""

from collections.abc import Iterator

from agent.device.limits import LIMITS, LimitStatus
from agent.diagnostics.installation import described
from agent.status import (
    CloudPart,
    LedPart,
    LimitsPart,
    OutboxPart,
    SensorPart,
    Status,
)
from hw.sensors.steadiness import ADVICE, SensorWarning

DAY = 86400.0  # Seconds.


def summary(status: Status) -> str:
    """Describe sensor, LED, session and backlog in a few lines."""
    return "\n".join(
        [
            f"{described(status.version, status.origin)} on {status.device_id}",
            *_sensor(status.sensor),
            _led(status.led),
            *_limits(status.limits),
            _cloud(status.cloud),
            *place(status.cloud),
            *_outbox(status.outbox),
        ]
    )


def _sensor(sensor: SensorPart) -> Iterator[str]:
    yield f"sensor ({sensor.driver}): {sensor.status} since {sensor.status_since}"
    if sensor.last is not None:
        last = sensor.last
        yield (
            f"last reading: {last.temperature:.1f} degrees Celsius, {last.humidity:.1f} %, "
            f"taken {last.taken}"
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


def _limits(limits: LimitsPart | None) -> Iterator[str]:
    if limits is None or limits.status == LimitStatus.OFF:
        return
    bounds = ", ".join(f"{name} {value:g}" for name, value in limits.in_force.items())
    outside = ", ".join(
        f"{_words(LIMITS[name].status)} since {since}"
        for name, since in limits.outside.items()
        if name in LIMITS
    )
    if limits.status == LimitStatus.UNKNOWN:
        before = f"; last known: {outside or 'within'}"
        yield f"limits: unknown, because the sensor gives no readings{before} ({bounds})"
    else:
        yield f"limits: {outside or _words(limits.status)} ({bounds})"


def _words(status: str) -> str:
    return status.replace("_", " ")


def _cloud(cloud: CloudPart | None) -> str:
    if cloud is None:
        return "cloud: not configured"
    if cloud.hub is None:
        return f"session: not connected; {cloud.error or 'connecting'}"
    lately = f"; lately: {cloud.error}" if cloud.error else ""
    return f"session: connected to {cloud.hub}, connection {cloud.connections}{lately}"


def place(cloud: CloudPart | None) -> Iterator[str]:
    """Describe where the device belongs, and its last move."""
    if cloud is None or cloud.place is None or cloud.place.id_scope is None:
        return
    place = cloud.place
    hub = f", hub {place.hub}" if place.hub else ""
    order = f"; since {place.since}, by {place.by}" if place.since else "; as configured"
    if place.moving_to is not None:
        yield f"place: moving from ID scope {place.id_scope} to {place.moving_to}{order}"
    else:
        yield f"place: ID scope {place.id_scope}{hub}{order}"
    if place.status not in {"none", "moving", "moved"}:
        yield f"last move: {place.status}"


def _outbox(outbox: OutboxPart | None) -> Iterator[str]:
    if outbox is None:
        yield "outbox: none, readings are shown and not sent"
        return
    readings = "reading" if outbox.waiting == 1 else "readings"
    since = f", since {outbox.oldest}" if outbox.oldest else ""
    yield f"backlog: {outbox.waiting} {readings} waiting{since}"
    yield f"outbox: room for {_span(outbox.room_seconds)} without the hub"
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


def _span(seconds: float) -> str:
    return f"{seconds / DAY:.1f} days" if seconds >= DAY else f"{seconds / 3600:.1f} hours"
