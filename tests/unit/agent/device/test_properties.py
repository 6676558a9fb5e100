import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operated import OperatedDaemon, limit_properties
from strategies import json_values

from agent.device.limits import NO_LIMITS, believable, check_limit, in_force, in_unit
from agent.device.properties import MAX_UNKNOWN_ANSWERED, READ_ONLY, Properties, stored_limits
from hw import LedError

DEFAULTS = {"name": "", "brightness": 1, "telemetryInterval": 60}


class Rig(OperatedDaemon):
    def __init__(self, *, property_format="plug-and-play", limits=None, **stored):
        super().__init__()
        self.properties = Properties(
            self,
            self,
            defaults=DEFAULTS,
            stored=stored,
            limits=limits or limit_properties(),
            property_format=property_format,
        )


@pytest.fixture
def rig():
    return Rig()


async def test_the_twin_is_applied_and_acknowledged_with_its_version(rig):
    await rig.properties.apply_twin({"desired": {"brightness": 2, "name": "Ada", "$version": 7}})
    assert rig.reported["brightness"] == {"value": 2, "ac": 200, "av": 7, "ad": "completed"}
    assert rig.reported["name"] == {"value": "Ada", "ac": 200, "av": 7, "ad": "completed"}
    assert rig.done == [("brightness", 2)]
    assert rig.kept == {"property.brightness": 2, "property.name": "Ada"}


async def test_a_property_without_desired_value_is_reported_as_the_devices_default(rig):
    await rig.properties.apply_twin({"desired": {"$version": 1}, "reported": {}})
    for name, value in {**DEFAULTS, **NO_LIMITS}.items():
        ack = rig.reported[name]
        assert (ack["value"], ack["ac"], ack["av"]) == (value, 203, 0)


async def test_changed_defaults_are_reported_unless_the_operator_has_set_a_value(rig):
    await rig.properties.apply_twin({"desired": {"brightness": 2, "$version": 7}})
    rig.reported.clear()
    rig.properties.set_defaults({"name": "", "brightness": 3, "telemetryInterval": 30})
    assert rig.reported == {
        "telemetryInterval": {"value": 30, "ac": 203, "av": 0, "ad": "No desired value is set."}
    }
    assert rig.properties.values == {
        "name": "",
        "brightness": 2,
        "telemetryInterval": 30,
        **NO_LIMITS,
    }
    assert rig.properties.set_by_operator == {"brightness": 2}


async def test_a_wrapped_value_is_the_same_as_a_bare_one(rig):
    await rig.properties.apply_patch({"brightness": {"value": 3}, "$version": 4})
    assert rig.reported["brightness"]["value"] == 3
    assert rig.done == [("brightness", 3)]


async def test_the_preview_format_is_that_of_the_tutorial(rig):
    rig = Rig(property_format="preview")
    await rig.properties.apply_patch({"brightness": {"value": 3}, "$version": 4})
    assert rig.reported["brightness"] == {
        "value": 3,
        "status": "completed",
        "desiredVersion": 4,
        "message": "completed",
    }
    await rig.properties.apply_patch({"brightness": {"value": 9}, "$version": 5})
    assert rig.reported["brightness"]["status"] == "failed"
    assert rig.reported["brightness"]["value"] == 3


async def test_a_value_in_force_is_acknowledged_but_not_set_again():
    rig = Rig(brightness=2)
    await rig.properties.apply_patch({"brightness": 2, "$version": 4})
    assert rig.reported["brightness"]["ac"] == 200
    assert rig.done == []


async def test_a_desired_value_equal_to_the_default_is_set_and_stored(rig):
    await rig.properties.apply_patch({"telemetryInterval": 60, "$version": 4})
    assert rig.done == [("interval", 60)]
    assert rig.kept == {"property.telemetryInterval": 60}


