"""The MQTT client that the SDK uses: paho's, of version 1.6 or 2, with what it lacks.

The SDK creates `paho.mqtt.client.Client`. Importing this module replaces that class.
"""

import logging
import os
import socket
from typing import Any

import paho.mqtt.client
from paho.mqtt.client import MQTT_ERR_PROTOCOL  # paho is a dependency of the SDK.

from agent.cloud.sdk_import import missing

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 100  # Messages. The publisher limits readings to fewer.
MAX_PACKET = 1_000_000  # Bytes. IoT Hub sends at most a method's 128 KB.
NOT_PUBLIC = {
    "_sock_recv": "some lost connections are noticed late, and packets of any size are received",
    "_sock_send": "some lost connections are noticed late",
    "_loop_rc_handle": "a packet that is not MQTT ends the connection late",
}


# misc: paho 1.6 has no types.
class PahoClient(paho.mqtt.client.Client):  # type: ignore[misc]
    """paho's client, with our options, which notices each end of a connection.

    The names in NOT_PUBLIC may change in any version of paho. A version without one of them never
    calls our method of that name.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Otherwise paho connects again by itself after CONNACK 1, and the SDK does not notice.
        super().__init__(*arguments, reconnect_on_failure=False, **options)
        # paho waits when 20 messages are in flight. The answer to a command would wait for as many
        # readings.
        self.max_inflight_messages_set(MAX_IN_FLIGHT)
        self.on_socket_open = _send_without_delay

    def tls_set_context(self, context: Any = None) -> None:
        """Set the TLS context, which then refuses certificates without a subject alternative name.

        Otherwise Python accepts one if its common name fits, against RFC 6125.
        """
        if context is not None:
            context.hostname_checks_common_name = False
        super().tls_set_context(context)

    def _sock_recv(self, size: int) -> Any:
        if size > MAX_PACKET:
            raise ValueError(f"A packet has {size} bytes.")
        try:
            return super()._sock_recv(size)
        except OSError as error:
            raise _as_noticed(error) from error

    def _sock_send(self, data: bytes) -> Any:
        try:
            return super()._sock_send(data)
        except OSError as error:
            raise _as_noticed(error) from error

    def loop_forever(self, *arguments: Any, **options: Any) -> Any:
        """Run until the connection ends, in paho's thread.

        A packet that is not MQTT, or a topic that is not UTF-8, raises an error in paho. The thread
        would end without a callback, and the SDK would wait until a message is not acknowledged.
        """
        try:
            return super().loop_forever(*arguments, **options)
        except Exception as error:  # Whatever such a packet makes paho raise.
            if not hasattr(self, "_loop_rc_handle"):
                raise
            log.debug("The MQTT client ended with %s: %s", type(error).__name__, error)
            return self._loop_rc_handle(MQTT_ERR_PROTOCOL)


def _as_noticed(error: OSError) -> OSError:
    """Return the error that paho handles as the end of the connection.

    paho handles ConnectionError only. "No route to host", "timed out" and a TLS connection that
    ends early end its thread without a callback, and the SDK waits for ever.
    """
    if isinstance(error, BlockingIOError | ConnectionError):
        return error
    return ConnectionAbortedError(*error.args)


def _send_without_delay(_client: Any, _userdata: Any, connection: Any) -> None:
    """Send each packet without waiting for an acknowledgement.

    Nagle's algorithm (RFC 896) waits for one from TCP, which a server may delay by 40 ms and more
    (RFC 1122 section 4.2.3.2).
    """
    # With websockets the connection is paho's wrapper, which has the file descriptor only.
    with socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


missing |= {
    f"paho.mqtt.client.Client.{name}": consequence
    for name, consequence in NOT_PUBLIC.items()
    if not hasattr(paho.mqtt.client.Client, name)
}
paho.mqtt.client.Client = PahoClient
