"""Watches the readings, and signals and reports when they cross a limit."""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from typing import Any, Protocol

from agent.device.led_order import SIGNALS, LedChoice, Order, order_from_json, order_to_json
from agent.device.limits import (
    IN_A_ROW,
    LIMITS,
    Crossing,
    Limit,
    LimitStatus,
    Quantity,
    Side,
    Sides,
    Values,
    change_limits,
    judge,
    limit_status,
)
from agent.logs.events import LogEvent
from agent.readings.clock import LATEST, Clock, Stamp
from agent.status import LimitsPart
from hw import Reading, SensorStatus, SensorWarning

log = logging.getLogger(__name__)

KEPT = "limits"  # The name of the setting.
UNITS = {Quantity.TEMPERATURE: "°C", Quantity.HUMIDITY: "%"}

# Doubtful readings do not cross a limit.
BELIEVED: Mapping[SensorWarning, Sequence[Quantity]] = {
    SensorWarning.NONE: tuple(Quantity),
    SensorWarning.HUMIDITY_SATURATED: (Quantity.TEMPERATURE,),
}


class SignalLed(Protocol):
    """The part of the LED that the watch uses."""

    @property
    def choice(self) -> LedChoice: ...

    def signal(self, signal: Order | None) -> None:
        """Show a signal, or with None what was last ordered. Returns at once, saves later."""
        ...

    def repair(self) -> None:
        """Try again if the LED failed to. Returns at once."""
        ...