REFUSED = {
    "brightness": [True, "2", 0, 4, 1.5, -1, [], {}, {"value": "2"}, float("nan"), 1e308 * 10],
    "telemetryInterval": [False, "60", 4, 86401, 5.5, None.__class__, -60],
    "name": [5, True, ["Ada"], {"first": "Ada"}, "x" * 257],
    "temperatureHigh": [True, "30", -40.1, 125.1, -39, [], {}, float("nan"), 10**400],
    "humidityLow": [-1, 101, 100, 96, "dry", {"value": "dry"}],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values]
)
async def test_a_bad_value_is_refused_with_a_reason_and_changes_nothing(rig, name, value):
    before = dict(rig.properties.values)
    await rig.properties.apply_patch({name: value, "$version": 4})
    ack = rig.reported[name]
    assert (ack["value"], ack["ac"], ack["av"]) == (before[name], 400, 4)
    assert "must" in ack["ad"]
    assert rig.properties.values == before
    assert rig.done == []
    assert rig.kept == {}


async def test_removing_a_desired_value_leaves_it_in_force(rig):
    await rig.properties.apply_patch({"brightness": 2, "$version": 4})
    await rig.properties.apply_patch({"brightness": None, "$version": 5})
    ack = rig.reported["brightness"]
    assert (ack["value"], ack["ac"], ack["av"]) == (2, 203, 0)


async def test_an_unknown_property_is_answered_404(rig):
    await rig.properties.apply_patch({"colour": "red", "$version": 4})
    assert rig.reported["colour"]["ac"] == 404


async def test_many_unknown_properties_do_not_fill_the_twin(rig):
    await rig.properties.apply_patch({f"p{n}": n for n in range(1000)} | {"$version": 4})
    assert len(rig.reported) == 16


@pytest.mark.parametrize("property_format", ["plug-and-play", "preview"])
async def test_what_an_earlier_run_has_refused_is_no_new_warning(property_format, caplog):
    desired = {"brightness": 9, "volume": 1, "$version": 4}
    first = Rig(property_format=property_format)
    await first.properties.apply_twin({"desired": desired, "reported": {}})
    assert len(caplog.records) == 2
    caplog.clear()
    caplog.set_level("INFO")
    again = Rig(property_format=property_format)
    twin = {"desired": desired | {"$version": 5}, "reported": first.reported}
    await again.properties.apply_twin(twin)
    assert caplog.records == []
    assert set(again.reported) == set(first.reported)
    await again.properties.apply_patch({"brightness": 9, "volume": 2, "$version": 6})
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


@given(json_values)
async def test_an_earlier_answer_may_be_anything(answer):
    twin = {"desired": {"brightness": 9}, "reported": {"brightness": {"ad": answer}}}
    rig = Rig()
    await rig.properties.apply_twin(twin)
    await rig.properties.apply_twin(twin | {"reported": {"brightness": answer}})
    assert rig.reported["brightness"]["ac"] == 400


async def test_unknown_properties_beyond_the_first_are_summed_up_in_one_warning(rig, caplog):
    for _ in range(2):
        await rig.properties.apply_patch({f"x{number}": 1 for number in range(500)})
    warnings = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == MAX_UNKNOWN_ANSWERED + 1
    assert warnings[-1] == "There are more than 16 unknown desired properties."


@pytest.mark.parametrize("name", ["a b", "a.b", "a$b", "a#", "\x00", "\ud800", "x" * 10_000])
async def test_a_name_that_the_hub_refuses_is_not_answered(rig, name, caplog):
    await rig.properties.apply_patch({name: 1})
    assert rig.reported == {}
    assert caplog.text.count("Unknown desired property") == 1
    await rig.properties.apply_patch({name: None})
    assert rig.reported == {}


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "text", [], [{"brightness": 2}], [[[]]]])
async def test_a_twin_that_is_not_an_object_is_ignored_with_one_warning(rig, value, caplog):
    for _ in range(2):
        await rig.properties.apply_twin(value)
        await rig.properties.apply_twin({"desired": value})
        await rig.properties.apply_patch(value)
    assert rig.reported == {}
    warnings = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert [warning.partition(":")[0] for warning in warnings] == [
        "Ignored the twin",
        "Ignored a change of desired properties",
    ]
    await rig.properties.apply_patch({"brightness": 2, "$version": 1})
    assert rig.reported["brightness"]["ac"] == 200


