"""Symbols of units."""

import pytest

from central.console.units import symbol_of


@pytest.mark.parametrize(
    ("unit", "symbol"),
    [
        ("degreeCelsius", "°C"),
        ("unity", ""),
        ("milliampere", "mA"),
        ("kibibyte", "KiB"),
        ("mebibitPerSecond", "Mibit/s"),
        ("kilometrePerHour", "km/h"),
        ("milePerHour", "mph"),
        ("metrePerSecondSquared", "m/s²"),
        ("radianPerSecondSquared", "rad/s²"),
        ("squareKilometre", "km²"),
        ("cubicCentimetre", "cm³"),
        ("microgramPerCubicMetre", "µg/m³"),
        ("candelaPerSquareMetre", "cd/m²"),
        ("millimetresOfMercury", "mmHg"),
    ],
)
def test_units_of_dtdl_have_their_symbols(unit, symbol):
    assert symbol_of(unit) == symbol


@pytest.mark.parametrize("unit", ["drops", "furlongPerFortnight", "Per", "xPer", "square", "kilo"])
def test_another_unit_is_shown_by_its_name(unit):
    assert symbol_of(unit) == unit
