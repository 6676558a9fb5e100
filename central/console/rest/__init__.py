"""The paths of IoT Central's REST interface, with its bodies and errors."""

from central.console.rest import commands, devices, properties, telemetry, templates

PARTS = (commands, devices, properties, telemetry, templates)
ROUTES = [route for part in PARTS for route in part.routes]