@pytest.mark.parametrize("version", [None, "7", True, -1, 1.5, float("nan"), 2**63, 10**400, []])
async def test_a_version_that_is_not_a_number_of_the_hub_is_ignored(rig, version):
    await rig.properties.apply_patch({"brightness": 2, "$version": version})
    await rig.properties.apply_patch({"brightness": 3, "$version": 1})
    assert rig.reported["brightness"]["value"] == 3


async def test_removing_an_unknown_property_removes_its_answer(rig):
    await rig.properties.apply_patch({"colour": "red", "$version": 4})
    await rig.properties.apply_patch({"colour": None, "size": None, "$version": 5})
    assert rig.reported == {"colour": None}


@pytest.mark.parametrize("name", sorted(READ_ONLY))
async def test_a_desired_value_does_not_overwrite_a_read_only_property(rig, name, caplog):
    await rig.properties.apply_patch({name: "something", "$version": 4})
    await rig.properties.apply_patch({name: None, "$version": 5})
    assert rig.reported == {}
    assert name in caplog.text


async def test_a_patch_with_only_a_version_changes_nothing(rig):
    await rig.properties.apply_patch({"$version": 4})
    assert rig.reported == {}


async def test_a_patch_that_the_twin_already_contained_is_skipped(rig):
    await rig.properties.apply_twin({"desired": {"brightness": 2, "$version": 7}})
    await rig.properties.apply_patch({"brightness": 3, "$version": 6})
    assert rig.properties.values["brightness"] == 2
    await rig.properties.apply_patch({"brightness": 3, "$version": 8})
    assert rig.properties.values["brightness"] == 3


async def test_versions_of_a_device_recreated_at_the_hub_start_again(rig):
    await rig.properties.apply_twin({"desired": {"brightness": 2, "$version": 70}})
    await rig.properties.apply_twin({"desired": {"$version": 1}})
    await rig.properties.apply_patch({"brightness": 3, "$version": 2})
    assert rig.properties.values["brightness"] == 3


async def test_the_brightness_is_unchanged_if_the_led_fails(rig):
    rig.broken = LedError("The line is busy.")
    await rig.properties.apply_patch({"brightness": 2, "$version": 4})
    ack = rig.reported["brightness"]
    assert (ack["value"], ack["ac"]) == (1, 500)
    assert "The line is busy" in ack["ad"]


names = st.sampled_from(["name", "brightness", "temperatureLow", "temperatureHigh", "$version"])


@given(st.dictionaries(names | st.text(), json_values | st.floats(-45, 130), max_size=6))
def test_any_patch_leaves_valid_values(patch):
    async def scenario():
        rig = Rig()
        await rig.properties.apply_patch(patch)
        await rig.properties.apply_twin({"desired": patch})
        values = rig.properties.values
        assert values["brightness"] in {1, 2, 3}
        assert not isinstance(values["brightness"], bool)
        assert 5 <= values["telemetryInterval"] <= 86400
        assert isinstance(values["name"], str)
        assert len(values["name"]) <= 256
        assert -40 <= values["temperatureLow"] < values["temperatureHigh"] - 1
        assert values["temperatureHigh"] <= 125
        json.dumps(rig.reported, allow_nan=False)
        assert not any(name.startswith("$") for name in rig.reported)

    asyncio.run(scenario())


@given(json_values)
def test_any_twin_is_accepted(twin):
    async def scenario():
        await Rig().properties.apply_twin(twin)
        await Rig().properties.apply_twin({"desired": twin})
        await Rig().properties.apply_patch(twin)

    asyncio.run(scenario())


# The limits, which are judged together.

