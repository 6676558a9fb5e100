"""Microsoft's device SDK for Node.js, a second implementation of the protocol."""

import itertools
import json
import os
import queue
import subprocess
import threading
from contextlib import contextmanager
from typing import Any

import pytest
from daemons import until
from optional import NODE, need_from_npm

from central.storage import devices, telemetry

DEADLINE = 60.0  # Seconds for whatever is expected.
numbers = itertools.count(1)
MODEL = "dtmi:test:Climate;1"


class NodeDevice:
    """The program device.js, and the lines that it writes."""

    def __init__(self, central, device_id):
        environment = os.environ | {
            "CENTRAL_HOST": central.info["mqtt_host"],
            "CENTRAL_ID_SCOPE": central.info["id_scope"],
            "DEVICE_ID": device_id,
            "DEVICE_KEY": central.key(device_id),
            "MODEL_ID": MODEL,
            "NODE_EXTRA_CA_CERTS": central.info["ca_file"],
        }
        self.id = device_id
        self.process = subprocess.Popen(
            ["node", "device.js"],
            cwd=NODE,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.stdout:
            self._events.put(json.loads(line))
        self._events.put({"event": "ended"})

    def next(self, kind):
        """Wait for an event of this kind, which must be the next one."""
        event = self._events.get(timeout=DEADLINE)
        assert event.pop("event") == kind, event
        return event

    def send(self, body):
        """Make the device send a message, and wait until the hub has acknowledged it."""
        print(json.dumps(body), file=self.stdin, flush=True)
        self.next("sent")

    def close(self):
        self.stdin.close()
        self.process.wait(DEADLINE)


@contextmanager
def node_device(central, device_id):
    device = NodeDevice(central, device_id)
    try:
        yield device
    finally:
        if device.process.poll() is None:
            device.process.kill()
            device.process.wait()
        device._reader.join(DEADLINE)
        device.stdout.close()
        device.stdin.close()


@pytest.fixture(autouse=True)
def packages():
    need_from_npm("azure-iot-device", "azure-iot-device-mqtt", "azure-iot-provisioning-device-mqtt")


@pytest.fixture
def device(central):
    """A device that has registered and connected."""
    device_id = f"node-{next(numbers)}"
    with node_device(central, device_id) as device:
        registered = device.next("registered")
        assert registered == {"assignedHub": central.info["mqtt_host"], "deviceId": device_id}
        assert device.next("desired")["desired"] == {"$version": 1}  # What the twin has at first.
        device.next("ready")
        yield device


def blink(central, device):
    command = central.call(lambda c: c.hub.call(device.id, "blink", 3))
    assert (command.status, command.response) == (200, {"description": "Blinking every 3 s"})
    assert device.next("method") == {"payload": 3}


def set_brightness(central, device, value):
    central.call(lambda c: c.hub.set_desired(device.id, {"brightness": value}))
    desired = device.next("desired")["desired"]
    assert desired["brightness"] == value
    assert device.next("reported") == {"error": None}
    reported = central.read(devices.get_twin, device.id).reported
    version = desired["$version"]
    assert reported["brightness"] == {"value": value, "ac": 200, "av": version, "ad": "completed"}


def test_it_registers_sends_answers_and_syncs_its_twin(central, device):
    assert central.read(devices.get, device.id).template == MODEL
    device.send({"temp": 21.5, "humid": 45})
    (message,) = central.read(telemetry.messages, device.id)
    assert json.loads(message.body) == {"temp": 21.5, "humid": 45}
    assert message.properties["room"] == "green house/1 & 2"
    assert message.system["message_id"] == "node:1"
    assert message.system["content_type"] == "application/json"
    assert message.created == 1767323045.678

    blink(central, device)
    set_brightness(central, device, 2)

    central.call(lambda c: c.hub.queue_command(device.id, "turnoff", None))
    assert device.next("message") == {"name": "turnoff", "body": "@"}

    device.close()
    device.next("closed")
    assert device.process.returncode == 0
    until(lambda: not central.call(lambda c: c.hub.presence.session(device.id)))


def test_after_a_cut_connection_it_connects_again_and_continues(central, device):
    first = central.call(lambda c: c.hub.presence.connected_since(device.id))
    assert central.call(lambda c: c.hub.presence.disconnect(device.id, "cut by the test"))
    # What is sent and set meanwhile arrives, too.
    device.send({"temp": 22.5})
    until(lambda: (central.call(lambda c: c.hub.presence.connected_since(device.id)) or 0) > first)
    assert [json.loads(each.body) for each in central.read(telemetry.messages, device.id)] == [
        {"temp": 22.5}
    ]
    blink(central, device)
    set_brightness(central, device, 3)
