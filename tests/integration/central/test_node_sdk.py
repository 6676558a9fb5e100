"""Microsoft's device SDK for Node.js, a second implementation of the protocol."""

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


def test_it_registers_sends_answers_and_syncs_its_twin(central):
    with node_device(central, "node-1") as device:
        registered = device.next("registered")
        assert registered == {"assignedHub": central.info["mqtt_host"], "deviceId": "node-1"}
        assert device.next("desired")["desired"] == {"$version": 1}  # What the twin has at first.
        device.next("ready")

        (message,) = central.read(telemetry.messages, "node-1")
        assert json.loads(message.body) == {"temp": 21.5, "humid": 45}
        assert message.system["message_id"] == "node:1"
        assert message.created == 1767323045.678
        assert central.read(devices.get, "node-1").template == MODEL

        command = central.call(lambda c: c.hub.call("node-1", "blink", 3))
        assert (command.status, command.response) == (200, {"description": "Blinking every 3 s"})
        assert device.next("method") == {"payload": 3}

        central.call(lambda c: c.hub.set_desired("node-1", {"brightness": 2}))
        assert device.next("desired")["desired"] == {"brightness": 2, "$version": 2}
        assert device.next("reported") == {"error": None}
        reported = central.read(devices.get_twin, "node-1").reported
        assert reported["brightness"] == {"value": 2, "ac": 200, "av": 2, "ad": "completed"}

        central.call(lambda c: c.hub.queue_command("node-1", "turnoff", None))
        assert device.next("message") == {"name": "turnoff", "body": "@"}

        device.close()
        device.next("closed")
        assert device.process.returncode == 0
    until(lambda: not central.call(lambda c: c.hub.presence.session("node-1")))