FILE = {**NO_LIMITS, "temperatureLow": 10.0, "temperatureHigh": 30.0}


def with_file_limits(**operator):
    return Rig(limits=limit_properties(file=FILE, operator=operator))


def answer(rig, name):
    ack = rig.reported[name]
    return ack["value"], ack["ac"]


async def test_a_desired_limit_is_in_force_acknowledged_and_kept(rig, caplog):
    caplog.set_level("INFO")
    await rig.properties.apply_patch({"temperatureHigh": 28, "$version": 4})
    ack = rig.reported["temperatureHigh"]
    assert ack == {"value": 28, "ac": 200, "av": 4, "ad": "completed"}
    assert rig.done == [("limits", {"temperatureHigh": 28.0})]
    assert rig.kept == {"property.limits": {"temperatureHigh": 28.0}}
    assert caplog.messages == ["temperatureHigh is now 28.0."]
    await rig.properties.apply_patch({"temperatureHigh": 28, "$version": 5})
    assert len(rig.done) == 1


async def test_both_limits_move_in_one_patch_whatever_their_order():
    rig = with_file_limits()
    await rig.properties.apply_patch({"temperatureLow": 35, "temperatureHigh": 40, "$version": 4})
    await rig.properties.apply_patch({"temperatureHigh": 9, "temperatureLow": 5, "$version": 5})
    assert rig.done == [
        ("limits", {"temperatureLow": 35.0, "temperatureHigh": 40.0}),
        ("limits", {"temperatureLow": 5.0, "temperatureHigh": 9.0}),
    ]


async def test_limits_that_contradict_each_other_are_refused_and_nothing_changes(rig):
    await rig.properties.apply_patch(
        {"temperatureLow": 20, "temperatureHigh": 21, "humidityHigh": 70, "$version": 4}
    )
    sentence = "temperatureLow (20) must be more than 1 degree Celsius below temperatureHigh (21)."
    for name, end in (("temperatureLow", -40), ("temperatureHigh", 125)):
        assert answer(rig, name) == (end, 400)
        assert rig.reported[name]["ad"] == sentence
    assert answer(rig, "humidityHigh") == (70, 200)
    assert rig.done == [("limits", {"humidityHigh": 70.0})]


async def test_a_limit_that_contradicts_the_configurations_is_refused():
    rig = with_file_limits()
    await rig.properties.apply_patch({"temperatureLow": 29.5, "$version": 4})
    assert answer(rig, "temperatureLow") == (10, 400)
    assert rig.done == []


async def test_of_a_pair_with_one_bad_value_the_other_is_judged_with_what_is_in_force(rig):
    await rig.properties.apply_patch({"temperatureLow": "x", "temperatureHigh": 30, "$version": 4})
    assert answer(rig, "temperatureLow") == (-40, 400)
    assert answer(rig, "temperatureHigh") == (30, 200)


@pytest.mark.parametrize("removal", [None, {"value": None}])
async def test_removing_a_desired_limit_restores_the_configurations(removal):
    rig = with_file_limits(temperatureHigh=50.0)
    assert rig.properties.values["temperatureHigh"] == 50
    await rig.properties.apply_patch({"temperatureHigh": removal, "$version": 4})
    assert answer(rig, "temperatureHigh") == (30, 203)
    assert rig.done == [("limits", {"temperatureLow": 10.0, "temperatureHigh": 30.0})]
    assert rig.kept == {"property.limits": None}


async def test_a_limit_removed_while_the_device_was_offline_is_restored_too():
    rig = with_file_limits(temperatureHigh=50.0)
    await rig.properties.apply_twin({"desired": {"$version": 9}})
    assert answer(rig, "temperatureHigh") == (30, 203)


async def test_a_twin_without_a_version_removes_no_limit():
    rig = with_file_limits(temperatureHigh=50.0)
    await rig.properties.apply_twin({})
    assert rig.properties.values["temperatureHigh"] == 50
    assert rig.done == []


