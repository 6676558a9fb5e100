"""Rules for the page: list, add, change and delete them, and try their webhooks."""

import re
import sqlite3
from http import HTTPStatus
from typing import Any

from aiohttp import web

from central.console.page_api.alerts import delivery_body
from central.console.responses import (
    CENTRAL,
    answer,
    bad_request,
    checked_number,
    look_up,
    not_found,
    read_object,
)
from central.console.routes import Routes
from central.console.sign_in.gate import identify
from central.console.sign_in.roles import Permission
from central.records import (
    DEVICE_ID,
    Condition,
    MissingReadings,
    PropertyValue,
    Rule,
    Silence,
    Threshold,
)
from central.rules.actions import LONGEST_URL, check_url, secret_of
from central.storage import deliveries, rules
from central.storage.rules import condition_body

routes = Routes()

PATH = "/console/api/rules"
LONGEST_NAME = 100  # Characters.
LONGEST_TEXT = 256
MOST_RULES = 200
MOST_VALUES = 50
MOST_DEVICES = 1000
MOST_TAGS = 50
MOST_TEMPLATES = 100
DAY = 86_400
LARGEST = 1e12  # Of a limit.
LEAST_SILENCE = 30  # Seconds: silence is checked every few seconds.


@routes.on("GET", PATH, needs=Permission.VIEW)
async def list_rules(request: web.Request) -> web.Response:
    """Return all rules. The URL of a webhook may be a secret: only administrators see it whole."""
    may = (await identify(request)).may
    return answer({"value": await look_up(request, _list, sees_urls=Permission.ADMINISTER in may)})


@routes.on("POST", PATH, needs=Permission.ADMINISTER)
async def add_rule(request: web.Request) -> web.Response:
    """Add a rule."""
    rule = await _read_rule(request, 0)
    added = await request.app[CENTRAL].store.run(_add, rule)
    request.app[CENTRAL].alerts.changed()
    return answer({"number": added.number}, status=HTTPStatus.CREATED)


@routes.on("PUT", PATH + "/{rule}", needs=Permission.ADMINISTER)
async def change_rule(request: web.Request) -> web.Response:
    """Replace a rule. Its open alerts end if it judges in another way than before."""
    rule = await _read_rule(request, _number(request))
    await request.app[CENTRAL].store.run(rules.change_rule, rule)
    request.app[CENTRAL].alerts.changed()
    return answer({"number": rule.number})


@routes.on("DELETE", PATH + "/{rule}", needs=Permission.ADMINISTER)
async def delete_rule(request: web.Request) -> web.Response:
    """Delete a rule. Its alerts stay in the history."""
    central = request.app[CENTRAL]
    await central.store.run(rules.delete_rule, _number(request), central.settings.clock())
    central.alerts.changed()
    return web.Response(status=HTTPStatus.NO_CONTENT)


@routes.on("POST", "/console/api/webhook-test", needs=Permission.ADMINISTER)
async def try_webhook(request: web.Request) -> web.Response:
    """Send a test message to the `url` in the body, and return what became of it."""
    url = (await read_object(request)).get("url")
    if not isinstance(url, str):
        raise bad_request("url must be a text.")
    check_url(url)
    return answer({"outcome": await request.app[CENTRAL].webhooks.test(url)})


@routes.on("GET", "/console/api/webhook-secret", needs=Permission.ADMINISTER)
async def get_secret(request: web.Request) -> web.Response:
    """Return the secret with which webhook messages are signed."""
    key = await request.app[CENTRAL].store.run(deliveries.signing_key)
    return answer({"secret": secret_of(key)})


def _list(db: sqlite3.Connection, *, sees_urls: bool) -> list[dict[str, Any]]:
    return [_body(db, rule, sees_urls=sees_urls) for rule in rules.all_rules(db)]


def _body(db: sqlite3.Connection, rule: Rule, *, sees_urls: bool) -> dict[str, Any]:
    newest = None if rule.webhook is None else deliveries.newest_of_url(db, rule.webhook)
    return {
        "number": rule.number,
        "name": rule.name,
        "enabled": rule.enabled,
        "condition": condition_body(rule.condition),
        "tags": rule.tags,
        "devices": rule.devices,
        "webhook": rule.webhook if sees_urls else None,
        "hasWebhook": rule.webhook is not None,
        "delivery": None if newest is None else delivery_body(newest),
    }