class LimitWatch:
    """The limits of one device, and on which side of each its readings are.

    `values` are in force, and `look` is what the LED does outside: `blink`, `on` or `none`. `kept`
    is what an earlier run passed to `keep`, or anything else; with `keep`, None deletes it.
    """

    def __init__(
        self,
        *,
        values: Values,
        look: str,
        led: SignalLed,
        clock: Clock,
        report: Callable[[Mapping[str, Any]], None],
        keep: Callable[[Any], None],
        kept: Any = None,
    ) -> None:
        self._values = values
        self._look = look
        self._led = led
        self._clock = clock
        self._report = report
        self._keep = keep
        self._kept = kept
        self._since = outside_before(kept, values)
        self._sides: Sides = {name: Side(name in self._since) for name in LIMITS}
        self._last: dict[Quantity, deque[Stamp]] = {q: deque(maxlen=IN_A_ROW) for q in Quantity}
        self._is_reading = False
        self._reported = self.status

    @property
    def status(self) -> LimitStatus:
        """The value of the property `limitStatus`."""
        return limit_status(self._sides, self._values, is_reading=self._is_reading)

    def describe(self) -> LimitsPart:
        """Return the limits' part of the status."""
        return LimitsPart(
            status=self.status.value,
            in_force={
                name: value for name, value in self._values.items() if value != LIMITS[name].end
            },
            outside={name: self._clock.true_utc(since) for name, since in self._since.items()},
        )

    def attempted(
        self,
        accepted: Sequence[tuple[Reading, Stamp]],
        status: SensorStatus,
        warning: SensorWarning,
    ) -> None:
        """Take note of an attempt to read the sensor: its readings, and the sensor's status."""
        self._led.repair()
        for reading, taken in accepted:
            self._judge(reading, taken, BELIEVED.get(warning, ()))
        self._is_reading = status is SensorStatus.OK and bool(BELIEVED.get(warning))
        self._report_status()

    def set_values(self, values: Values) -> None:
        """Put other limits in force."""
        self._sides, crossings = change_limits(self._sides, self._values, values)
        self._values = values
        self._act(crossings)
        self._report_status()

    def set_look(self, look: str) -> None:
        """Change what the LED does outside. A signal that is shown changes at once."""
        if look != self._look:
            self._look = look
            if self._led.choice.signal is not None:
                self._led.signal(SIGNALS[look])

    def save(self) -> None:
        """Keep what a restart must not forget: what is outside, and what the LED shows.

        Called after each change of the LED's choice, so that both are from the same moment.
        """
        self._save(self._led.choice)

    def _save(self, choice: LedChoice) -> None:
        state = None
        if self._since:
            state = {
                "outside": {name: list(astuple(since)) for name, since in self._since.items()},
                "ordered": order_to_json(choice.ordered),
                "signals": choice.signal is not None,
            }
        if state != self._kept:
            self._kept = state
            self._keep(state)

    def _judge(self, reading: Reading, taken: Stamp, believed: Sequence[Quantity]) -> None:
        measured = {quantity: getattr(reading, quantity) for quantity in believed}
        for quantity in measured:
            self._last[quantity].append(taken)
        self._sides, crossings = judge(self._sides, self._values, measured)
        self._act(crossings, measured)

    def _act(
        self, crossings: Sequence[Crossing], measured: Mapping[Quantity, float] | None = None
    ) -> None:
        for crossing in crossings:
            limit = crossing.limit
            if crossing.is_outside:
                self._since[limit.name] = self._last[limit.quantity][0]
                self._log_outside(limit, (measured or {})[limit.quantity])
            else:
                since = self._since.pop(limit.name)
                self._log_within(limit, (measured or {}).get(limit.quantity), since)
        if any(crossing.is_outside for crossing in crossings):
            self._signal(SIGNALS[self._look])
        elif crossings and not self._since:
            self._signal(None)
        elif crossings:
            self.save()

    def _signal(self, signal: Order | None) -> None:
        self._led.signal(signal)
        # Already now, because the LED's driver may hang.
        self._save(self._led.choice.with_signal(signal))

    def _report_status(self) -> None:
        if self.status is not self._reported:
            self._reported = self.status
            self._report({"limitStatus": self.status.value})

    def _log_outside(self, limit: Limit, measured: float) -> None:
        unit = UNITS[limit.quantity]
        log.warning(
            "%s since %s: %g %s is %s the limit of %g %s.",
            _words(limit).capitalize(),
            self._clock.true_utc(self._since[limit.name]),
            measured,
            unit,
            "below" if limit.is_low else "above",
            self._values[limit.name],
            unit,
            extra=LogEvent.LIMIT_CROSSED.about(LIMIT=limit.name, LIMIT_STATUS=limit.status),
        )

    def _log_within(self, limit: Limit, measured: float | None, since: Stamp) -> None:
        unit = UNITS[limit.quantity]
        log.info(
            "No longer %s: %s. It was %s since %s.",
            _words(limit),
            "the limit was removed" if measured is None else f"{measured:g} {unit}",
            _words(limit),
            self._clock.true_utc(since),
            extra=LogEvent.LIMIT_LEFT.about(LIMIT=limit.name, LIMIT_STATUS=limit.status),
        )


def outside_before(kept: Any, values: Values) -> dict[str, Stamp]:
    """Return the limits that were crossed when `kept` was, and since when.

    Whatever is not from an earlier run is left out, and so are limits that are no longer set.
    """
    found = kept.get("outside") if isinstance(kept, Mapping) else None
    outside = found if isinstance(found, Mapping) else {}
    stamps = {name: _stamp(outside.get(name)) for name in LIMITS}
    return {
        name: stamp
        for name, stamp in stamps.items()
        if stamp is not None and values[name] != LIMITS[name].end
    }


def choice_before(kept: Any, values: Values, look: str) -> LedChoice:
    """Return what the LED shows after a restart, by what was kept before it."""
    if not outside_before(kept, values):
        return LedChoice()
    signal = SIGNALS[look] if kept.get("signals") is True else None
    return LedChoice(order_from_json(kept.get("ordered")), signal)


def _stamp(value: Any) -> Stamp | None:
    match value:
        case [
            int() | float() as wall,
            int() | float() as up,
            str() as boot_id,
            bool() as known,
        ] if 0 <= wall <= LATEST and 0 <= up <= LATEST:
            return Stamp(float(wall), float(up), boot_id, known)
    return None


def _words(limit: Limit) -> str:
    return limit.status.value.replace("_", " ")
