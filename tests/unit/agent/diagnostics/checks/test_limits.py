"""Limits that no reading of the configured sensor can cross."""

from dataclasses import replace

import pytest
from examinations import CONFIG, examination
from statuses import STATUS

from agent.config.loader import LimitsConfig, SensorConfig
from agent.diagnostics.checks.limits import limits
from agent.diagnostics.finding import Outcome
from agent.status import LimitsPart


def judge(root, bounds=None, *, status=None, **sensor):
    config = replace(CONFIG, limits=LimitsConfig(**(bounds or {})), sensor=SensorConfig(**sensor))
    return limits(examination(root, config, status=status))


def test_without_limits_there_is_nothing_to_check(tmp_path):
    assert judge(tmp_path).outcome is Outcome.SKIPPED


def test_a_limit_beyond_the_sensors_range_is_named_with_its_key_and_property(tmp_path):
    finding = judge(tmp_path, {"temperature_low": 5, "temperature_high": 90})
    assert finding.outcome is Outcome.WARNING
    assert finding.line == (
        "The limit temperatureHigh (90 °C) cannot be crossed: the highest reading of this sensor "
        "is 80 °C."
    )
    assert finding.advice == (
        "Set temperature_high in [limits], or the property temperatureHigh if the operator has set "
        "it, to a value that the sensor can measure."
    )


def test_the_units_are_those_of_the_configuration(tmp_path):
    finding = judge(tmp_path, {"temperature_high": 90}, unit="fahrenheit")
    assert "temperatureHigh (194 °F)" in finding.line
    assert "is 176 °F." in finding.line


@pytest.mark.parametrize(
    ("bounds", "sensor", "outcome"),
    [
        ({"humidity_low": 2.0}, {}, Outcome.WARNING),
        ({"humidity_low": 2.1}, {}, Outcome.OK),
        ({"humidity_low": 2.1}, {"humidity_offset": 0.2}, Outcome.WARNING),
        ({"humidity_high": 95.0}, {"driver": "dht11", "model": "dht11"}, Outcome.WARNING),
        ({"humidity_high": 99.9}, {}, Outcome.OK),
        ({"humidity_high": 99.0}, {"humidity_offset": -1.0}, Outcome.WARNING),
        ({"temperature_high": 79.0}, {"temperature_offset": -1.0}, Outcome.WARNING),
        ({"temperature_high": 79.0}, {"temperature_offset": 1.0}, Outcome.OK),
        ({"temperature_low": -39.0}, {"temperature_offset": 1.0}, Outcome.WARNING),
        ({"temperature_low": -20.0}, {"driver": "dht11", "model": "dht11"}, Outcome.WARNING),
        ({"temperature_high": 90.0}, {"driver": "kernel", "model": "sht3x"}, Outcome.OK),
    ],
)
def test_the_range_is_that_of_the_model_with_its_offsets(tmp_path, bounds, sensor, outcome):
    assert judge(tmp_path, bounds, **sensor).outcome is outcome


def test_the_limits_of_the_running_daemon_are_those_in_force(tmp_path):
    part = LimitsPart(status="within", in_force={"temperatureHigh": 100.0}, outside={})
    finding = judge(tmp_path, {"temperature_high": 30.0}, status=replace(STATUS, limits=part))
    assert "temperatureHigh (100 °C)" in finding.line
