"""Answers of the provisioning service, of any shape, with a fake SDK."""

import asyncio
import json
import logging
from contextlib import suppress

import pytest
from azure.iot.device import exceptions as azure_exceptions
from fuzzing import fuzz
from hypothesis import strategies as st
from strategies import json_values

from agent.cloud import registration
from agent.cloud.registration import register
from agent.cloud.sdk import CloudAccess
from agent.config.credentials import Credentials
from agent.config.loader import CloudConfig
from agent.errors import CloudError, RegistrationError
from agent.storage.assignment import Assignment

ACCESS = CloudAccess(
    cloud=CloudConfig(id_scope="0ne00000000", provisioning_host="dps.test"),
    credentials=Credentials(key="a2V5"),
    device_id="pi-1",
    model_id="dtmi:test;1",
)
FAILURE = azure_exceptions.ClientError("Unexpected failure")


class State:
    def __init__(self, hub, device_id):
        self.assigned_hub = hub
        self.device_id = device_id


class FakeClient:
    """The SDK's client: logs an answer, and then returns a result or fails."""

    _pipeline = None

    def __init__(self, result, *, status=200, body=b"{}"):
        self.result = result
        self.line = f"Received payload:{body} on topic:$dps/registrations/res/{status}/?$rid=1"

    async def register(self):
        logger = registration._LoggedAnswer.LOGGER
        logger.handle(logging.makeLogRecord({"msg": self.line, "levelno": logging.DEBUG}))
        if isinstance(self.result, Exception):
            raise self.result
        return self

    @property
    def registration_state(self):
        return self.result


@pytest.fixture(scope="module")
def registering():
    """Register with a client: `registering(client)`. One event loop serves all tests."""
    clients: list[FakeClient] = []

    async def build(_make):
        return clients[-1]

    async def within(_deadline, _what, call):
        return await call

    async def close_registration(_client):
        pass

    with pytest.MonkeyPatch.context() as context, asyncio.Runner() as runner:
        for function in (build, within, close_registration):
            context.setattr(registration, function.__name__, function)

        def run(client):
            clients[:] = [client]
            return runner.run(register(ACCESS))

        yield run


def test_an_assignment_is_returned(registering):
    client = FakeClient(State("hub.test", "pi-1"))
    assert registering(client) == Assignment("hub.test", "pi-1")


@pytest.mark.parametrize(
    "state",
    [
        None,
        7,
        State(None, None),
        State("hub.test", None),
        State("hub.test", "p" * 100_000),
        State("hub.test", "pi/1"),
        State("not a host", "pi-1"),
        State("hub.test:8883", "pi-1"),
        State("h" * 100_000, "pi-1"),
        State(["hub.test"], {"deviceId": "pi-1"}),
    ],
)
def test_an_answer_without_a_usable_hub_is_an_error_with_the_reason(registering, state):
    with pytest.raises(RegistrationError, match="its answer is not an assignment") as caught:
        registering(FakeClient(state))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("hub", "quoted"), [("", '""'), ("a b", '"a b"'), (None, "null")])
def test_a_hub_that_is_not_a_host_name_is_quoted(registering, hub, quoted):
    with pytest.raises(RegistrationError, match=f"its hub is {quoted}, which is not a host name"):
        registering(FakeClient(State(hub, "pi-1")))


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            401,
            b'{"errorCode":401002,"message":"Unauthorized"}',
            "401002 Unauthorized. Check that the key",
        ),
        (503, b"Service Unavailable", "status 503. The service itself failed"),
        (200, b'{"status":"disabled","registrationState":null}', "the device is disabled. Check"),
        (200, b'{"status":"failed","registrationState":{"errorMessage":"no"}}', "is failed no."),
        (400, b'{"registrationState":["errorCode"]}', "status 400."),
        (400, b'{"registrationState":"errorCode"}', "status 400."),
        (400, b'{"registrationState":7,"errorCode":{"a":1}}', "status 400."),
        (400, b"[" * 100_000, "status 400."),
        (400, b"\xff", "status 400."),
        (400, b"null", "status 400."),
    ],
)
def test_the_services_answer_is_named(registering, status, body, words):
    with pytest.raises(RegistrationError) as caught:
        registering(FakeClient(FAILURE, status=status, body=body))
    assert words in str(caught.value)


@fuzz(
    result=st.builds(State, json_values, json_values) | st.builds(lambda: FAILURE) | json_values,
    status=st.integers(100, 599),
    body=st.one_of(
        st.binary(max_size=200),
        json_values.map(lambda value: json.dumps(value).encode()),
        st.dictionaries(
            st.sampled_from(["status", "registrationState", "errorCode", "message"]), json_values
        ).map(lambda value: json.dumps(value).encode()),
    ),
)
def test_any_answer_is_an_assignment_or_an_error(registering, result, status, body):
    with suppress(CloudError):
        registering(FakeClient(result, status=status, body=body))
