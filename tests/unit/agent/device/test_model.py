import json
import re
from importlib import resources

import pytest

from agent.cloud.move import COMMAND, FIELDS
from agent.device.limits import LIMITS, LimitStatus
from agent.device.model import (
    CELSIUS,
    COMPONENTS,
    FAHRENHEIT,
    MIGRATION,
    document,
    interface,
    model_id,
)
from agent.device.properties import READ_ONLY
from agent.device.validation import CHECKS
from hw import LedState, SensorStatus, SensorWarning

DTMI = re.compile(r"dtmi:[A-Za-z](?:\w*\w)?(?::[A-Za-z](?:\w*\w)?)*;[1-9]\d{0,8}")


@pytest.mark.parametrize("dtmi", [CELSIUS, FAHRENHEIT, *COMPONENTS])
def test_each_interface_is_in_the_file_of_its_name(dtmi):
    found = interface(dtmi)
    assert found["@id"] == dtmi
    assert DTMI.fullmatch(dtmi)
    assert found["@context"] == "dtmi:dtdl:context;2"


def test_there_are_no_other_files():
    with resources.as_file(resources.files("agent.device") / "dtmi") as directory:
        files = list(directory.rglob("*.json"))
    assert len(files) == 6  # Two versions of each model, deviceInformation and migration.


@pytest.mark.parametrize("dtmi", [CELSIUS, FAHRENHEIT])
def test_version_2_of_the_model_adds_to_version_1(dtmi):
    first = interface(dtmi.replace(";2", ";1"))["contents"]
    added = [content["name"] for content in interface(dtmi)["contents"] if content not in first]
    assert added == ["sensorWarning", "moveStatus", "limitStatus", *LIMITS, "migration"]
    assert all(content in interface(dtmi)["contents"] for content in first)


def test_the_enumerations_have_the_values_that_the_device_reports():
    for name, values in {
        "sensorStatus": SensorStatus,
        "sensorWarning": SensorWarning,
        "ledState": LedState,
        "limitStatus": LimitStatus,
    }.items():
        (found,) = (c for c in interface(CELSIUS)["contents"] if c["name"] == name)
        assert [one["enumValue"] for one in found["schema"]["enumValues"]] == list(values)


def test_the_component_migration_is_the_one_that_microsofts_migrator_looks_for():
    (component,) = (c for c in interface(CELSIUS)["contents"] if c["name"] == "migration")
    assert component["schema"] == MIGRATION == "dtmi:azureiot:DeviceMigration;1"
    (command,) = interface(MIGRATION)["contents"]
    assert (command["name"], command["request"]["name"]) == ("DeviceMove", "data")
    fields = command["request"]["schema"]["fields"]
    assert [(one["name"], one["schema"]) for one in fields] == [(name, "string") for name in FIELDS]
    assert f"{component['name']}*{command['name']}" == COMMAND


def test_the_unit_determines_the_model():
    assert model_id("celsius") == CELSIUS
    assert model_id("fahrenheit") == FAHRENHEIT


def test_the_two_models_differ_only_in_the_unit():
    celsius, fahrenheit = interface(CELSIUS), interface(FAHRENHEIT)
    temperatures = [c for c in celsius["contents"] if c.get("unit") == "degreeCelsius"]
    assert [c["name"] for c in temperatures] == ["temp", "temperatureLow", "temperatureHigh"]
    for content in temperatures:
        content["unit"] = "degreeFahrenheit"
        content["description"] = content["description"].replace("-40 to 125", "-40 to 257")
    assert celsius["contents"] == fahrenheit["contents"]


def test_names_are_valid_in_dtdl():
    for dtmi in (CELSIUS, *COMPONENTS):
        names = [content["name"] for content in interface(dtmi)["contents"]]
        assert len(names) == len(set(names))
        assert all(re.fullmatch(r"[A-Za-z]\w{0,62}", name) for name in names)


def test_the_document_contains_the_interfaces_it_refers_to():
    held = {one["@id"] for one in document("celsius")}
    referred = {
        content["schema"]
        for content in interface(CELSIUS)["contents"]
        if content["@type"] == "Component"
    }
    assert referred <= held
    json.dumps(document("fahrenheit"))


def kinds(content):
    kind = content["@type"]
    return {kind} if isinstance(kind, str) else set(kind)


def test_read_only_properties_are_those_that_are_not_writable():
    contents = interface(CELSIUS)["contents"]
    writable = {c["name"] for c in contents if c.get("writable")}
    reported = {c["name"] for c in contents if {"Property", "Component"} & kinds(c)}
    # The completion of a command that takes long is reported under its name.
    assert reported | {"rundiagnostics"} == writable | READ_ONLY
    assert writable == CHECKS.keys() | LIMITS.keys()
