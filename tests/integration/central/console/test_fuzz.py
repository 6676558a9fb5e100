"""Random requests to the console over HTTP."""

import http.client
import json
from urllib.parse import quote, urlencode

import pytest
from centrals import running_central
from consoles import INFORMATION, MODEL, MODEL_ID
from fuzzing import fuzz
from hypothesis import strategies as st

from central.console.rest.lists import LIST_QUERY

IDS = ["pi-1", "pi-2", "no"]
NAMES = ["temp", "brightness", "name", "information", "limit", "blink", "cellar*temp"]
KEYS = [
    *("displayName", "template", "enabled", "simulated", "capabilityModel", "contents", "@id"),
    *(
        "@type",
        "schema",
        "extends",
        "organizations",
        "etag",
        "request",
        "seconds",
        "value",
        "__t",
        "devices",
        "properties",
        "addTags",
        "tags",
        *NAMES,
    ),
]
PATHS = [
    "/api/devices",
    "/api/devices/{id}",
    "/api/devices/{id}/credentials",
    "/api/devices/{id}/properties",
    "/api/devices/{id}/components",
    "/api/devices/{id}/components/{name}/properties",
    "/api/devices/{id}/components/{name}/telemetry/{name}",
    "/api/devices/{id}/commands/{name}",
    "/api/devices/{id}/components/{name}/commands/{name}",
    "/api/devices/{id}/telemetry/{name}",
    "/api/devices/{id}/attestation",
    "/api/deviceTemplates",
    "/api/deviceTemplates/{dtmi}",
    "/console/api/central",
    "/console/api/changes",
    "/console/api/devices",
    "/console/api/devices/{id}",
    "/console/api/devices/{id}/model",
    "/console/api/devices/{id}/messages",
    "/console/api/devices/{id}/series",
    "/console/api/devices/{id}/completeness",
    "/console/api/devices/{id}/export",
    "/console/api/devices/{id}/commands",
    "/console/api/devices/{id}/connections",
    "/console/api/devices/{id}/audit",
    "/console/api/session",
    "/console/api/devices/{id}/queue/{name}",
    "/console/api/faults",
    "/console/api/faults/slow",
    "/console/api/faults/{name}",
    "/console/api/models",
    "/console/api/room",
    "/{name}",
]
# Any text without lone surrogates, which no URL can have.
texts = st.text(st.characters(codec="utf-8"), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from(NAMES),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            texts | st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
bodies = st.none() | st.binary(max_size=60) | json_values.map(lambda v: json.dumps(v).encode())
queries = st.dictionaries(
    texts
    | st.sampled_from(["limit", "since", "until", "name", "format", "column", *LIST_QUERY])
    | st.sampled_from(["state", "tag", "search", "sort", "offset", "property"]),
    texts | st.sampled_from(["csv", "jsonl", "1", "-1", "1e99", "nan", "id ge 'p'", "displayName"]),
    max_size=3,
)


@st.composite
def paths(draw):
    path = draw(st.sampled_from(PATHS))
    while "{" in path:
        for place, known in [("{id}", IDS), ("{name}", NAMES), ("{dtmi}", [MODEL_ID, "dtmi:a;1"])]:
            part = draw(st.sampled_from(known) | texts)
            path = path.replace(place, quote(part, safe=""), 1)
    return f"{path}?{urlencode(draw(queries))}"


@pytest.fixture(scope="module")
def central(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fuzz")
    with running_central(directory, mqtt_port=0, templates=(MODEL, INFORMATION)) as central:
        central.call(lambda c: c.registry.add_device("pi-1", template=MODEL_ID))
        yield central


class Client:
    """A connection to the console, reopened after the console closed it."""

    def __init__(self, central):
        self._address = central.info["http"].removeprefix("http://").rstrip("/")
        self._connection = http.client.HTTPConnection(self._address, timeout=30)

    def ask(self, method, path, body):
        headers = {"Content-Type": "application/json"}
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.headers, response.read()

    def close(self):
        self._connection.close()


@pytest.fixture(scope="module")
def client(central):
    client = Client(central)
    yield client
    client.close()


@fuzz(method=st.sampled_from(["GET", "PUT", "PATCH", "POST", "DELETE"]), path=paths(), body=bodies)
def test_any_request_gets_a_valid_response(central, client, method, path, body):
    status, headers, content = client.ask(method, path, body)
    assert status < 500, (status, content)
    if status >= 400:
        assert json.loads(content)["error"].keys() == {"code", "message", "requestId", "time"}
    elif headers.get_content_type() == "application/json":
        json.loads(content, parse_constant=pytest.fail)


def listed(client, path):
    """Return the things on all pages of a list."""
    found, link = [], f"{path}?maxpagesize=100"
    while link:
        status, _, content = client.ask("GET", link, None)
        assert status == 200
        page = json.loads(content)
        found += page["value"]
        link = page.get("nextLink")
    return found


def test_fields_keep_their_limits(central, client):
    """After all of these requests, the console still responds."""
    assert all(len(device["displayName"]) <= 256 for device in listed(client, "/api/devices"))
    assert all(len(each["@id"]) <= 128 for each in listed(client, "/api/deviceTemplates"))
