"""The paths of IoT Central's REST interface, with its bodies and errors."""

from central.console.rest import commands, devices, properties, templates

ROUTES = [*commands.routes, *devices.routes, *properties.routes, *templates.routes]