async def test_a_restored_limit_that_contradicts_the_operators_is_not_in_force():
    rig = with_file_limits(temperatureLow=35.0, temperatureHigh=40.0)
    await rig.properties.apply_patch({"temperatureHigh": None, "$version": 4})
    ack = rig.reported["temperatureHigh"]
    assert (ack["value"], ack["ac"]) == (125, 203)
    assert "contradicts another one, so it is not in force." in ack["ad"]
    # The operator's own limit, which the hub sends again with the whole twin, is accepted again.
    await rig.properties.apply_twin({"desired": {"temperatureLow": 35, "$version": 5}})
    assert answer(rig, "temperatureLow") == (35, 200)
    await rig.properties.apply_patch({"temperatureLow": None, "$version": 6})
    assert answer(rig, "temperatureLow") == (10, 203)
    assert answer(rig, "temperatureHigh") == (30, 203)


async def test_a_changed_configuration_is_reported_where_it_is_in_force():
    rig = with_file_limits(temperatureHigh=50.0)
    rig.properties.set_file_limits({**FILE, "temperatureLow": 12.0, "temperatureHigh": 20.0})
    assert list(rig.reported) == ["temperatureLow"]
    assert answer(rig, "temperatureLow") == (12, 203)


async def test_limits_are_in_the_models_unit_and_kept_in_celsius():
    rig = Rig(limits=limit_properties(file=FILE, unit="fahrenheit"))
    assert rig.properties.values["temperatureLow"] == 50
    assert rig.properties.values["humidityHigh"] == 100
    await rig.properties.apply_patch({"temperatureHigh": 77.9, "humidityLow": 40, "$version": 4})
    assert answer(rig, "temperatureHigh") == (77.9, 200)
    assert rig.properties.limits_by_operator == {"temperatureHigh": 25.5, "humidityLow": 40.0}
    await rig.properties.apply_patch({"temperatureHigh": 258, "$version": 5})
    assert rig.reported["temperatureHigh"]["ad"] == (
        "temperatureHigh must be a number from -40 to 257, not 258."
    )
    await rig.properties.apply_patch({"temperatureHigh": 51.8, "$version": 6})
    assert "must be more than 1.8 degrees Fahrenheit below" in rig.reported["temperatureHigh"]["ad"]
    await rig.properties.apply_patch({"temperatureHigh": 257, "$version": 7})
    assert rig.properties.values["temperatureHigh"] == 257
    assert rig.done[-1][1].keys() == {"temperatureLow", "humidityLow"}  # 257 means none.


@given(st.decimals(-39, 256, places=6))
def test_a_limit_in_fahrenheit_is_reported_as_it_was_set(decimal):
    limit = check_limit("temperatureHigh", float(decimal), "fahrenheit")
    assert in_unit("temperatureHigh", limit, "fahrenheit") == float(decimal)


async def test_stored_limits_are_in_force_after_a_restart(rig):
    await rig.properties.apply_patch({"temperatureLow": 5, "humidityHigh": 80, "$version": 4})
    assert await stored_limits(rig) == {"temperatureLow": 5.0, "humidityHigh": 80.0}


@pytest.mark.parametrize(
    ("stored", "believed"),
    [
        (None, {}),
        ([5], {}),
        ({"temperatureLow": "5", "humidityHigh": 80.0, "colour": 1.0}, {"humidityHigh": 80.0}),
        ({"temperatureLow": 20.0, "temperatureHigh": 10.0}, {}),
        ({"temperatureLow": 1e9, "temperatureHigh": float("nan")}, {}),
    ],
)
async def test_stored_limits_that_are_not_possible_are_left_out(rig, stored, believed):
    rig.kept["property.limits"] = stored
    assert await stored_limits(rig) == believed


@given(json_values)
def test_whatever_was_stored_gives_possible_limits(stored):
    values = in_force(FILE, believable(stored))
    assert values["temperatureLow"] < values["temperatureHigh"] - 1
