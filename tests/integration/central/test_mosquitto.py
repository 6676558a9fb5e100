"""mosquitto's clients, used as Microsoft documents it for IoT Hub.

https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub
"""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from daemons import until
from mqtt_client import DESIRED, METHODS, messages_to, sas_token, telemetry_of
from optional import need_program

from central.storage import devices, telemetry

DEADLINE = 20  # Seconds for whatever is expected.
REFUSED = 5  # MQTT 3.1.1, 3.2.2.3: not authorised.


class Mosquitto:
    """The three programs, signed in as one device."""

    def __init__(self, central, device_id):
        # The first is asked for the package of all three.
        need_program("mosquitto_pub", package="mosquitto-clients")
        hub, port = central.address
        token = sas_token(f"{hub}/devices/{device_id}", central.key(device_id))
        self._signed_in = [
            *("-h", hub, "-p", str(port), "--cafile", central.info["ca_file"]),
            *("-V", "mqttv311", "-i", device_id, "-q", "1"),
            *("-u", f"{hub}/{device_id}/?api-version=2021-04-12"),
        ]
        self._password = token

    def command(self, program, *arguments, password=None):
        return [program, *self._signed_in, "-P", password or self._password, *arguments]

    def run(self, program, *arguments, **options):
        command = self.command(program, *arguments, **options)
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def publish(self, topic, body):
        assert self.run("mosquitto_pub", "-t", topic, "-m", body) == (0, "", "")

    def ask(self, topic, *body, answer):
        """Publish, and return the body of the response, whose topic is `answer`."""
        request = ("-t", topic, "-e", answer, *(("-m", *body) if body else ("-n",)))
        status, output, errors = self.run("mosquitto_rr", *request, "-W", str(DEADLINE))
        assert (status, errors) == (0, "")
        return output.strip()


@pytest.fixture
def mosquitto(central, device):
    return Mosquitto(central, device)


@pytest.fixture
def next_message(central, device, mosquitto):
    """Subscribe to a filter, and return a function that waits for the topic and the body."""
    pool = ThreadPoolExecutor(1)

    def subscribe(topic_filter):
        one = ("-t", topic_filter, "-C", "1", "-F", "%t\n%p", "-W", str(DEADLINE))
        future = pool.submit(mosquitto.run, "mosquitto_sub", *one)
        until(lambda: central.call(lambda c: _is_subscribed(c, device)))

        def wait():
            status, output, errors = future.result(DEADLINE)
            assert (status, errors) == (0, "")
            topic, _, body = output.partition("\n")
            return topic, body.strip()

        return wait

    yield subscribe
    pool.shutdown()


def _is_subscribed(central, device):
    session = central.hub.presence.session(device)
    return session is not None and bool(session._filters)


def test_mosquitto_pub_sends_telemetry_with_properties(central, device, mosquitto):
    topic = telemetry_of(device)
    mosquitto.publish(topic, "hello world")
    mosquitto.publish(f"{topic}$.ct=application%2Fjson&$.ce=utf-8&room=green%20house", '{"temp":2}')
    second, first = central.read(telemetry.messages, device)
    assert (first.body, first.properties) == (b"hello world", {})
    assert json.loads(second.body) == {"temp": 2}
    assert second.properties["room"] == "green house"
    assert second.system["content_type"] == "application/json"


def test_mosquitto_sub_receives_queued_messages(central, device, next_message):
    message = next_message(messages_to(device))
    central.call(lambda c: c.hub.queue_command(device, "turnoff", {"now": True}))
    topic, body = message()
    assert topic.startswith(f"devices/{device}/messages/devicebound/")
    assert "method-name=turnoff" in topic
    assert json.loads(body) == {"now": True}


def test_a_method_that_mosquitto_sub_prints_is_answered_with_mosquitto_pub(
    central, device, mosquitto, next_message
):
    message = next_message(METHODS)
    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(central.call, lambda c: c.hub.call(device, "blink", 3))
        topic, body = message()
        assert body == "3"
        path, _, rid = topic.partition("/?$rid=")
        assert path == "$iothub/methods/POST/blink"
        mosquitto.publish(f"$iothub/methods/res/200/?$rid={rid}", '{"ok": true}')
        command = calling.result(DEADLINE)
    assert (command.status, command.response) == (200, {"ok": True})


def test_mosquitto_rr_reads_the_twin_and_reports_properties(central, device, mosquitto):
    body = mosquitto.ask("$iothub/twin/GET/?$rid=1", answer="$iothub/twin/res/200/?$rid=1")
    assert json.loads(body) == {"desired": {"$version": 1}, "reported": {"$version": 1}}
    topic = "$iothub/twin/PATCH/properties/reported/?$rid=2"
    answer = "$iothub/twin/res/204/?$rid=2&$version=2"
    assert mosquitto.ask(topic, '{"state": true}', answer=answer) == ""
    assert central.read(devices.get_twin, device).reported == {"state": True}


def test_mosquitto_sub_receives_desired_properties(central, device, next_message):
    message = next_message(DESIRED)
    central.call(lambda c: c.hub.set_desired(device, {"brightness": 2}))
    topic, body = message()
    assert topic == "$iothub/twin/PATCH/properties/desired/?$version=2"
    # In an object, because the device has announced no model.
    assert json.loads(body) == {"brightness": {"value": 2}, "$version": 2}


def test_a_wrong_password_is_refused(central, device, mosquitto):
    wrong = sas_token(f"{central.address[0]}/devices/{device}", central.key("another"))
    sent = ("-t", telemetry_of(device), "-m", "hello world")
    status, _, errors = mosquitto.run("mosquitto_pub", *sent, password=wrong)
    assert status == REFUSED
    assert "not authorised" in errors
    assert central.read(telemetry.messages, device) == []
