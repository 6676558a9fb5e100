"""The symbols of DTDL's units.

https://github.com/Azure/opendigitaltwins-dtdl/blob/master/DTDL/v2/DTDL.v2.md#semantic-type
"""

PREFIXES = {
    "exbi": "Ei",
    "gibi": "Gi",
    "kibi": "Ki",
    "mebi": "Mi",
    "tebi": "Ti",
    "yobi": "Yi",
    "zebi": "Zi",
    "giga": "G",
    "mega": "M",
    "kilo": "k",
    "centi": "c",
    "milli": "m",
    "micro": "µ",
    "nano": "n",
    "pico": "p",
}
# The units whose symbol does not follow from those of others.
SYMBOLS = {
    "acre": "acre",
    "ampere": "A",
    "astronomicalUnit": "au",
    "bar": "bar",
    "bel": "B",
    "bit": "bit",
    "byte": "B",
    "candela": "cd",
    "coulomb": "C",
    "day": "d",
    "decibel": "dB",
    "degreeCelsius": "°C",
    "degreeFahrenheit": "°F",
    "degree": "°",
    "degreeOfArc": "°",
    "electronvolt": "eV",
    "farad": "F",
    "fluidOunce": "fl oz",
    "foot": "ft",
    "footcandle": "fc",
    "gForce": "g",
    "gallon": "gal",
    "gram": "g",
    "hectare": "ha",
    "henry": "H",
    "hertz": "Hz",
    "horsepower": "hp",
    "hour": "h",
    "inch": "in",
    "inchesOfMercury": "inHg",
    "inchesOfWater": "inH₂O",
    "joule": "J",
    "kelvin": "K",
    "kilowattHour": "kWh",
    "kilowattHourPerYear": "kWh/a",
    "knot": "kn",
    "litre": "l",
    "lumen": "lm",
    "lux": "lx",
    "maxwell": "Mx",
    "metre": "m",
    "mile": "mi",
    "milePerHour": "mph",
    "millimetresOfMercury": "mmHg",
    "minute": "min",
    "minuteOfArc": "'",
    "nauticalMile": "nmi",
    "newton": "N",
    "newtonMetre": "N·m",
    "ohm": "Ω",
    "ounce": "oz",
    "pascal": "Pa",
    "percent": "%",
    "pound": "lb",
    "poundPerSquareInch": "psi",
    "radian": "rad",
    "revolution": "r",
    "revolutionPerMinute": "rpm",
    "second": "s",
    "secondOfArc": '"',
    "slug": "slug",
    "tesla": "T",
    "ton": "ton",
    "tonne": "t",
    "turn": "turn",
    "unity": "",
    "volt": "V",
    "watt": "W",
    "weber": "Wb",
    "year": "a",
}


def symbol_of(unit: str) -> str:
    """Return the symbol of a unit, or its name if it is not DTDL's: km/h for kilometrePerHour."""
    return unit if (symbol := _symbol(unit)) is None else symbol


def _symbol(unit: str) -> str | None:
    if unit in SYMBOLS:
        return SYMBOLS[unit]
    above, per, below = unit.partition("Per")
    if per:
        parts = _symbol(above), _symbol(below[:1].lower() + below[1:])
        return None if None in parts else "/".join(map(str, parts))
    for word, exponent in (("square", "²"), ("cubic", "³")):
        rest = unit.removeprefix(word)
        if rest != unit and (base := _symbol(rest[:1].lower() + rest[1:])) is not None:
            return base + exponent
    if unit.endswith("Squared") and (base := _symbol(unit.removesuffix("Squared"))) is not None:
        return f"{base}²"
    for name, prefix in PREFIXES.items():
        base = SYMBOLS.get(unit.removeprefix(name))
        if unit.startswith(name) and base:
            return prefix + base
    return None
