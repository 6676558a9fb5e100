"""The device model in DTDL v2: telemetry, properties and commands.

The paths under agent/device/dtmi/ are those of the Device Models Repository:
`dtmi:com:example:Thermostat;1` is `dtmi/com/example/thermostat-1.json`. Source:
https://learn.microsoft.com/azure/iot/concepts-model-repository
"""

import json
from pathlib import Path
from typing import Any

CELSIUS = "dtmi:sensoragent:EnvironmentalSensor;2"
FAHRENHEIT = "dtmi:sensoragent:EnvironmentalSensorFahrenheit;2"
MIGRATION = "dtmi:azureiot:DeviceMigration;1"
DEVICE_INFORMATION = "dtmi:azure:DeviceManagement:DeviceInformation;1"
COMPONENTS = (DEVICE_INFORMATION, MIGRATION)  # The interfaces of the model's components.


def model_id(unit: str) -> str:
    """Return the id of the model for temperatures in `unit`: `celsius` or `fahrenheit`."""
    return FAHRENHEIT if unit == "fahrenheit" else CELSIUS


def interface(dtmi: str) -> dict[str, Any]:
    """Return the interface with this id."""
    path = Path(__file__).parent / (dtmi.lower().replace(":", "/").replace(";", "-") + ".json")
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def document(unit: str) -> list[dict[str, Any]]:
    """Return the model and the interfaces of its components, in the form IoT Central imports."""
    return [interface(dtmi) for dtmi in (model_id(unit), *COMPONENTS)]
