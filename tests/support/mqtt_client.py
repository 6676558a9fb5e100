"""A small blocking MQTT client that sends raw bytes, so that it can also violate the protocol."""

import json
import select
import socket
import ssl
import struct
import time
import uuid
from dataclasses import dataclass
from urllib.parse import quote

from central.protocol import sas

RESPONSES = "$dps/registrations/res/#"
METHODS = "$iothub/methods/POST/#"
TWIN = "$iothub/twin/res/#"
TWIN_REPORT = "$iothub/twin/PATCH/properties/reported/?$rid=7"
DESIRED = "$iothub/twin/PATCH/properties/desired/#"
DEADLINE = 20.0  # Seconds for whatever is expected.


@dataclass(frozen=True)
class Received:
    """A packet from the server."""

    kind: int
    flags: int
    content: bytes

    @property
    def topic(self):
        length = int.from_bytes(self.content[:2])
        return self.content[2 : 2 + length].decode()

    @property
    def body(self):
        start = 2 + int.from_bytes(self.content[:2])
        return self.content[start + 2 :] if self.flags & 0x06 else self.content[start:]

    @property
    def packet_id(self):
        """The packet id of an acknowledgement, or of a PUBLISH with quality of service 1."""
        start = 2 + int.from_bytes(self.content[:2]) if self.kind == 3 else 0
        return int.from_bytes(self.content[start : start + 2])

    @property
    def duplicate(self):
        return bool(self.flags & 0x08)


def messages_to(device):
    return f"devices/{device}/messages/devicebound/#"


def telemetry_of(device):
    return f"devices/{device}/messages/events/"


class MqttClient:
    """A TLS connection to a central, and packets over it."""

    def __init__(self, central, *, server_name=None, source=None):
        context = ssl.create_default_context(cadata=central.ca)
        plain = socket.create_connection(
            central.address, timeout=DEADLINE, source_address=source and (source, 0)
        )
        host = server_name or central.info["mqtt_host"]
        self._socket = context.wrap_socket(plain, server_hostname=host)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._socket.close()

    def finish(self):
        """Close this side's stream, and read the server's to its end."""
        self._socket.shutdown(socket.SHUT_WR)
        while self._socket.recv(4096):
            pass

    def send(self, data):
        self._socket.sendall(data)

    def connect(
        self, client_id, username, password, *, clean_session=False, keep_alive=60, will=None
    ):
        """Send CONNECT and return (session present, code)."""
        flags = 0xC0 | (0x02 if clean_session else 0) | (0x04 if will else 0)
        content = string("MQTT") + struct.pack("!BBH", 4, flags, keep_alive) + string(client_id)
        if will:
            content += string(will[0]) + string(will[1])
        self.send(packet(0x10, content + string(username) + string(password)))
        answer = self.receive(2)
        return bool(answer.content[0]), answer.content[1]

    def connect_as(self, central, device_id, *, key=None, model=None, ttl=3600, **options):
        """Connect to the hub as this device."""
        key = key or central.key(device_id)
        username = f"a.hub/{device_id}/?api-version=2020-09-30"
        if model:
            username += f"&model-id={quote(model, safe='')}"
        token = sas_token(f"a.hub/devices/{device_id}", key, ttl=ttl)
        return self.connect(device_id, username, token, **options)

    def subscribe(self, *filters, qos=1):
        """Subscribe, and return the granted qualities of service."""
        content = b"\0\7" + b"".join(string(f) + bytes([qos]) for f in filters)
        self.send(packet(0x82, content))
        return list(self.receive(9).content[2:])

    def publish(self, topic, body=b"", *, packet_id=1, flags=0x02):
        """Publish; with quality of service 1 unless `flags` differ."""
        identifier = struct.pack("!H", packet_id) if flags & 0x06 else b""
        self.send(packet(0x30 | flags, string(topic) + identifier + body))

    def acknowledge(self, packet_id):
        self.send(b"\x40\x02" + struct.pack("!H", packet_id))

    def disconnect(self):
        self.send(b"\xe0\x00")

    def receive(self, kind=None):
        """Return the next packet; fail if none comes, or one of another kind than the given."""
        first = self._read(1)[0]
        length = shift = 0
        while True:
            byte = self._read(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        received = Received(first >> 4, first & 0x0F, self._read(length))
        assert kind in {None, received.kind}, received
        return received

    def has_received(self, seconds):
        """Return whether there is something to receive, waiting up to `seconds` for it."""
        return bool(self._socket.pending() or select.select([self._socket], [], [], seconds)[0])

    def is_closed_by_server(self):
        """Return whether the server closes the connection, without sending anything before."""
        try:
            return self._socket.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def is_silent(self):
        """Return whether the server sends only the answer to a ping."""
        self.send(b"\xc0\x00")
        return self.receive().kind == 13

    def _read(self, count):
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise EOFError("the server closed the connection")
            data += more
        return data


class Registering:
    """A client of the provisioning service, for single steps of a registration."""

    def __init__(self, central, device, *, scope=None, key=None, ttl=3600, server_name=None):
        self.mqtt = MqttClient(central, server_name=server_name)
        self._device = device
        scope = scope or central.info["id_scope"]
        resource = f"{scope}/registrations/{device}"
        token = sas_token(resource, key or central.key(device), ttl=ttl) + "&skn=registration"
        self.connack = self.mqtt.connect(device, f"{resource}/api-version=2019-03-31", token)
        if self.connack[1] == 0:
            assert self.mqtt.subscribe(RESPONSES) == [1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.mqtt.close()

    def ask(self, path, body):
        rid = str(uuid.uuid4())
        self.mqtt.publish(path.replace("RID", rid), body)
        answer = self.mqtt.receive(3)
        assert self.mqtt.receive(4)
        prefix, _, query = answer.topic.partition("/?")
        assert query.split("&")[0] == f"$rid={rid}"
        return int(prefix.rpartition("/")[2]), query, json.loads(answer.body)

    def put(self, payload=None, *, body=None):
        request = {"registrationId": self._device, "payload": payload}
        text = json.dumps(request).encode() if body is None else body
        return self.ask("$dps/registrations/PUT/iotdps-register/?$rid=RID", text)

    def get(self, operation_id):
        path = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=RID&operationId="
        return self.ask(path + operation_id, b" ")

    def register(self, payload=None):
        status, query, body = self.put(payload)
        assert (status, body["status"]) == (202, "assigning")
        assert query.endswith("&retry-after=3")
        status, _, body = self.get(body["operationId"])
        assert status == 200
        return body


def string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("!H", len(data)) + data


def packet(first, content):
    length, encoded = len(content), b""
    while True:
        length, low = divmod(length, 128)
        encoded += bytes([low | (0x80 if length else 0)])
        if not length:
            return bytes([first]) + encoded + content


def sas_token(resource, key, *, ttl=3600, now=None):
    """Return a SAS token in the form that the SDK makes."""
    expiry = int((time.time() if now is None else now) + ttl)
    resource = quote(resource, safe="")
    signature = quote(sas.derive_device_key(key, f"{resource}\n{expiry}"), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"
