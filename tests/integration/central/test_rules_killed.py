"""Central is killed between a reading, its alert and the webhook: one alert, which is delivered."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from centrals import CentralProcess, running_central
from daemons import until
from mqtt_client import MqttClient

from central.records import Rule, Threshold
from central.storage import rules

HOT = Threshold("temp", above=True, limit=30.0, margin=0.0, seconds=0.0)


@contextmanager
def receiver():
    """Receive webhook messages; none is answered before `answers` is set."""
    received: list[tuple[str, dict[str, Any]]] = []
    answers = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append((self.headers["webhook-id"], body))
            answers.wait(30)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", received, answers
        finally:
            answers.set()
            server.shutdown()
            thread.join()


def send(process, *values):
    with MqttClient(process) as client:
        client.connect_as(process, "pi-1")
        for number, value in enumerate(values, 1):
            body = b'{"temp": %d}' % value
            client.publish("devices/pi-1/messages/events/", body, packet_id=number)
            assert client.receive(4).packet_id == number


@pytest.mark.parametrize("pause", [0.0, 0.25, 0.5, None])
def test_an_alert_is_made_once_and_delivered_although_central_is_killed(tmp_path, pause):
    """It is killed so long after it has the reading; None: after the receiver has the message."""
    with receiver() as (url, received, answers):
        with running_central(tmp_path, mqtt_port=0) as central:
            central.call(lambda c: c.registry.add_device("pi-1"))
            new = Rule(0, 0, "Too warm", True, 0.0, HOT, webhook=url)
            central.call(lambda c: c.store.call(rules.add_rule, new))
            central.call(lambda c: c.alerts.changed())
        with CentralProcess(tmp_path, "--local-webhooks") as process:
            send(process.start(), 31)
            if pause is None:
                until(lambda: received)
            else:
                time.sleep(pause)
            process.kill()
            before = len(received)
            answers.set()
            send(process.start(), 32)
            until(lambda: len(received) > before)
            process.kill()
            send(process.start(), 33, 20)
            until(lambda: any(body["type"] == "alert.returned" for _, body in received))
        with running_central(tmp_path, mqtt_port=0) as central:
            (alert,) = central.read(rules.alerts)
    assert alert.value == 31
    assert {(message_id, body["type"]) for message_id, body in received} == {
        ("alert-1", "alert.fired"),
        ("alert-2", "alert.returned"),
    }