def _add(db: sqlite3.Connection, rule: Rule) -> Rule:
    if len(rules.all_rules(db)) >= MOST_RULES:
        raise bad_request(f"There are {MOST_RULES} rules already, which is the limit.")
    return rules.add_rule(db, rule)


def _number(request: web.Request) -> int:
    text = request.match_info["rule"]
    if not re.fullmatch("[0-9]{1,15}", text):
        raise not_found(f"There is no rule {text[:40]!r}.")
    return int(text)


# Checks of what the page sends


async def _read_rule(request: web.Request, number: int) -> Rule:
    body = await read_object(request)
    name = _text(body, "name", LONGEST_NAME)
    enabled = body.get("enabled", True)
    if not isinstance(enabled, bool):
        raise bad_request("enabled must be true or false.")
    condition = body.get("condition")
    if not isinstance(condition, dict):
        raise bad_request("condition must be a JSON object.")
    webhook = body.get("webhook")
    if webhook is not None:
        check_url(_text(body, "webhook", LONGEST_URL))
    devices = _texts(body, "devices", MOST_DEVICES)
    if not all(DEVICE_ID.fullmatch(each) for each in devices):
        raise bad_request("devices must be a list of device ids.")
    return Rule(
        number=number,
        revision=0,  # The database counts.
        name=name,
        enabled=enabled,
        since=request.app[CENTRAL].settings.clock(),
        condition=_condition(condition),
        tags=_texts(body, "tags", MOST_TAGS),
        devices=devices,
        webhook=webhook,
    )


def _condition(body: dict[str, Any]) -> Condition:
    match body.get("kind"):
        case "telemetry":
            return Threshold(
                telemetry=_text(body, "telemetry", LONGEST_TEXT),
                above=_flag(body, "above"),
                limit=checked_number(body.get("limit"), "limit", least=-LARGEST, most=LARGEST),
                margin=checked_number(body.get("margin", 0), "margin", least=0, most=LARGEST),
                seconds=_seconds(body, least=0, most=DAY),
                templates=_texts(body, "templates", MOST_TEMPLATES),
            )
        case "silence":
            return Silence(_seconds(body, least=LEAST_SILENCE, most=30 * DAY))
        case "property":
            return PropertyValue(
                property=_text(body, "property", LONGEST_TEXT),
                values=_values(body),
                negated=_flag(body, "negated"),
                seconds=_seconds(body, least=0, most=DAY),
            )
        case "missing":
            count = checked_number(body.get("count"), "count", least=1, most=1_000_000)
            return MissingReadings(int(count), _seconds(body, least=0, most=30 * DAY))
    raise bad_request("The kind of a condition is telemetry, silence, property or missing.")


def _seconds(body: dict[str, Any], *, least: float, most: float) -> float:
    return checked_number(body.get("seconds"), "seconds", least=least, most=most)


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if not isinstance(value, bool):
        raise bad_request(f"{name} must be true or false.")
    return value


def _text(body: dict[str, Any], name: str, longest: int) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= longest:
        raise bad_request(f"{name} must be a text of 1 to {longest} characters.")
    return value.strip()


def _texts(body: dict[str, Any], name: str, most: int) -> tuple[str, ...]:
    value = body.get(name, [])
    if (
        not isinstance(value, list)
        or len(value) > most
        or not all(isinstance(each, str) and 1 <= len(each) <= LONGEST_TEXT for each in value)
    ):
        raise bad_request(f"{name} must be a list of at most {most} texts.")
    return tuple(value)


def _values(body: dict[str, Any]) -> tuple[str | float | bool, ...]:
    values = body.get("values")
    if (
        not isinstance(values, list)
        or not 1 <= len(values) <= MOST_VALUES
        or not all(isinstance(each, str | float | int) for each in values)
        or not all(len(str(each)) <= LONGEST_TEXT for each in values)
    ):
        raise bad_request(f"values must be a list of 1 to {MOST_VALUES} texts or numbers.")
    return tuple(values)
