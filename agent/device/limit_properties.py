"""The limits as writable properties: the operator's, in place of the configuration's."""

from collections.abc import Mapping
from typing import Any

from agent.device.limits import Values, accept, in_force, in_unit
from agent.device.validation import RefusedError


class LimitProperties:
    """The limits of one device.

    `file` are the configuration's, `operator` those that the operator has set: both in degrees
    Celsius and percent, whatever `unit` (`celsius` or `fahrenheit`) the properties have.
    """

    def __init__(self, *, file: Values, operator: Values, unit: str) -> None:
        self.file = file
        self.operator = operator
        self._unit = unit

    @property
    def in_force(self) -> Values:
        """The limits in force, in degrees Celsius and percent."""
        return in_force(self.file, self.operator)

    def shown(self) -> dict[str, float]:
        """Return the limits in force as properties."""
        return {name: in_unit(name, value, self._unit) for name, value in self.in_force.items()}

    def change(self, desired: Mapping[str, Any]) -> Mapping[str, RefusedError]:
        """Accept desired limits, of which None removes one. Return those that are refused."""
        kept = {
            name: value
            for name, value in self.operator.items()
            if name not in desired or desired[name] is not None
        }
        wanted = {name: value for name, value in desired.items() if value is not None}
        self.operator, refused = accept(wanted, kept, self.file, self._unit)
        return refused

    def is_contradicted(self, name: str) -> bool:
        """Return whether a limit of the configuration contradicts one of the operator's."""
        return name not in self.operator and self.in_force[name] != self.file[name]
