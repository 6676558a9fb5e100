import itertools

import pytest
from fuzzing import fuzz
from hypothesis import strategies as st

from central.protocol.mqtt import (
    ConnAck,
    Connect,
    ConnectCode,
    Decoder,
    Disconnect,
    PingReq,
    PingResp,
    ProtocolError,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnacceptableVersion,
    UnsubAck,
    Unsubscribe,
    encode,
)

CONNECT = bytes.fromhex("10 1a 0004 4d515454 04 c2 003c 0003 646576 0004 75736572 0003 6b6579")


def decode(data, **options):
    decoder = Decoder(**options)
    decoder.feed(data)
    packets = []
    while (packet := decoder.next_packet()) is not None:
        packets.append(packet)
    return packets


def refusal(data):
    with pytest.raises(ProtocolError) as caught:
        decode(data)
    return str(caught.value)


def test_connect():
    assert decode(CONNECT) == [Connect("dev", True, 60, "user", b"key", None)]


def test_connect_with_a_will():
    data = bytes.fromhex("10 14 0004 4d515454 04 2c 000a 0001 64 0001 74 0002 6869")
    will = Publish("t", b"hi", retain=True)
    assert decode(data) == [Connect("d", False, 10, None, None, will)]


@pytest.mark.parametrize(
    ("wire", "packet"),
    [
        ("30 05 0001 61 6869", Publish("a", b"hi")),
        ("3b 05 0001 61 0102", Publish("a", b"", 1, 258, True, True)),
        ("40 02 0102", PubAck(258)),
        ("82 0b 0001 0001 23 00 0002 612f 02", Subscribe(1, (("#", 0), ("a/", 2)))),
        ("a2 05 0001 0001 61", Unsubscribe(1, ("a",))),
        ("c0 00", PingReq()),
        ("e0 00", Disconnect()),
    ],
)
def test_what_a_client_sends(wire, packet):
    assert decode(bytes.fromhex(wire)) == [packet]


@pytest.mark.parametrize(
    ("packet", "wire"),
    [
        (ConnAck(session_present=True, code=ConnectCode.ACCEPTED), "20 02 01 00"),
        (ConnAck(session_present=False, code=ConnectCode.NOT_AUTHORIZED), "20 02 00 05"),
        (PubAck(258), "40 02 01 02"),
        (SubAck(7, (1, 0x80)), "90 04 0007 01 80"),
        (UnsubAck(7), "b0 02 00 07"),
        (PingResp(), "d0 00"),
        (Publish("a/b", b"x"), "30 06 0003 612f62 78"),
        (Publish("a", b"x", 1, 5, duplicate=True), "3a 06 0001 61 0005 78"),
    ],
)
def test_what_a_server_sends(packet, wire):
    assert encode(packet) == bytes.fromhex(wire)


def test_the_length_of_a_long_packet_takes_several_bytes():
    assert encode(Publish("a", bytes(200)))[:3] == b"\x30\xcb\x01"


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        ("34 05 0001 61 0001", "quality of service 2"),
        ("36 05 0001 61 0001", "quality of service 2 or 3"),
        ("38 03 0001 61", "a duplicate of quality of service 0"),
        ("32 05 0001 61 0000", "a packet identifier of 0"),
        ("30 02 0000", "is not a topic"),
        ("30 03 0001 23", "is not a topic"),
        ("30 03 0001 ff", "not UTF-8"),
        ("30 03 0001 00", "U+0000"),
        ("30 05 0003 eda080", "not UTF-8"),
        ("30 03 0002 61", "ends too early"),
        ("40 03 0001 00", "too long"),
        ("41 02 0001", "flags 0001"),
        ("80 06 0001 0001 23 00", "flags 0000"),
        ("82 02 0001", "SUBSCRIBE without a topic filter"),
        ("82 06 0001 0001 23 03", "quality of service 3"),
        ("82 08 0001 0003 612b2f 00", "is not a topic filter"),
        ("82 08 0001 0003 232f61 00", "is not a topic filter"),
        ("82 05 0001 0000 00", "is not a topic filter"),
        ("a2 02 0001", "UNSUBSCRIBE without a topic filter"),
        ("c1 00", "flags 0001"),
        ("c0 01 00", "too long"),
        ("20 02 0000", "type 2"),
        ("00 00", "type 0"),
        ("f0 00", "type 15"),
        ("62 02 0001", "type 6"),
        ("30 ff ff ff ff 01", "more than four bytes"),
        ("30 ff ff ff 7f", "at most"),
        ("10 0d 0004 4d515454 04 43 003c 0001 64", "reserved flag"),
        ("10 10 0004 4d515454 04 42 003c 0001 64 0001 6b", "a password without a user name"),
        ("10 0d 0004 4d515454 04 0a 003c 0001 64", "will flags without a will"),
        ("10 0d 0004 4d515454 04 16 003c 0001 64", "a will of quality of service 2"),
    ],
)
def test_packets_that_violate_the_protocol_are_refused(wire, reason):
    assert reason in refusal(bytes.fromhex(wire))


