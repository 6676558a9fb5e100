"""The server side of MQTT 3.1.1: bytes to packets, and packets to bytes. No input or output.

Quality of service 0 and 1, as at the hub. [MQTT-...] are the rules of the standard:
https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

MAX_BODY = 256 * 1024  # Bytes of one message; IoT Hub's limit.
MAX_TOPIC = 0xFFFF
MAX_CONNECT = 16 * 1024  # Bytes of a CONNECT, whose sender may be anybody.
MAX_PACKET = MAX_BODY + MAX_TOPIC + 4


class ProtocolError(Exception):
    """The client violated the protocol, and its connection must end; `str()` says how."""


class UnacceptableVersion(ProtocolError):  # noqa: N818 - names what is wrong
    """The client uses another version of MQTT. The answer is ConnectCode.VERSION."""


class ConnectCode(IntEnum):
    """The return codes of CONNACK."""

    ACCEPTED = 0
    VERSION = 1
    IDENTIFIER = 2
    UNAVAILABLE = 3
    BAD_CREDENTIALS = 4
    NOT_AUTHORIZED = 5


@dataclass(frozen=True, slots=True)
class Connect:
    client_id: str
    clean_session: bool
    keep_alive: int  # Seconds; 0 is off.
    username: str | None
    password: bytes | None
    will: "Publish | None"


@dataclass(frozen=True, slots=True)
class ConnAck:
    session_present: bool
    code: ConnectCode


@dataclass(frozen=True, slots=True)
class Publish:
    topic: str
    body: bytes = b""
    qos: int = 0
    packet_id: int | None = None  # Set if, and only if, qos is 1.
    duplicate: bool = False
    retain: bool = False


@dataclass(frozen=True, slots=True)
class PubAck:
    packet_id: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    packet_id: int
    filters: tuple[tuple[str, int], ...]  # (filter, requested quality of service)


@dataclass(frozen=True, slots=True)
class SubAck:
    packet_id: int
    granted: tuple[int, ...]  # For each filter, the granted quality of service or REFUSED.


REFUSED = 0x80


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    packet_id: int
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnsubAck:
    packet_id: int


@dataclass(frozen=True, slots=True)
class PingReq:
    pass


@dataclass(frozen=True, slots=True)
class PingResp:
    pass


@dataclass(frozen=True, slots=True)
class Disconnect:
    pass


ClientPacket = Connect | Publish | PubAck | Subscribe | Unsubscribe | PingReq | Disconnect
ServerPacket = ConnAck | Publish | PubAck | SubAck | UnsubAck | PingResp


def encode(packet: ServerPacket) -> bytes:
    """Return the bytes of a packet."""
    match packet:
        case ConnAck(session_present, code):
            return bytes((0x20, 2, session_present, code))
        case Publish():
            flags = packet.duplicate << 3 | packet.qos << 1 | packet.retain
            content = _encode_string(packet.topic)
            if packet.packet_id is not None:
                content += packet.packet_id.to_bytes(2)
            content += packet.body
            return bytes((0x30 | flags,)) + _encode_length(len(content)) + content
        case PubAck(packet_id):
            return b"\x40\x02" + packet_id.to_bytes(2)
        case SubAck(packet_id, granted):
            content = packet_id.to_bytes(2) + bytes(granted)
            return b"\x90" + _encode_length(len(content)) + content
        case UnsubAck(packet_id):
            return b"\xb0\x02" + packet_id.to_bytes(2)
        case PingResp():
            return b"\xd0\x00"


def _encode_length(length: int) -> bytes:
    encoded = bytearray()
    while True:
        length, low = divmod(length, 128)
        encoded.append(low | (0x80 if length else 0))
        if not length:
            return bytes(encoded)


def _encode_string(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2) + data


class Decoder:
    """Decodes the stream of a client, which comes in pieces of any size.

    A packet of more than `max_packet` bytes (after its fixed header) is refused as soon as its
    length is known, so the buffer never holds more than that and the last piece.
    """

    def __init__(self, *, max_packet: int = MAX_PACKET) -> None:
        self.max_packet = max_packet
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add the next piece of the stream."""
        self._buffer += data

    def next_packet(self) -> ClientPacket | None:
        """Return the next complete packet, or None if more of the stream is needed.

        Raise ProtocolError if the client violated the protocol. The rest is undecodable then.
        """
        header = self._header()
        if header is None:
            return None
        start, end = header
        if len(self._buffer) < end:
            return None
        first = self._buffer[0]
        content = bytes(self._buffer[start:end])
        del self._buffer[:end]
        return _decode(first, content)

    def _header(self) -> tuple[int, int] | None:
        """Return where the first packet's content starts and ends."""
        if not self._buffer:
            return None
        _check_first_byte(self._buffer[0])
        length = 0
        for position, byte in enumerate(self._buffer[1:5]):
            length |= (byte & 0x7F) << (7 * position)
            if not byte & 0x80:
                if length > self.max_packet:
                    raise ProtocolError(
                        f"a packet of {length} bytes; at most {self.max_packet} are accepted"
                    )
                return position + 2, position + 2 + length
        if len(self._buffer) > 4:  # noqa: PLR2004 - the type, and four bytes of length
            raise ProtocolError("a packet length of more than four bytes")
        return None


