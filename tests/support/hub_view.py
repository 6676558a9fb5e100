"""One device as its operator sees it, at the hub of central."""

from typing import Any

from centrals import RunningCentral

from central.storage import devices, telemetry


class Hub:
    """The operator's view of one device."""

    def __init__(self, central: RunningCentral, device_id: str) -> None:
        self.central = central
        self.device_id = device_id

    def messages(self) -> list[Any]:
        """Return what arrived from the device, oldest first."""
        return self.central.read(telemetry.messages, self.device_id, limit=100_000)[::-1]

    def ids(self) -> list[Any]:
        return [message.system["message_id"] for message in self.messages()]

    def reported(self) -> Any:
        return self.central.read(devices.get_twin, self.device_id).reported

    def call(self, name: str, payload: Any = None) -> Any:
        return self.central.call(lambda central: central.hub.call(self.device_id, name, payload))

    def set(self, **desired: Any) -> None:
        self.central.call(lambda central: central.hub.set_desired(self.device_id, desired))

    def fault(self, name: str, value: Any) -> None:
        self.central.call(lambda central: setattr(central.faults, name, value))
