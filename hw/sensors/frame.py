"""The five bytes that a DHT sends: humidity (two), temperature (two), and their checksum."""

from hw.contracts import Reading
from hw.errors import Fault, SensorError

FRAME = 5  # Bytes.
WETTEST_DHT22 = 3  # The first byte of 100.0 %, 0x03E8. A DHT11 begins with whole percent, from 5.
END_OF_DHT21 = bytes(3)
"""An AM2301 (DHT21) sends 24 more bits, all zero. Read as a DHT22, the last 40 bits are taken for
the frame: https://github.com/momenso/node-dht-sensor/issues/47."""
HINT_DHT21 = 'If it is an AM2301 (DHT21), set driver = "dht21".'
COLDEST_CLONE = -3236.8  # -40.0 °C in two's complement, read as sign and magnitude.
NINE = 9  # The most tenths.
SIGN = 0x80


def decode(model: str, frame: bytes) -> Reading:
    """Return the values of a frame whose checksum is right.

    `model` is `dht22`, `dht21` (the same frame) or `dht11`. Raise `SensorError` with
    `Fault.IMPLAUSIBLE` for a frame that this model does not send, and `ValueError` unless the frame
    has five bytes.

    A DHT22 sends tenths in 16 bits, the temperature with the sign in bit 15. A DHT11 sends whole
    units and tenths in a byte each; old ones send 0 tenths. Aosong's current DHT11, which measures
    down to -20 degrees (https://github.com/letscontrolit/ESPEasy/pull/2776), sends the sign in
    bit 7 of the tenths: `2D 00 05 83` is -5.3 degrees
    (https://github.com/adafruit/DHT-sensor-library/issues/199,
    https://github.com/szazo/DHT11_Python/issues/21). Some old ones add the tenths to the next lower
    degree instead (https://github.com/niesteszeck/idDHTLib/issues/14), so their temperature is
    wrong by up to one degree below zero. The frames do not differ, and the accuracy is 2 degrees.
    """
    if len(frame) != FRAME:
        raise ValueError(f"a frame of {len(frame)} bytes")
    humidity, humidity_low, temperature, temperature_low, _ = frame
    if model != "dht11":
        if humidity > WETTEST_DHT22:
            raise _foreign(frame, 'If it is a DHT11, set driver = "dht11".')
        if frame.endswith(END_OF_DHT21) and model == "dht22":
            raise _foreign(frame, HINT_DHT21)  # Of true frames, one in a thousand at 0.0 °C.
        tenths = (temperature & 0x7F) << 8 | temperature_low
        value = -tenths / 10 if temperature & SIGN else tenths / 10
        return Reading(clone_corrected(value), (humidity << 8 | humidity_low) / 10)
    if humidity <= WETTEST_DHT22:
        raise _foreign(
            frame,
            'If it is a DHT22, set driver = "dht22"; if not, its humidity element is broken.',
        )
    tenths = temperature_low & ~SIGN
    if humidity_low > NINE or tenths > NINE:
        raise _foreign(frame, "Its data wire may pick up noise.")
    value = temperature + tenths / 10
    return Reading(-value if temperature_low & SIGN else value, humidity + humidity_low / 10)


def _foreign(frame: bytes, hint: str) -> SensorError:
    shown = frame.hex(" ").upper()
    return SensorError(
        f"The sensor sent {shown}, which is not a frame of the configured model. {hint}",
        fault=Fault.IMPLAUSIBLE,
    )


def clone_corrected(temperature: float) -> float:
    """Return the temperature (degrees Celsius) that a clone of a DHT22 meant.

    A DHT22 sends the sign in the highest of 16 bits and tenths of a degree in the others. Some
    clones send two's complement instead, so -0.1 is decoded as -3276.7
    (https://github.com/adafruit/Adafruit_CircuitPython_DHT/issues/60). A DHT22 never sends such
    values; any other value is returned unchanged.
    """
    if temperature > COLDEST_CLONE:
        return temperature
    return (-round(temperature * 10) - 0x8000) / 10
