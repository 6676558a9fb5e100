from dataclasses import replace
from pathlib import Path

import pytest

from agent.config.changes import Applied, changes
from agent.config.loader import CloudConfig, Config, DeviceConfig, SensorConfig
from agent.config.schema import KEYS

RUNNING = Config(
    device=DeviceConfig(id="pi-1"),
    cloud=CloudConfig(id_scope="0ne00000000", key_file=Path("device.key")),
    sensor=SensorConfig(driver="kernel"),
)
ADVICE = "To restart it: ..."


def changed(section, name, value, config=RUNNING):
    return replace(config, **{section: replace(getattr(config, section), **{name: value})})


def another_value(key, value):
    if key.rule.choices:
        return next(choice for choice in key.rule.choices if choice != value)
    if key.kind is bool:
        return not value
    if key.is_text:
        return key.kind("another")
    return key.rule.low if value != key.rule.low else key.rule.high


@pytest.mark.parametrize("key", [key for keys in KEYS.values() for key in keys.values()])
def test_a_change_of_a_key_applies_at_once_or_needs_a_restart(key):
    value = another_value(key, getattr(getattr(RUNNING, key.section), key.name))
    wanted = changed(key.section, key.name, value)
    found = changes(RUNNING, wanted)
    name = f"{key.name} in [{key.section}]"
    if key.rule.is_live:
        assert (found.applied, found.restart, found.config) == ((name,), (), wanted)
    else:
        assert (found.applied, found.restart, found.config) == ((), (name,), RUNNING)


def test_an_unchanged_file_changes_nothing():
    found = changes(RUNNING, replace(RUNNING))
    assert (found.applied, found.restart, found.config) == ((), (), RUNNING)


def test_id_and_hub_of_a_connection_string_are_not_compared_with_the_file():
    with_string = CloudConfig(connection_string_file=Path("device.connection"))
    wanted = replace(RUNNING, device=DeviceConfig(id=""), cloud=with_string)
    running = replace(RUNNING, cloud=replace(with_string, hub="hub.test"))
    assert changes(running, wanted).restart == ()


def test_the_model_of_a_driver_for_one_model_is_not_named():
    wanted = replace(RUNNING, sensor=SensorConfig(driver="dht11", model="dht11"))
    assert changes(RUNNING, wanted).restart == ("driver in [sensor]",)


@pytest.mark.parametrize(
    ("running", "wanted"),
    [(RUNNING, replace(RUNNING, cloud=None)), (replace(RUNNING, cloud=None), RUNNING)],
)
def test_a_new_or_removed_cloud_section_needs_a_restart(running, wanted):
    found = changes(running, wanted)
    assert (found.restart, found.config) == (("[cloud]",), running)


@pytest.mark.parametrize(
    ("applied", "restart", "overridden", "sentences"),
    [
        (
            ["interval in [sensor]", "level in [log]"],
            [],
            ["interval in [sensor]"],
            [
                "Applied x.toml: interval in [sensor], level in [log].",
                "The operator's value stays in force for: interval in [sensor].",
            ],
        ),
        (
            ["level in [log]"],
            ["pin in [led]"],
            [],
            [
                "Applied x.toml: level in [log].",
                f"These changes need a restart: pin in [led]. {ADVICE}",
            ],
        ),
        (
            [],
            ["pin in [led]"],
            [],
            [f"These changes in x.toml need a restart: pin in [led]. {ADVICE}"],
        ),
        (
            [],
            [],
            [],
            [f"x.toml has no changed setting. New keys and certificates need a restart. {ADVICE}"],
        ),
    ],
)
def test_the_outcome_is_one_sentence_for_each_kind(applied, restart, overridden, sentences):
    assert Applied("x.toml", applied, restart, overridden).sentences(ADVICE) == sentences