@pytest.mark.parametrize("wire", ["100d 0006 4d51497364 70 03 02 003c 0001", CONNECT.hex()])
def test_another_version_of_mqtt_is_an_error_of_its_own(wire):
    data = bytes.fromhex(wire).replace(b"MQTT\x04", b"MQTT\x05")
    with pytest.raises(UnacceptableVersion):
        decode(data)


def test_packets_before_an_invalid_one_are_decoded():
    decoder = Decoder()
    decoder.feed(b"\xc0\x00\xff\xff")
    assert decoder.next_packet() == PingReq()
    with pytest.raises(ProtocolError):
        decoder.next_packet()


def test_an_oversized_packet_is_refused_by_its_header():
    decoder = Decoder(max_packet=100)
    decoder.feed(b"\x30\x65")
    with pytest.raises(ProtocolError, match="101 bytes; at most 100"):
        decoder.next_packet()


def test_a_packet_of_exactly_the_limit_is_accepted():
    data = encode(Publish("a", bytes(97)))
    assert decode(data, max_packet=100) == [Publish("a", bytes(97))]


topics = st.text(st.characters(exclude_characters="+#\0", codec="utf-8"), min_size=1, max_size=50)
publishes = st.one_of(
    st.builds(Publish, topics, st.binary(max_size=300), retain=st.booleans()),
    st.builds(
        Publish,
        topics,
        st.binary(max_size=300),
        st.just(1),
        st.integers(1, 0xFFFF),
        st.booleans(),
        st.booleans(),
    ),
)


@fuzz(
    st.lists(st.one_of(publishes, st.builds(PubAck, st.integers(1, 0xFFFF)))),
    st.lists(st.integers(1, 10) | st.integers(1, 1000), min_size=1),
)
def test_packets_are_decoded_from_pieces_of_any_size(packets, sizes):
    wire = b"".join(encode(packet) for packet in packets)
    decoder, decoded, next_size = Decoder(), [], itertools.cycle(sizes)
    while wire:
        size = next(next_size)
        decoder.feed(wire[:size])
        wire = wire[size:]
        while (packet := decoder.next_packet()) is not None:
            decoded.append(packet)
    assert decoded == packets


first_bytes = st.sampled_from(bytes.fromhex("10 30 32 33 3a 40 82 a2 c0 e0 34 00 f0"))
almost_packets = st.builds(
    lambda first, length, content: (
        bytes((first, length if length < 128 else len(content))) + content
    ),
    first_bytes,
    st.integers(0, 255),
    st.binary(max_size=100),
)


@fuzz(st.lists(st.one_of(st.binary(max_size=100), almost_packets, st.just(CONNECT))))
def test_any_bytes_are_decoded_or_a_protocol_error_in_bounded_memory(pieces):
    decoder = Decoder(max_packet=200)
    for piece in pieces:
        decoder.feed(piece)
        try:
            while decoder.next_packet() is not None:
                pass
        except ProtocolError:
            return
        assert len(decoder._buffer) <= 200 + 5
