"""The alerts of the rules, for the page."""

import sqlite3
from http import HTTPStatus
from typing import Any

from aiohttp import web

from central.console.responses import (
    CENTRAL,
    answer,
    bad_request,
    look_up,
    maybe_iso,
    query_number,
    read_object,
)
from central.console.routes import Routes
from central.console.sign_in.gate import identify
from central.console.sign_in.roles import Permission
from central.records import Alert, Delivery, iso
from central.storage import deliveries, devices, rules
from central.storage.rules import condition_body

routes = Routes()

SHOWN = 100  # Alerts in one response.
MOST_ACKNOWLEDGED = 1000  # At once.
LARGEST_NUMBER = 2**53


@routes.on("GET", "/console/api/alerts", needs=Permission.VIEW)
async def list_alerts(request: web.Request) -> web.Response:
    """Return alerts, the newest first, and how many are unacknowledged in all.

    With `?unacknowledged`, only those. `before` continues a list with the alerts below a number.
    """
    before = query_number(request, "before", LARGEST_NUMBER, least=0, most=LARGEST_NUMBER)
    acknowledged = False if "unacknowledged" in request.query else None
    return answer(await look_up(request, _list, int(before), acknowledged=acknowledged))


@routes.on("GET", "/console/api/alerts/count", needs=Permission.VIEW)
async def count_alerts(request: web.Request) -> web.Response:
    """Return how many alerts are unacknowledged."""
    return answer({"unacknowledged": await look_up(request, rules.unacknowledged)})


@routes.on("POST", "/console/api/alerts/acknowledge", needs=Permission.OPERATE)
async def acknowledge(request: web.Request) -> web.Response:
    """Acknowledge the alerts with the `numbers` in the body."""
    numbers = (await read_object(request)).get("numbers")
    if (
        not isinstance(numbers, list)
        or len(numbers) > MOST_ACKNOWLEDGED
        or not all(type(each) is int and 0 <= each < LARGEST_NUMBER for each in numbers)
    ):
        raise bad_request(f"numbers must be a list of at most {MOST_ACKNOWLEDGED} alert numbers.")
    identity = await identify(request)
    central = request.app[CENTRAL]
    now = central.settings.clock()
    await central.store.run(rules.acknowledge, numbers, who=identity.name, now=now)
    central.alerts.changed()
    return web.Response(status=HTTPStatus.NO_CONTENT)


def _list(db: sqlite3.Connection, before: int, *, acknowledged: bool | None) -> dict[str, Any]:
    found = rules.alerts(db, acknowledged=acknowledged, before=before, limit=SHOWN)
    sent: dict[int, list[Delivery]] = {}
    if found:
        for delivery in deliveries.of_alerts(db, found[-1].number, found[0].number):
            sent.setdefault(delivery.alert, []).append(delivery)
    models = devices.templates_of(db, {alert.device_id for alert in found})
    return {
        "value": [
            _body(alert, models.get(alert.device_id), sent.get(alert.number, [])) for alert in found
        ],
        "more": len(found) == SHOWN,
        "unacknowledged": rules.unacknowledged(db),
    }


def _body(alert: Alert, template: str | None, sent: list[Delivery]) -> dict[str, Any]:
    return {
        "number": alert.number,
        "rule": {"number": alert.rule, "name": alert.rule_name},
        "device": {"id": alert.device_id, "name": alert.device_name, "template": template},
        "condition": condition_body(alert.condition),
        "value": alert.value,
        "fired": iso(alert.fired),
        "recorded": iso(alert.recorded),
        "returned": maybe_iso(alert.returned),
        "acknowledged": maybe_iso(alert.acknowledged),
        "acknowledgedBy": alert.acknowledged_by,
        "webhook": [delivery_body(delivery) for delivery in sent],
    }


def delivery_body(delivery: Delivery) -> dict[str, Any]:
    """Return a message to a webhook. `next` is when it is tried again, or null."""
    return {
        "event": delivery.event,
        "attempts": delivery.attempts,
        "next": maybe_iso(delivery.due),
        "outcome": delivery.outcome,
    }
