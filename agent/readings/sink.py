"""Where readings and reported properties go: to a hub, or to the terminal."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Never, Protocol

from agent.config.loader import Config
from agent.device.limits import Values
from agent.device.units import temperature_text
from agent.errors import ControlError
from agent.readings.clock import Stamp, utc
from agent.status import CloudPart, PlacePart, Status
from hw import Reading


class Sink(Protocol):
    """Takes the readings and the reported properties of a daemon."""

    @property
    def set_by_operator(self) -> Mapping[str, Any]:
        """The writable properties that the operator has set."""
        ...

    @property
    def limits_by_operator(self) -> Values:
        """The limits that the operator has set, in degrees Celsius and percent."""
        ...

    @property
    def waiting(self) -> int:
        """Number of readings that are not delivered yet."""
        ...

    async def add(self, reading: Reading, taken: Stamp) -> None:
        """Take a reading. When this returns, a power cut does not lose it."""
        ...

    def apply(self, config: Config) -> None:
        """Take over the settings of a changed configuration that apply while the daemon runs."""
        ...

    def report(self, properties: Mapping[str, Any]) -> None:
        """Report properties, now or as soon as there is a connection."""
        ...

    async def keep(self, name: str, value: Any) -> None:
        """Keep a value (of JSON's types) over a restart. None deletes it."""
        ...

    async def kept(self, name: str) -> Any:
        """Return the value that was kept under this name, or None."""
        ...

    async def run(self) -> None:
        """Deliver readings and reports until cancelled."""
        ...

    async def farewell(self, properties: Mapping[str, Any]) -> None:
        """Report the last properties of a daemon that stops, and wait for their delivery."""
        ...

    def cloud_status(self) -> CloudPart | None:
        """Return the status of the connection; None without a cloud."""
        ...

    async def describe(self, status: Status) -> Status:
        """Return `status` with the parts that the sink knows."""
        ...

    async def last_hub(self) -> str | None:
        """Return the hub that this device was last assigned to, if any."""
        ...

    async def undo_move(self) -> PlacePart:
        """Undo the last move to another ID scope. Raises ControlError if there is none."""
        ...


class PrintingSink:
    """The sink without a cloud: prints readings, with temperatures in `unit`, and keeps nothing.

    `changed` is set when the daemon's status may have changed.
    """

    def __init__(
        self, show: Callable[[str], None], changed: asyncio.Event, *, unit: str = "celsius"
    ) -> None:
        self.set_by_operator: Mapping[str, Any] = {}
        self.limits_by_operator: Values = {}
        self.waiting = 0
        self._show = show
        self._changed = changed
        self._unit = unit

    async def add(self, reading: Reading, taken: Stamp) -> None:
        temperature = temperature_text(reading.temperature, self._unit)
        self._show(f"{utc(taken.wall)}  {temperature:>9}  {reading.humidity:5.1f} %")
        self._changed.set()

    def apply(self, _config: Config) -> None:
        return

    def report(self, _properties: Mapping[str, Any]) -> None:
        self._changed.set()

    async def keep(self, _name: str, _value: Any) -> None:
        return

    async def kept(self, _name: str) -> None:
        return None

    async def run(self) -> None:
        return

    async def farewell(self, _properties: Mapping[str, Any]) -> None:
        return

    def cloud_status(self) -> None:
        return None

    async def describe(self, status: Status) -> Status:
        return status

    async def last_hub(self) -> None:
        return None

    async def undo_move(self) -> Never:
        raise ControlError("There is no move to undo: the daemon has no cloud.")
