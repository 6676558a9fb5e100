"""The MQTT client that the SDK uses: paho's, of version 1.6 or 2, with what it lacks.

The SDK creates `paho.mqtt.client.Client`. Importing this module replaces that class.
"""

import importlib
import logging
import os
import socket
import ssl
import threading
from contextlib import suppress
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import paho.mqtt.client
from paho.mqtt.client import MQTT_ERR_KEEPALIVE, MQTT_ERR_PROTOCOL, MQTT_ERR_SUCCESS
from paho.mqtt.client import Client as _Paho

from agent.cloud.sdk_import import missing, report_missing

log = logging.getLogger(__name__)

PAHO = "paho.mqtt.client.Client"
MAX_IN_FLIGHT = 100  # Messages. The publisher limits readings to fewer.
MAX_PACKET = 1_000_000  # Bytes. IoT Hub sends at most a method's 128 KB.
TCP_DEADLINE = 15.0  # Seconds for each address of a host: Linux sends SYN four times in 15 s.
TLS_DEADLINE = 45.0  # Seconds. With a round trip of 3 s and 3 KB/s, the handshake takes 8 s.
ROUND_TRIP = 15.0  # Seconds for the answer to a ping, also behind 32 KB at 3 KB/s.
LOOKS_PER_SILENCE = 6  # Looks of paho at a silent connection in keep_alive.
PINGS_BY_PAHO = "an answer that takes longer than keep_alive ends the connection"
OPENS_BY_PAHO = "a proxy that never finishes its answer blocks the SDK"
NOT_PUBLIC = {
    "_sock_recv": "some lost connections are noticed late, and packets of any size are received",
    "_sock_send": "some lost connections are noticed late",
    "_loop_rc_handle": "a packet that is not MQTT ends the connection late",
    "_send_pingreq": PINGS_BY_PAHO,
    "_create_socket_connection": OPENS_BY_PAHO,
    "_get_proxy": OPENS_BY_PAHO,
}


class _TlsSocket(ssl.SSLSocket):
    """A TLS connection with a deadline for its handshake, and for that of websockets.

    paho sets keep_alive (1.6) or 5 s (2) as its timeout, and no timeout once it is connected.
    """

    def settimeout(self, seconds: float | None) -> None:
        with _lock:
            _sockets[self.context].add(self)
        super().settimeout(TLS_DEADLINE if seconds else seconds)


_sockets: WeakKeyDictionary[ssl.SSLContext, WeakSet[socket.socket]] = WeakKeyDictionary()
_lock = threading.Lock()
clients: WeakSet["PahoClient"] = WeakSet()


class ClientEndedError(Exception):
    """The client has ended. Not an OSError, after which the SDK would try again for ever."""


