"""The unit of temperatures: "celsius" or "fahrenheit". Inside the program it is always Celsius."""

SYMBOLS = {"celsius": "°C", "fahrenheit": "°F"}


def in_unit(celsius: float, unit: str) -> float:
    """Return a temperature in `unit`."""
    return celsius * 9 / 5 + 32 if unit == "fahrenheit" else celsius


def temperature_text(celsius: float, unit: str) -> str:
    """Return a temperature for people: "21.5 °C"."""
    # A unit that only another version of the daemon knows is shown in Celsius.
    unit = unit if unit in SYMBOLS else "celsius"
    return f"{in_unit(celsius, unit):.1f} {SYMBOLS[unit]}"
