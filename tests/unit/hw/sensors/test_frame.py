import pytest
from hypothesis import given
from hypothesis import strategies as st
from policies import policy_without_spacing, step
from trains import frame, frame_of_dht11

from hw.errors import SensorError
from hw.sensors.frame import decode

TYPICAL = [0, 1, 2, 3, 9, 10, 45, 0x7F, 0x80, 0x81, 0xFE]
BYTE = st.one_of(st.integers(0, 255), st.sampled_from(TYPICAL))


def with_checksum(data):
    return bytes([*data, sum(data) & 0xFF])


def accepted(model, data):
    """Return the reading that is accepted of a frame, or None."""
    try:
        reading = decode(model, data)
    except SensorError:
        return None
    found = step(policy_without_spacing(model=model), reading)
    return found[0].reading if found else None


@given(st.lists(BYTE, min_size=4, max_size=4))
def test_what_is_accepted_of_a_dht22_is_what_it_sent(data):
    sent = with_checksum(data)
    reading = accepted("dht22", sent)
    if reading is not None and reading.temperature != 0.0:  # Zero has two signs.
        forms = [
            bytes(frame(reading.temperature, reading.humidity, twos_complement=clone))
            for clone in (False, True)
        ]
        assert sent in forms


@given(BYTE, st.integers(0, 9), BYTE, BYTE)
def test_what_is_accepted_of_a_dht11_is_what_it_sent(humidity, tenths, degrees, degrees_tenths):
    sent = with_checksum([humidity, tenths, degrees, degrees_tenths])
    reading = accepted("dht11", sent)
    if reading is not None and reading.temperature != 0.0:
        encoded = frame_of_dht11(reading.temperature, reading.humidity)
        encoded[1] = round(reading.humidity * 10) % 10
        assert sent == with_checksum(encoded[:4])


@pytest.mark.parametrize("length", [0, 4, 6])
@pytest.mark.parametrize("model", ["dht22", "dht21", "dht11"])
def test_a_frame_has_five_bytes(model, length):
    with pytest.raises(ValueError, match=f"{length} bytes"):
        decode(model, bytes(length))
