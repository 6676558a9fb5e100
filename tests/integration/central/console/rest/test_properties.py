"""Properties by IoT Central's paths."""

import pytest
from consoles import MODEL_ID, ask, eventually, refused

from central.storage import devices


async def change(http, method, path, body):
    """Change properties, which is accepted and not yet done."""
    return await ask(http, method, path, body, expect=202)


async def test_properties_are_set_and_returned(http, central):
    central.registry.add_device("pi-1", template=MODEL_ID)
    path = "/api/devices/pi-1/properties"
    answer = await change(http, "PATCH", path, {"brightness": 2})
    assert answer == {"$metadata": {"brightness": {"desiredValue": 2}}}
    body = await ask(http, "GET", path)
    assert body["$metadata"]["brightness"]["desiredValue"] == 2
    await change(http, "PATCH", path, {**body, "name": "Ann"})
    assert central.store.read(devices.get_twin, "pi-1").desired == {
        "brightness": 2,
        "name": "Ann",
    }
    await change(http, "PUT", path, {"name": "Bo"})
    assert central.store.read(devices.get_twin, "pi-1").desired == {"name": "Bo"}
    await change(http, "PATCH", path, {"name": None})
    assert central.store.read(devices.get_twin, "pi-1").desired == {}


async def test_a_component_gets_the_mark_of_the_hub(http, central):
    central.registry.add_device("pi-1", template=MODEL_ID)
    path = "/api/devices/pi-1/components/information/properties"
    answer = await change(http, "PATCH", path, {"limit": 3})
    assert answer == {"$metadata": {"limit": {"desiredValue": 3}}}
    assert central.store.read(devices.get_twin, "pi-1").desired == {
        "information": {"__t": "c", "limit": 3}
    }
    assert (await ask(http, "GET", path))["$metadata"]["limit"]["desiredValue"] == 3
    await change(http, "PUT", path, {})
    assert central.store.read(devices.get_twin, "pi-1").desired == {"information": {"__t": "c"}}
    nested = {"information": {"limit": 4}}
    await change(http, "PATCH", "/api/devices/pi-1/properties", nested)
    assert central.store.read(devices.get_twin, "pi-1").desired["information"] == {
        "__t": "c",
        "limit": 4,
    }


async def test_the_components_of_a_device(http, central):
    central.registry.add_device("pi-1", template=MODEL_ID)
    await central.registry.patch_reported("pi-1", {"extra": {"__t": "c", "a": 1}})
    value = (await ask(http, "GET", "/api/devices/pi-1/components"))["value"]
    assert value == [
        {"@type": "Component", "name": "information", "displayName": "Information"},
        {"@type": "Component", "name": "extra", "displayName": "extra"},
    ]
    path = "/api/devices/pi-1/components/nothing/properties"
    await refused(http, "GET", path, expect=404)
    await refused(http, "PATCH", path, {}, expect=404)


@pytest.mark.parametrize("body", [{"brightnes": 2}, {"state": True}, {"$version": 2}])
async def test_properties_that_are_not_writable_are_refused(http, central, body):
    central.registry.add_device("pi-1", template=MODEL_ID)
    path = "/api/devices/pi-1/properties"
    error = await refused(http, "PATCH", path, body, expect=422)
    assert "brightness, name" in error["message"]
    assert central.store.read(devices.get_twin, "pi-1").desired == {}


async def test_without_a_model_any_valid_property_is_accepted(http, central):
    central.registry.add_device("pi-1")
    path = "/api/devices/pi-1/properties"
    await change(http, "PATCH", path, {"anything": {"at": ["all"]}})
    await refused(http, "PATCH", path, {"$version": 2}, expect=400)
    await refused(http, "PATCH", path, {"big": ["x" * 4000] * 10}, expect=400)
    assert central.store.read(devices.get_twin, "pi-1").desired == {"anything": {"at": ["all"]}}


async def test_a_value_is_pending_then_synced_or_refused(http, device):
    path = "/api/devices/pi-1/properties"

    async def answered():
        about = (await ask(http, "GET", path))["$metadata"]["brightness"]
        return about.get("ackVersion") == about["desiredVersion"] and about

    for value, code in [(2, 200), (9, 400)]:
        await ask(http, "PATCH", path, {"brightness": value}, expect=202)
        about = await eventually(answered)
        assert (about["desiredValue"], about["ackCode"]) == (value, code)
    assert about["ackDescription"] == "Brightness is 1, 2 or 3, not 9."
    await ask(http, "PATCH", path, {"name": "Ann"}, expect=202)
    assert (await answered())["ackCode"] == 400


CLOUD_ID = "dtmi:test:WithCloud;1"


async def with_cloud_properties(http, central):
    """Add pi-1, whose model has the cloud properties customer and part.place."""
    cloud = {"@type": ["Property", "Cloud", "StringValue"], "schema": "string"}
    part = {
        "@id": "dtmi:test:Part;1",
        "@type": "Interface",
        "contents": [{**cloud, "name": "place"}],
    }
    contents = [
        {**cloud, "name": "customer"},
        {"@type": "Property", "name": "brightness", "schema": "long", "writable": True},
        {"@type": "Component", "name": "part", "schema": part},
    ]
    model = {"@id": CLOUD_ID, "@type": "Interface", "contents": contents}
    await ask(http, "PUT", f"/api/deviceTemplates/{CLOUD_ID}", {"capabilityModel": model})
    central.registry.add_device("pi-1", template=CLOUD_ID)


async def test_cloud_properties_are_kept_by_central_and_not_sent(http, central):
    await with_cloud_properties(http, central)
    path = "/api/devices/pi-1/properties"
    body = {"customer": "Contoso", "brightness": 2, "part": {"place": "roof"}}
    assert await change(http, "PATCH", path, body) == {
        "customer": "Contoso",
        "part": {"place": "roof", "$metadata": {}},
        "$metadata": {"brightness": {"desiredValue": 2}},
    }
    twin = central.store.read(devices.get_twin, "pi-1")
    assert (twin.desired, twin.desired_version) == ({"brightness": 2}, 2)
    found = await ask(http, "GET", path)
    assert (found["customer"], found["part"]["place"]) == ("Contoso", "roof")
    assert found["$metadata"]["customer"].keys() == {"lastUpdateTime"}
    await change(http, "PATCH", path, found)
    await change(http, "PATCH", path, {"customer": None})
    assert "customer" not in await ask(http, "GET", path)
    assert central.store.read(devices.get_twin, "pi-1").desired_version == 2


async def test_all_cloud_properties_are_replaced(http, central):
    await with_cloud_properties(http, central)
    path, part = "/api/devices/pi-1/properties", "/api/devices/pi-1/components/part/properties"
    await change(http, "PATCH", path, {"customer": "Contoso", "part": {"place": "roof"}})
    await change(http, "PUT", part, {})
    assert "place" not in await ask(http, "GET", part)
    await change(http, "PUT", part, {"place": "cellar"})
    assert (await ask(http, "GET", part))["place"] == "cellar"
    await change(http, "PUT", path, {"brightness": 1})
    found = await ask(http, "GET", path)
    assert found.keys() & {"customer", "place"} == set()
    assert "place" not in found.get("part", {})


async def test_cloud_properties_have_the_bounds_of_a_twin(http, central):
    await with_cloud_properties(http, central)
    path = "/api/devices/pi-1/properties"
    for value in ("x" * 4097, ["x" * 4000] * 9, {"a.b": 1}):
        body = {"customer": value, "brightness": 2}
        await refused(http, "PATCH", path, body, expect=400)
    assert await ask(http, "GET", path) == {"$metadata": {}}