class _Content:
    """Reads the fields of one packet, in order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) < count:
            raise ProtocolError("a packet that ends too early")
        self._at += count
        return part

    def number(self) -> int:
        return int.from_bytes(self.take(2))

    def packet_id(self) -> int:
        packet_id = self.number()
        if not packet_id:
            raise ProtocolError("a packet identifier of 0 [MQTT-2.3.1-1]")
        return packet_id

    def binary(self) -> bytes:
        return self.take(self.number())

    def string(self) -> str:
        try:
            text = self.binary().decode()
        except UnicodeDecodeError:
            raise ProtocolError("text that is not UTF-8 [MQTT-1.5.3-1]") from None
        if "\0" in text:
            raise ProtocolError("text with the character U+0000 [MQTT-1.5.3-2]")
        return text

    def filter(self) -> str:
        text = self.string()
        levels = text.split("/")
        wrong = not text or any(
            ("#" in level and (level != "#" or number < len(levels)))
            or ("+" in level and level != "+")
            for number, level in enumerate(levels, start=1)
        )
        if wrong:
            raise ProtocolError(f"{text!r} is not a topic filter [MQTT-4.7.1]")
        return text

    def topic(self) -> str:
        text = self.string()
        if not text or "#" in text or "+" in text:
            raise ProtocolError(f"{text!r} is not a topic [MQTT-3.3.2-2]")
        return text

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    @property
    def more(self) -> bool:
        return self._at < len(self._data)


def _decode(first: int, data: bytes) -> ClientPacket:
    content = _Content(data)
    decode = _DECODERS[first >> 4]
    packet = decode(content, first & 0x0F)
    if content.more:
        raise ProtocolError("a packet that is too long")
    return packet


def _check_first_byte(first: int) -> None:
    kind, flags = first >> 4, first & 0x0F
    if kind not in _DECODERS:
        raise ProtocolError(f"a packet of type {kind}, which a client does not send")
    if kind != PUBLISH and flags != _FLAGS.get(kind, 0):
        raise ProtocolError(f"flags {flags:04b} on a packet of type {kind} [MQTT-2.2.2-2]")


def _decode_connect(content: _Content, _flags: int) -> Connect:
    name, level = content.binary(), content.take(1)[0]
    if (name, level) != (b"MQTT", 4):
        raise UnacceptableVersion(f"protocol {name[:20]!r} level {level} instead of MQTT 3.1.1")
    flags = content.take(1)[0]
    if flags & 0x01:
        raise ProtocolError("the reserved flag of CONNECT [MQTT-3.1.2-3]")
    keep_alive = content.number()
    client_id = content.string()
    will = _decode_will(content, flags)
    username = content.string() if flags & 0x80 else None
    password = content.binary() if flags & 0x40 else None
    if password is not None and username is None:
        raise ProtocolError("a password without a user name [MQTT-3.1.2-22]")
    return Connect(client_id, bool(flags & 0x02), keep_alive, username, password, will)


def _decode_will(content: _Content, flags: int) -> Publish | None:
    qos, retain = flags >> 3 & 3, bool(flags & 0x20)
    if not flags & 0x04:
        if qos or retain:
            raise ProtocolError("will flags without a will [MQTT-3.1.2-11]")
        return None
    if qos > 1:
        raise ProtocolError("a will of quality of service 2 or 3, which the hub does not have")
    topic = content.topic()
    return Publish(topic, content.binary(), retain=retain)


def _decode_publish(content: _Content, flags: int) -> Publish:
    qos, duplicate = flags >> 1 & 3, bool(flags & 0x08)
    if qos > 1:
        raise ProtocolError("quality of service 2 or 3, which the hub does not have")
    if duplicate and not qos:
        raise ProtocolError("a duplicate of quality of service 0 [MQTT-3.3.1-2]")
    topic = content.topic()
    packet_id = content.packet_id() if qos else None
    return Publish(topic, content.rest(), qos, packet_id, duplicate, bool(flags & 0x01))


def _decode_puback(content: _Content, _flags: int) -> PubAck:
    return PubAck(content.packet_id())


def _decode_subscribe(content: _Content, _flags: int) -> Subscribe:
    packet_id = content.packet_id()
    filters = []
    while content.more:
        topic_filter, qos = content.filter(), content.take(1)[0]
        if qos > 2:  # noqa: PLR2004 - 2 may be requested; 1 is granted
            raise ProtocolError(f"a subscription of quality of service {qos} [MQTT-3.8.3-4]")
        filters.append((topic_filter, qos))
    if not filters:
        raise ProtocolError("SUBSCRIBE without a topic filter [MQTT-3.8.3-3]")
    return Subscribe(packet_id, tuple(filters))


def _decode_unsubscribe(content: _Content, _flags: int) -> Unsubscribe:
    packet_id = content.packet_id()
    filters = []
    while content.more:
        filters.append(content.filter())
    if not filters:
        raise ProtocolError("UNSUBSCRIBE without a topic filter [MQTT-3.10.3-2]")
    return Unsubscribe(packet_id, tuple(filters))


PUBLISH = 3
_FLAGS = {8: 0b0010, 10: 0b0010}
_DECODERS: dict[int, Callable[[_Content, int], ClientPacket]] = {
    1: _decode_connect,
    PUBLISH: _decode_publish,
    4: _decode_puback,
    8: _decode_subscribe,
    10: _decode_unsubscribe,
    12: lambda _content, _flags: PingReq(),
    14: lambda _content, _flags: Disconnect(),
}
