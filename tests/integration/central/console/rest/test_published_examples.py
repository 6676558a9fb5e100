"""The published examples of IoT Central's REST interface, request by request.

From the specification (Azure/azure-rest-api-specs, specification/iotcentral/data-plane, the files
named in the table) and from "How to manage devices / device templates / control devices with the
REST API" on learn.microsoft.com.
"""

from typing import Any

import pytest
from consoles import ask, refused
from signed_in import console_token

STABLE, PREVIEW = "2022-07-31", "2022-10-31-preview"
TEMPLATE = "dtmi:contoso:testDeviceTemplate;1"
MADE_BY_CENTRAL = "dtmi:modelDefinition:spzeut3n:n2lteu39u6"
ORGANIZATIONS = {"organizations": ["seattle"]}
THERMOSTAT = {"displayName": "CheckoutThermostat", "simulated": True, "enabled": True}

MODEL: dict[str, Any] = {
    "@id": "dtmi:contoso:testCapabilityModel;1",
    "@type": "Interface",
    "displayName": "Test Capability Model",
    "contents": [
        {
            "@id": "dtmi:contoso:testCapabilityModel:settings;1",
            "@type": "Component",
            "displayName": "Settings",
            "name": "settings",
            "schema": {
                "@id": "dtmi:contoso:settings;1",
                "@type": "Interface",
                "displayName": "Settings",
                "contents": [
                    {
                        "@type": ["Property", "Initialized"],
                        "displayName": "Fan speed",
                        "name": name,
                        "schema": "double",
                        "writable": True,
                        "initialValue": "100",
                    }
                    for name in ("fanSpeed", "voltage", "current", "irSwitch")
                ],
            },
        },
        {"@type": ["Telemetry", "Humidity"], "name": "humidity", "schema": "double"},
        {"@type": ["Property", "Cloud"], "name": "status", "schema": "integer"},
    ],
    "extends": [
        {
            "@id": "dtmi:contoso:testInterface;1",
            "@type": "Interface",
            "contents": [
                {
                    "@type": ["Telemetry", "Event", "EventValue"],
                    "name": "testEvent",
                    "schema": "integer",
                    "severity": "warning",
                },
                {
                    "@type": "Command",
                    "commandType": "synchronous",
                    "name": "testCommand",
                    "request": {"name": "testRequest", "schema": "double"},
                },
            ],
        }
    ],
}
DEFINITION = {
    "@type": ["ModelDefinition", "DeviceModel"],
    "displayName": "Test Contoso Definition",
    "capabilityModel": MODEL,
}
EDGE = {**DEFINITION, "@type": ["ModelDefinition", "DeviceModel", "EdgeModel"]}

