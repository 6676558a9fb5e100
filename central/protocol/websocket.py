"""MQTT over websockets: unwrap and wrap the bytes of MQTT.

https://learn.microsoft.com/azure/iot-hub/iot-hub-mqtt-support (port 443)
"""

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

PATH = "/$iothub/websocket"
SUBPROTOCOL = "mqtt"
BEGINS = b"GET "  # A connection of MQTT itself begins otherwise.
UNACCEPTABLE = 1003  # RFC 6455, section 7.4.1: a type of data that is not accepted.


class WebSocket:
    """The server's side of one connection. It does no input or output."""

    def __init__(self) -> None:
        self._protocol = WSConnection(ConnectionType.SERVER)
        self.ended = False
        self._opened = False

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the MQTT in the received bytes (at least one), and the bytes to send back."""
        mqtt = answer = b""
        try:
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                content, reply = self._handle(event)
                mqtt, answer = mqtt + content, answer + reply
        except ProtocolError:
            self.ended = True
        return mqtt, answer

    def _handle(self, event: Event) -> tuple[bytes, bytes]:
        match event:
            case Request():
                return b"", self._open(event)
            case BytesMessage(data=content):
                return bytes(content), b""
            case TextMessage():
                return b"", self._close(CloseConnection(code=UNACCEPTABLE))
            case Ping():
                return b"", self._protocol.send(event.response())
            case CloseConnection():
                return b"", self._close(event.response())
        return b"", b""

    def frame(self, mqtt: bytes) -> bytes:
        """Return the frame with this MQTT; nothing if the connection is not open."""
        if self.ended or not self._opened:
            return b""
        return self._protocol.send(BytesMessage(data=mqtt))

    def _open(self, request: Request) -> bytes:
        if request.target.partition("?")[0] != PATH or SUBPROTOCOL not in request.subprotocols:
            self.ended = True
            return self._protocol.send(RejectConnection(status_code=404))
        self._opened = True
        return self._protocol.send(AcceptConnection(subprotocol=SUBPROTOCOL))

    def _close(self, farewell: CloseConnection) -> bytes:
        self.ended = True
        return self._protocol.send(farewell)
