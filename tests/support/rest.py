"""IoT Central's REST interface, whoever offers it, and what Azure's own needs to be told."""

import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.device.model import CELSIUS, COMPONENTS, interface

VARIABLES = {
    "AZURE_APP": "the application's address, https://NAME.azureiotcentral.com",
    "AZURE_TOKEN_FILE": "a file with an API token of the role Administrator",
    "AZURE_ID_SCOPE": "the id scope",
    "AZURE_GROUP_KEY_FILE": "a file with the primary key of the enrolment group SAS-IoT-Devices",
}
API_VERSION = "2022-07-31"
PATIENCE = 90.0  # Seconds for whatever the service takes to come true; never how long it takes.
RETRIES = 5  # Of a call that is throttled.


@dataclass(frozen=True)
class Service:
    """IoT Central's REST interface of one application, and what a device of it is told."""

    app: str
    token: str | None
    info: dict[str, str | None]
    is_azure: bool

    def call(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        """Call one path below /api and return what it answers."""
        for attempt in range(RETRIES):
            status, text = self._once(method, path, body)
            if status != 429:
                break
            time.sleep(2.0**attempt)
        assert status == expect, f"{method} {path}: {status} {text}"
        return json.loads(text) if text else None

    def status(self, method: str, path: str) -> int:
        return self._once(method, path, None)[0]

    def _once(self, method: str, path: str, body: Any) -> tuple[int, str]:
        request = urllib.request.Request(
            f"{self.app}/api/{path}?api-version={API_VERSION}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"}
            | ({} if self.token is None else {"Authorization": self.token}),
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


def wait_for(condition, what):
    """Ask until the answer is true, and return it."""
    end = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(1.0 if os.environ.get("TEST_AZURE") else 0.05)
    return answer


def from_environment():
    missing = [f"{name} ({what})" for name, what in VARIABLES.items() if not os.environ.get(name)]
    if missing:
        pytest.fail(f"To test with Azure, set {'; '.join(missing)}.", pytrace=False)
    info = {
        "id_scope": os.environ["AZURE_ID_SCOPE"],
        "mqtt_host": "global.azure-devices-provisioning.net",
        "group_key_file": str(Path(os.environ["AZURE_GROUP_KEY_FILE"]).absolute()),
        "ca_file": None,
    }
    token = Path(os.environ["AZURE_TOKEN_FILE"]).read_text().strip()
    return Service(os.environ["AZURE_APP"].rstrip("/"), token, info, is_azure=True)


def whole_model():
    """The model with its components' interfaces in it, as the REST interface wants it."""
    model = interface(CELSIUS)
    contents = [
        one | {"schema": interface(one["schema"])} if one.get("schema") in COMPONENTS else one
        for one in model["contents"]
    ]
    return model | {"contents": contents}
