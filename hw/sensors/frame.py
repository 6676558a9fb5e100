"""What decoders of a DHT22's frame leave to be done."""

LEAST_CLONE = -3236.8  # -40.0 degrees in two's complement, taken for sign and magnitude.


def clone_corrected(temperature: float) -> float:
    """Return the degrees Celsius that a clone meant; any other sensor's value is returned as is.

    A DHT22 sends the sign as the highest of 16 bits and tenths of a degree in the rest. Some
    clones send two's complement, and every decoder here reads their -0.1 as -3276.7. Such a value
    is none that a DHT22 sends, so the two kinds cannot be confused.
    """
    if temperature > LEAST_CLONE:
        return temperature
    return (-round(temperature * 10) - 0x8000) / 10
