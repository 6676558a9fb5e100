"""Choose what the LED shows: the operator's last order, or the signal of a crossed limit. Pure."""

from dataclasses import dataclass, replace
from typing import Any

from agent.ranges import BLINK_PERIOD
from hw import LedState

SIGNAL_PERIOD = 1.0  # Seconds, of a blinking signal.


@dataclass(frozen=True, slots=True)
class Order:
    """Off, on, or blinking once every `period` seconds."""

    state: LedState
    period: float = 0.0


OFF, ON = Order(LedState.OFF), Order(LedState.ON)
SILENT = Order(LedState.OFF, period=-1.0)  # A signal that leaves the LED as it is.

SIGNALS = {
    "blink": Order(LedState.BLINKING, SIGNAL_PERIOD),
    "on": ON,
    "none": SILENT,
}
"""The signal for each value of `led` in [limits]."""


@dataclass(frozen=True, slots=True)
class LedChoice:
    """The operator's last order, and a signal that takes its place.

    `ordered` is the operator's last order. `signal` is shown in its place from the crossing of a
    limit until the readings return, or until the operator's next order.
    """

    ordered: Order = OFF
    signal: Order | None = None

    @property
    def shown(self) -> Order:
        """The signal if there is one, otherwise the order."""
        return self.ordered if self.signal is None or not self.is_signalling else self.signal

    @property
    def is_signalling(self) -> bool:
        """Whether the LED shows a signal instead of the order."""
        return self.signal not in {None, SILENT}

    def after_order(self, order: Order) -> "LedChoice":
        """Return the choice after an order of the operator, which ends a signal."""
        return LedChoice(order)

    def with_signal(self, signal: Order | None) -> "LedChoice":
        """Return the choice with another signal, or with None."""
        return replace(self, signal=signal)


def order_to_json(order: Order) -> dict[str, Any]:
    """Return an order as JSON's types."""
    return {"state": order.state.value, "period": order.period}


def order_from_json(value: Any) -> Order:
    """Return a stored order; OFF if the value is not one."""
    match value:
        case {"state": LedState.ON}:
            return ON
        case {"state": LedState.BLINKING, "period": int() | float() as period} if (
            BLINK_PERIOD.low <= period <= BLINK_PERIOD.high
        ):
            return Order(LedState.BLINKING, float(period))
    return OFF
