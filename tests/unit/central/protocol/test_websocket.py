"""MQTT in websockets, from pieces of any size and any bytes."""

import struct
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from central.protocol.websocket import PATH, WebSocket

HANDSHAKE = (
    f"GET {PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: mqtt\r\n\r\n"
).encode()
BINARY, TEXT, CLOSE, PING = 2, 1, 8, 9


def frame(payload, *, kind=BINARY, last=True, mask=b"\1\2\3\4"):
    """A frame as a client sends it: masked."""
    length = len(payload)
    size = bytes([0x80 | length]) if length < 126 else b"\xfe" + struct.pack("!H", length)
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes([(0x80 if last else 0) | kind]) + size + mask + masked


def opened():
    websocket = WebSocket()
    mqtt, answer = websocket.receive(HANDSHAKE)
    assert mqtt == b""
    assert answer.startswith(b"HTTP/1.1 101 ")
    return websocket


def in_parts(data, cuts):
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    edges = [0, *places, len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


@given(
    payloads=st.lists(st.binary(max_size=300), max_size=5),
    cuts=st.lists(st.integers(0, 10_000), max_size=20),
)
def test_mqtt_is_unwrapped_from_pieces_of_any_size(payloads, cuts):
    websocket = WebSocket()
    out = b""
    # A client waits for the answer to its handshake (RFC 6455, section 4.1).
    for data in (HANDSHAKE, b"".join(frame(payload) for payload in payloads)):
        for part in in_parts(data, cuts):
            mqtt, _ = websocket.receive(part)
            out += mqtt
    assert out == b"".join(payloads)
    assert not websocket.ended


def test_a_message_may_come_in_several_frames():
    websocket = opened()
    first, _ = websocket.receive(frame(b"ab", last=False))
    second, _ = websocket.receive(frame(b"cd", kind=0))
    assert first + second == b"abcd"


def test_a_ping_is_answered():
    assert opened().receive(frame(b"hello", kind=PING)) == (b"", b"\x8a\5hello")


def test_a_close_is_answered_and_nothing_is_sent_after_it():
    websocket = opened()
    _, answer = websocket.receive(frame(struct.pack("!H", 1000), kind=CLOSE))
    assert answer[:1] == b"\x88"
    assert websocket.ended
    assert websocket.frame(b"late") == b""


def test_text_is_not_accepted():
    websocket = opened()
    _, answer = websocket.receive(frame(b"hello", kind=TEXT))
    assert answer == b"\x88\2" + struct.pack("!H", 1003)
    assert websocket.ended


@given(st.binary(min_size=1, max_size=2000))
def test_any_bytes_end_the_connection_at_worst(data):
    for websocket in (WebSocket(), opened()):
        websocket.receive(data)
        websocket.frame(b"x")