# File or page; method, path, version, body; status, part of the answer.
EXAMPLES: list[tuple[str, str, str, str, Any, int, Any]] = [
    (
        "devicetemplates_create",
        *("PUT", f"deviceTemplates/{TEMPLATE}", STABLE, DEFINITION),
        *(200, {**DEFINITION, "@id": TEMPLATE}),
    ),
    ("devicetemplates_get", "GET", f"deviceTemplates/{TEMPLATE}", STABLE, None, 200, DEFINITION),
    (
        "devicetemplates_update",
        *("PATCH", f"deviceTemplates/{TEMPLATE}", "1.1-preview", EDGE, 200, EDGE),
    ),
    (
        "the page on templates: an id of IoT Central's own making",
        *("PUT", f"deviceTemplates/{MADE_BY_CENTRAL}", STABLE),
        {**DEFINITION, "@context": ["dtmi:iotcentral:context;2", "dtmi:dtdl:context;2"]},
        *(200, {"@id": MADE_BY_CENTRAL, "capabilityModel": MODEL}),
    ),
    (
        "devicetemplates_list",
        *("GET", "deviceTemplates?filter='@id' eq 'dtmi:contoso:testDeviceTemplate;1'", PREVIEW),
        *(None, 200, {"value": [EDGE]}),
    ),
    (
        "the page on templates: filter and page size",
        *("GET", "deviceTemplates?filter=contains(displayName, 'CONTOSO')&maxpagesize=2", PREVIEW),
        *(None, 200, {"value": [{"@id": TEMPLATE}, {"@id": MADE_BY_CENTRAL}]}),
    ),
    (
        "the page on templates: and",
        *("GET", "deviceTemplates?filter='@id' eq 'x' or displayName ge 'Test'", PREVIEW),
        *(None, 200, {"value": [{"@id": TEMPLATE}, {"@id": MADE_BY_CENTRAL}]}),
    ),
    ("devices_create", "PUT", "devices/Checkout2", "1.0", THERMOSTAT, 200, THERMOSTAT),
    (
        "devices_create",
        *("PUT", "devices/ccc", "1.1-preview"),
        {**THERMOSTAT, "displayName": "CheckoutThermostatccc", "template": TEMPLATE}
        | ORGANIZATIONS,
        200,
        {"id": "ccc", "template": TEMPLATE, "provisioned": False} | ORGANIZATIONS,
    ),
    ("devices_get", "GET", "devices/ccc", STABLE, None, 200, {"id": "ccc"} | ORGANIZATIONS),
    (
        "devices_list",
        *("GET", "devices", PREVIEW, None, 200),
        {"value": [{"id": "Checkout2"}, {"id": "ccc"} | ORGANIZATIONS]},
    ),
    (
        "the page on devices: filter",
        *("GET", "devices?$filter=id eq 'ccc' and scopes eq 'seattle'", "1.1-preview"),
        *(None, 200, {"value": [{"id": "ccc"}]}),
    ),
    (
        "the page on devices: not equal",
        *("GET", "devices?$filter=Enabled ne true", "1.2-preview", None, 200, {"value": []}),
    ),
    (
        "the page on devices: order",
        *("GET", "devices?orderby=displayName desc", PREVIEW, None, 200),
        {"value": [{"id": "ccc"}, {"id": "Checkout2"}]},
    ),
    (
        "devices_update",
        *("PATCH", "devices/ccc", STABLE, {"displayName": "CheckoutThermostat5"}, 200),
        {"displayName": "CheckoutThermostat5"} | ORGANIZATIONS,
    ),
    (
        "devicecredentials_get",
        *("GET", "devices/ccc/credentials", PREVIEW, None, 200, {"symmetricKey": {}}),
    ),
    (
        "devices_components_get",
        *("GET", "devices/ccc/components", STABLE, None, 200),
        {"value": [{"name": "settings", "displayName": "Settings"}]},
    ),
    (
        "devices_properties_components_set",
        *("PATCH", "devices/ccc/components/settings/properties", "1.1-preview"),
        {"fanSpeed": 35, "voltage": 5, "current": 2, "irSwitch": True},
        202,
        {"$metadata": {"fanSpeed": {"desiredValue": 35}, "irSwitch": {"desiredValue": True}}},
    ),
    (
        "devices_properties_update",
        *("PATCH", "devices/ccc/properties", PREVIEW, {"settings": {"fanSpeed": 30}}, 202),
        {"settings": {"$metadata": {"fanSpeed": {"desiredValue": 30}}}},
    ),
    (
        "devices_properties_get",
        *("GET", "devices/ccc/properties", STABLE, None, 200),
        {"settings": {"$metadata": {"fanSpeed": {"desiredValue": 30, "desiredVersion": 3}}}},
    ),
    (
        "devices_commands_send, of a device that is offline",
        *("POST", "devices/ccc/commands/testCommand", PREVIEW, {"request": 30}, 404),
        {"error": {"code": "NotFound"}},
    ),
    (
        "devices_commandshistory_get",
        *("GET", "devices/ccc/commands/testCommand", STABLE, None, 200),
        {"value": [{"request": 30, "responseCode": 404}]},
    ),
    (
        "devices_telemetry_get, before any",
        *("GET", "devices/ccc/telemetry/humidity", STABLE, None, 404),
        {"error": {"code": "NotFound"}},
    ),
    ("devices_delete", "DELETE", "devices/ccc", STABLE, None, 204, None),
    ("devicetemplates_delete", "DELETE", f"deviceTemplates/{TEMPLATE}", STABLE, None, 204, None),
    *(
        (name, "GET", path, STABLE, None, 404, {"error": {"code": "NotFound"}})
        for name, path in [
            ("devices_attestations_get", "devices/Checkout2/attestation"),
            ("devices_modules_get", "devices/Checkout2/modules"),
            ("devices_relationships_list", "devices/Checkout2/relationships"),
            ("devicegroups_list", "deviceGroups"),
            ("organizations_list", "organizations"),
            ("users_list", "users"),
            ("roles_list", "roles"),
            ("apitoken_list", "apiTokens"),
            ("jobs_list", "jobs"),
            ("scheduledjobs_list", "scheduledJobs"),
            ("enrollmentgroups_list", "enrollmentGroups"),
            ("fileUpload_get", "fileUploads"),
        ]
    ),
    (
        "query_run",
        *("POST", "query", PREVIEW, {"query": "SELECT $ts FROM dtmi:a:B;1"}, 404),
        {"error": {"code": "NotFound"}},
    ),
]


