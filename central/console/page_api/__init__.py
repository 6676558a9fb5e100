"""Paths that only the page uses, under /console/api."""

from central.console.page_api import (
    about,
    audit,
    changes,
    commands,
    comparable,
    devices,
    faults,
    live,
    messages,
    models,
    room,
    session,
)

PARTS = (
    about,
    audit,
    changes,
    commands,
    comparable,
    devices,
    faults,
    live,
    messages,
    models,
    room,
    session,
)
ROUTES = [route for part in PARTS for route in part.routes]