# misc: paho 1.6 has no types.
class PahoClient(_Paho):  # type: ignore[misc]
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
        if not hasattr(self, "_connect_timeout"):
            report_missing(f"{PAHO}._connect_timeout", "each step of TCP and proxies may take 5 s")
        self._connect_timeout = TCP_DEADLINE
        self._has_all_names = all(hasattr(_Paho, name) for name in NOT_PUBLIC)
        self._server = ("", 0)
        self._sockets: WeakSet[socket.socket] = WeakSet()  # Each one from its creation.
        self._has_ended = False
        self._longest_silence = 0.0  # Seconds, as keep_alive.
        self._looks_every = 1.0  # Seconds.
        self._sent = self._received = self._pinged = 0.0  # Monotonic time.
        with _lock:
            clients.add(self)

    def end(self) -> None:
        """End the connection at once, so that nothing in the SDK waits for it. Open no other one.

        The SDK's timers do not end with its client, and would connect again.
        """
        with _lock:  # paho's thread may be adding one.
            self._has_ended = True
            ours = list(self._sockets)
        for each in ours:
            with suppress(OSError):  # It has ended, or is not connected yet.
                # Not the method of a TLS socket, which would continue without encryption.
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def tls_set_context(self, context: ssl.SSLContext | None = None) -> None:
        """Use a context for TLS, with our deadline for handshakes.

        A certificate needs a subject alternative name. Otherwise Python accepts one if its common
        name fits, against RFC 6125.
        """
        if context is not None:
            context.sslsocket_class = _TlsSocket
            context.hostname_checks_common_name = False
            _sockets[context] = self._sockets
        super().tls_set_context(context)

    def connect(self, host: str, port: int, keepalive: int, **options: Any) -> Any:
        """Connect to a server, and send something at least every `keepalive` seconds.

        The server gets a longer time: it closes connections that are silent for 1.5 times as
        long, and over a slow line nothing can follow CONNECT sooner than a round trip. Raises
        ClientEndedError after `end`.
        """
        if self._has_ended:
            raise ClientEndedError
        self._longest_silence = keepalive
        self._server = host, port
        self._looks_every = keepalive / LOOKS_PER_SILENCE
        return super().connect(host, port, max(keepalive, int(ROUND_TRIP)), **options)

    def _create_socket_connection(self) -> Any:
        """Return a TCP connection to the server, through the proxy if there is one.

        paho's own method keeps the socket to itself until the proxy has answered, which it need
        not do in any time. TCP itself ends after TCP_DEADLINE.
        """
        if not hasattr(self, "_get_proxy"):
            return super()._create_socket_connection()
        proxy = self._get_proxy()
        host, port = self._server if proxy is None else (proxy["proxy_addr"], proxy["proxy_port"])
        failure = OSError(f"{host} has no address")
        for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            connection = self._new_socket(*found[:3], proxy=proxy)
            try:
                connection.connect(found[4] if proxy is None else self._server)
            except OSError as error:
                connection.close()
                failure = error
            else:
                return connection
        raise failure

    def _new_socket(
        self, family: int, kind: int, protocol: int, *, proxy: dict[str, Any] | None
    ) -> Any:
        """Return a socket that `end` knows, and that connects through `proxy`."""
        new: Any
        if proxy is None:
            new = socket.socket(family, kind, protocol)
        else:
            # The SDK's own dependency, which has no type information.
            new = importlib.import_module("socks").socksocket(family, kind, protocol)
            names = ("type", "addr", "port", "rdns", "username", "password")
            given = {"proxy_rdns": True, **proxy}
            new.set_proxy(*(given.get(f"proxy_{name}") for name in names))
        new.settimeout(TCP_DEADLINE)
        with _lock:
            if self._has_ended:
                new.close()
                raise ClientEndedError
            self._sockets.add(new)
        return new

    def loop_misc(self) -> Any:
        """Send a ping if the connection is silent, or end it if it is dead. paho calls this.

        paho's own method ends a connection on which CONNACK or the answer to a ping takes longer
        than keep_alive. Here the connection is dead if nothing arrives for keep_alive and then
        nothing answers a ping in the same time again, or in ROUND_TRIP if that is longer. Pings
        are sent whether the one before is answered or not: the server also has a limit.
        """
        if not self._has_all_names:
            return super().loop_misc()
        if not self.is_connected():
            return MQTT_ERR_SUCCESS  # The session has a deadline for connecting.
        now, silence = monotonic(), self._longest_silence
        if now - self._received >= silence + max(silence, ROUND_TRIP):
            return self._loop_rc_handle(MQTT_ERR_KEEPALIVE)
        if now - max(self._pinged, min(self._sent, self._received)) >= silence - self._looks_every:
            self._pinged = now
            return self._send_pingreq()
        return MQTT_ERR_SUCCESS

    def _sock_recv(self, size: int) -> Any:
        if size > MAX_PACKET:
            raise ValueError(f"A packet has {size} bytes.")
        try:
            data = super()._sock_recv(size)
        except OSError as error:
            raise _as_noticed(error) from error
        self._received = monotonic()
        return data

    def _sock_send(self, data: bytes) -> Any:
        try:
            count = super()._sock_send(data)
        except OSError as error:
            raise _as_noticed(error) from error
        self._sent = monotonic()
        return count

    def loop_forever(self, *arguments: Any, **options: Any) -> Any:
        """Run until the connection ends, in paho's thread.

        paho wakes up each second to see whether a ping is due. Here it wakes up when it has
        something to send or to receive, and otherwise as rarely as pings allow.

        A packet that is not MQTT, or a topic that is not UTF-8, raises an error in paho. The thread
        would end without a callback, and the SDK would wait until a message is not acknowledged.
        """
        try:
            if self._has_all_names:
                options.setdefault("timeout", self._looks_every)
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
    (RFC 1122 section 4.2.3.2). Without this the connection works, too, so an error does not end it.
    """
    try:
        if isinstance(connection, socket.socket):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return
        # With websockets it is paho's wrapper, which has the file descriptor only.
        with socket.socket(fileno=os.dup(connection.fileno())) as same:
            same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        log.debug("A connection may send packets with a delay: %s", error)


missing |= {
    f"{PAHO}.{name}": consequence
    for name, consequence in NOT_PUBLIC.items()
    if not hasattr(_Paho, name)
}
paho.mqtt.client.Client = PahoClient