def has(found, expected):
    """Return whether everything expected is in what was found, in the same place."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return all(name in found and has(found[name], part) for name, part in expected.items())
    if isinstance(expected, list) and isinstance(found, list):
        return len(found) == len(expected) and all(map(has, found, expected))
    return found == expected and type(found) is type(expected)


async def test_the_examples_in_their_order(http, central):
    for title, method, path, version, body, status, expected in EXAMPLES:
        plain, _, query = path.partition("?")
        parameters = dict(part.split("=", 1) for part in query.split("&") if part)
        answer = await ask(
            http,
            *(method, f"/api/{plain}", body),
            expect=status,
            params={"api-version": version, **parameters},
            headers=console_token(central),
        )
        assert has(answer, expected), (title, answer)


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "word"),
    [
        (
            "GET",
            "devices?api-version=3.0",
            None,
            "UnsupportedApiVersionValue",
            "2022-10-31-preview",
        ),
        ("GET", "devices?api-version=", None, "UnsupportedApiVersionValue", "1.0"),
        ("GET", "devices?api-version=1.0&api-version=1.0", None, "InvalidQuery", "more than once"),
        ("GET", "devices?expand=properties", None, "InvalidQuery", "expand"),
        ("GET", "devices?$select=id", None, "InvalidQuery", "maxpagesize"),
        ("GET", "devices?filter=colour eq 'red'", None, "InvalidQuery", "colour"),
        ("GET", "devices/pi-1?filter=id eq 'x'", None, "InvalidQuery", "filter"),
        ("DELETE", "devices/pi-1?force=true", None, "InvalidQuery", "force"),
        ("DELETE", "devices/pi-1", {"really": True}, "InvalidBody", "no body"),
        ("GET", "devices", {"filter": "id eq 'x'"}, "InvalidBody", "no body"),
        ("PATCH", "devices/pi-1", {"type": ["Gateway"]}, "InvalidBody", "type"),
        ("PATCH", "devices/pi-1", {"provisioned": True}, "InvalidBody", "read-only"),
        ("PATCH", "devices/pi-1", {"etag": 5}, "InvalidBody", "etag"),
        ("PUT", "devices/pi-1", {"organizations": "seattle"}, "InvalidBody", "organizations"),
        ("PUT", "devices/pi-1", {"organizations": ["a", "a"]}, "InvalidBody", "once"),
        ("PUT", "devices/pi-1", {"organizations": ["a b"]}, "InvalidBody", "a b"),
        ("POST", "devices/pi-1/commands/blink", {"timeout": 5}, "InvalidBody", "timeout"),
        ("PATCH", "devices/pi-1/properties?replace=1", {"a": 1}, "InvalidQuery", "replace"),
        ("PATCH", "devices/pi-1/properties", {"a.b": 1}, "InvalidBody", "a.b"),
        ("PATCH", "devices/pi-1/properties", {"a": {"b c": 1}}, "InvalidBody", "b c"),
        ("PATCH", "devices/pi-1/properties", {"a\x01": 1}, "InvalidBody", "a\\x01"),
        ("PATCH", "devices/pi-1/properties", {"a": "x" * 4097}, "InvalidBody", "4096"),
        ("PATCH", "devices/pi-1/properties", {"a": ["x" * 4000] * 9}, "InvalidBody", "32768"),
        ("PATCH", "devices/pi-1/properties", {"a": 2**52}, "InvalidBody", "2^52"),
    ],
)
async def test_what_is_not_offered_is_refused(http, central, method, path, body, code, word):
    central.registry.add_device("pi-1")
    error = await refused(http, method, f"/api/{path}", body, expect=400)
    assert error["code"] == code
    assert word in error["message"]
    assert await ask(http, "GET", "/api/devices/pi-1/properties") == {"$metadata": {}}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "devices"),
        ("GET", "devices/pi-1"),
        ("PATCH", "devices/pi-1/properties"),
        ("POST", "devices/pi-1/commands/blink"),
    ],
)
async def test_conditions_are_refused_where_they_are_not_checked(http, central, method, path):
    central.registry.add_device("pi-1")
    for header in ("If-Match", "If-None-Match"):
        body: Any = None if method == "GET" else {}
        headers = {header: '"x"'}
        error = await refused(http, method, f"/api/{path}", body, headers=headers, expect=400)
        assert error["code"] == "InvalidHeader"
