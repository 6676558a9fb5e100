"""Paths that only the page uses, under /console/api."""

from central.console.page_api import (
    about,
    alerts,
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
    rules,
    session,
)

PARTS = (
    about,
    alerts,
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
    rules,
    session,
)
ROUTES = [route for part in PARTS for route in part.routes]
