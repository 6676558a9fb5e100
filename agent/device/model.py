"""The device model: what this device sends, reports and obeys, in DTDL v2.

The files under agent/device/dtmi/ follow the path rule of the Device Models Repository:
`dtmi:com:example:Thermostat;1` is `dtmi/com/example/thermostat-1.json`.
https://learn.microsoft.com/azure/iot/concepts-model-repository
"""

import json
from importlib import resources
from typing import Any

CELSIUS = "dtmi:sensoragent:EnvironmentalSensor;1"
FAHRENHEIT = "dtmi:sensoragent:EnvironmentalSensorFahrenheit;1"
DEVICE_INFORMATION = "dtmi:azure:DeviceManagement:DeviceInformation;1"


def model_id(unit: str) -> str:
    """Return the model that tells the truth about temperatures sent in `unit`."""
    return FAHRENHEIT if unit == "fahrenheit" else CELSIUS


def interface(dtmi: str) -> dict[str, Any]:
    """Return one interface as it stands in its file."""
    path = dtmi.lower().replace(":", "/").replace(";", "-") + ".json"
    text = resources.files("agent.device").joinpath(path).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def document(unit: str) -> list[dict[str, Any]]:
    """Return the model and the interface it is composed with, as IoT Central imports them."""
    return [interface(model_id(unit)), interface(DEVICE_INFORMATION)]
