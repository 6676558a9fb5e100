import math
import tomllib
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import loader
from agent.config.loader import Config
from agent.config.schema import KEYS, SECTIONS, Key, Rule
from agent.errors import ConfigError


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("any") / "config.toml"


def outcome(path, host_name="greenhouse"):
    """Return the configuration, or the list of mistakes; any other exception is a failure."""
    try:
        return loader.load(path, host_name=host_name)
    except ConfigError as error:
        return error.mistakes


def toml(value):
    match value:
        case dict():
            return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
        case _:
            return str(value)


def in_range(key: Key, value):
    rule = key.rule
    if value is None:
        return key.default is None
    if not isinstance(value, key.kind):
        return False
    if rule.low is not None:
        assert rule.high is not None
        assert isinstance(value, int | float)
        low = 0.05 if key.name == "interval" else rule.low
        return math.isfinite(value) and low <= value <= rule.high
    return not rule.choices or value in rule.choices


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ANY_NAME = st.sampled_from([name for keys in KEYS.values() for name in keys])
LIKELY = [choice for keys in KEYS.values() for key in keys.values() for choice in key.rule.choices]
SCALAR = (
    st.booleans()
    | st.integers()
    | st.integers(0, 100)
    | st.floats()
    | st.floats(0, 100)
    | TEXT
    | st.sampled_from([*LIKELY, "a.key", "http://a:1", "0ne00000000"])
    | st.datetimes().filter(lambda moment: moment.year >= 1000)
    | st.dates().filter(lambda date: date.year >= 1000)
)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)
FILE = st.dictionaries(
    st.sampled_from(list(SECTIONS)) | TEXT,
    st.dictionaries(ANY_NAME | TEXT, VALUE, max_size=6) | VALUE,
    max_size=6,
)


@given(content=FILE, host_name=st.text())
def test_any_file_gives_a_config_within_its_ranges_or_mistakes(path, content, host_name):
    text = "".join(f"{toml(name)} = {toml(value)}\n" for name, value in content.items())
    tomllib.loads(text)
    path.write_text(text)
    read = outcome(path, host_name)
    if not isinstance(read, Config):
        assert read
        assert all(mistake.splitlines() == [mistake] for mistake in read)
        return
    assert read.device.id
    for entry in fields(read):
        section = getattr(read, entry.name)
        for key in KEYS[entry.name].values() if section is not None else ():
            assert in_range(key, getattr(section, key.name)), key.name


def allowed(rule: Rule):
    """Generate the values that a rule with choices or a range allows."""
    if rule.choices:
        return st.sampled_from(rule.choices)
    assert rule.low is not None
    assert rule.high is not None
    return st.integers(int(rule.low), int(rule.high))


@given(
    sensor=st.fixed_dictionaries(
        {},
        optional={
            key.name: allowed(key.rule)
            for key in KEYS["sensor"].values()
            if key.name not in {"model", "bus", "address"}  # The others depend on the model.
        },
    )
)
def test_a_sensor_within_every_range_is_loaded_as_written(path, sensor):
    path.write_text(f"sensor = {toml(sensor)}\nled = {{driver = 'fake'}}\n")
    read = outcome(path)
    clash = sensor.get("power_pin") == sensor.get("pin", 4) and sensor.get("driver") != "fake"
    assert isinstance(read, Config) is not clash
    if not clash:
        assert {name: getattr(read.sensor, name) for name in sensor} == sensor


@given(raw=st.binary(max_size=200))
def test_any_bytes_give_a_config_or_mistakes(path, raw):
    path.write_bytes(raw)
    assert outcome(path)


@given(text=st.text(st.sampled_from("[]{}=.,\"'#\\\n 0a-"), max_size=60))
def test_anything_like_toml_gives_a_config_or_mistakes(path, text):
    path.write_text(text)
    assert outcome(path)
