"""Paths that only the page uses, under /console/api."""

from central.console.page_api import (
    about,
    commands,
    devices,
    faults,
    live,
    messages,
    models,
    room,
)

PARTS = (about, commands, devices, faults, live, messages, models, room)
ROUTES = [route for part in PARTS for route in part.routes]
