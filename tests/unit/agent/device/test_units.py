import pytest

from agent.device.units import in_unit, temperature_text


@pytest.mark.parametrize(
    ("celsius", "fahrenheit"), [(25.0, 77.0), (-40.0, -40.0), (0.0, 32.0), (36.6, 97.88)]
)
def test_celsius_in_each_unit(celsius, fahrenheit):
    assert in_unit(celsius, "celsius") == celsius
    assert in_unit(celsius, "fahrenheit") == pytest.approx(fahrenheit)


@pytest.mark.parametrize(
    ("unit", "text"), [("celsius", "21.5 °C"), ("fahrenheit", "70.7 °F"), ("kelvin", "21.5 °C")]
)
def test_a_temperature_for_people(unit, text):
    assert temperature_text(21.5, unit) == text
