"""Corrections of what decoders make of a DHT22's frame."""

COLDEST_CLONE = -3236.8  # -40.0 °C in two's complement, read as sign and magnitude.


def clone_corrected(temperature: float) -> float:
    """Return the temperature (degrees Celsius) that a clone of a DHT22 meant.

    A DHT22 sends the sign in the highest of 16 bits and tenths of a degree in the others. Some
    clones send two's complement instead, so adafruit_dht and the kernel decode their -0.1 as
    -3276.7. A DHT22 never sends such values; any other value is returned unchanged.
    """
    if temperature > COLDEST_CLONE:
        return temperature
    return (-round(temperature * 10) - 0x8000) / 10
