"""Device templates by IoT Central's paths."""

import pytest
from consoles import INFORMATION_ID, MODEL_ID, ask, refused


async def test_a_template_is_imported_read_renamed_and_deleted(http):
    path = "/api/deviceTemplates/dtmi:test:Other;1"
    body = {"displayName": "Other", "capabilityModel": {"@type": "Interface", "contents": []}}
    created = await ask(http, "PUT", path, body)
    assert created["@type"] == ["ModelDefinition", "DeviceModel"]
    assert created["capabilityModel"]["@id"] == "dtmi:test:Other;1"
    assert await ask(http, "PUT", path, created) == created
    renamed = await ask(http, "PATCH", path, {"displayName": "Another"})
    assert renamed["displayName"] == "Another"
    listed = (await ask(http, "GET", "/api/deviceTemplates"))["value"]
    assert [each["@id"] for each in listed] == [MODEL_ID, INFORMATION_ID, "dtmi:test:Other;1"]
    await ask(http, "DELETE", path, expect=204)
    for method in ("GET", "DELETE"):
        await refused(http, method, path, expect=404)


async def test_a_template_may_have_another_id_than_its_interface(http, central):
    """As in the examples of IoT Central's documentation."""
    model = {"@id": "dtmi:contoso:mythermostat;1", "@type": "Interface", "contents": []}
    path = "/api/deviceTemplates/dtmi:contoso:mythermostattemplate;1"
    created = await ask(http, "PUT", path, {"capabilityModel": model})
    assert created["@id"] == "dtmi:contoso:mythermostattemplate;1"
    assert created["capabilityModel"] == model
    await refused(http, "GET", f"/api/deviceTemplates/{model['@id']}", expect=404)
    await central.registry.register("pi-9", model["@id"])
    device = await ask(http, "GET", "/api/devices/pi-9")
    assert device["template"] == created["@id"]
    await refused(http, "DELETE", path, expect=409)


async def test_a_template_from_the_documentation_is_accepted_and_patched(http):
    """Its `@context` is no mistake, and a patch names only what changes (RFC 7396)."""
    capabilities = {"@id": "dtmi:contoso:Thermostat;1", "@type": "Interface", "contents": []}
    body = {
        "displayName": "Thermostat",
        "@id": "dtmi:contoso:mythermostattemplate;1",
        "@type": ["ModelDefinition", "DeviceModel"],
        "@context": ["dtmi:iotcentral:context;2", "dtmi:dtdl:context;2"],
        "capabilityModel": capabilities,
    }
    path = f"/api/deviceTemplates/{body['@id']}"
    created = await ask(http, "PUT", path, body)
    assert created == {**body, "etag": created["etag"]}
    contents = [{"@type": "Telemetry", "name": "temperature", "schema": "double"}]
    changed = await ask(http, "PATCH", path, {"capabilityModel": {"contents": contents}})
    model = {**capabilities, "contents": contents}
    assert changed == {**body, "etag": changed["etag"], "capabilityModel": model}
    assert changed["etag"] != created["etag"]


async def test_a_template_in_use_is_kept(http, central):
    central.registry.add_device("pi-1", template=MODEL_ID)
    error = await refused(http, "DELETE", f"/api/deviceTemplates/{MODEL_ID}", expect=409)
    assert "pi-1" in error["message"]


@pytest.mark.parametrize(
    "model", [None, [], {}, {"@type": "Property"}, {"@type": "Interface", "contents": [1]}]
)
async def test_an_invalid_interface_is_refused(http, model):
    path = "/api/deviceTemplates/dtmi:test:Other;1"
    await refused(http, "PUT", path, {"capabilityModel": model}, expect=400)


async def test_a_template_whose_model_is_too_large_is_refused(http):
    path = "/api/deviceTemplates/dtmi:test:Other;1"
    fields = [{"name": f"f{n}", "schema": "dtmi:test:S;1"} for n in range(1000)]
    model = {
        "@type": "Interface",
        "schemas": [{"@id": "dtmi:test:S;1", "@type": "Object", "fields": fields}],
        "contents": [{"@type": "Telemetry", "name": "nested", "schema": "dtmi:test:S;1"}],
    }
    error = await refused(http, "PUT", path, {"capabilityModel": model}, expect=422)
    assert "too large" in error["message"]
    await refused(http, "GET", path, expect=404)


async def test_models_that_a_component_makes_too_large_are_listed_empty(http, central):
    whole, part = "dtmi:test:Other;1", "dtmi:test:Part;1"
    components = [{"@type": "Component", "name": f"c{n}", "schema": part} for n in range(200)]
    model = {"@type": "Interface", "contents": components}
    await ask(http, "PUT", f"/api/deviceTemplates/{whole}", {"capabilityModel": model})
    contents = [{"@type": "Telemetry", "name": f"t{n}", "schema": "double"} for n in range(200)]
    model = {"@type": "Interface", "contents": contents}
    await ask(http, "PUT", f"/api/deviceTemplates/{part}", {"capabilityModel": model})
    central.registry.add_device("pi-1", template=whole)

    models = (await ask(http, "GET", "/console/api/models"))["value"]
    [listed] = [each for each in models if each["id"] == whole]
    assert (listed["telemetry"], listed["users"]) == ([], 1)
    [device] = (await ask(http, "GET", "/console/api/devices"))["value"]
    assert device["id"] == "pi-1"
    assert await ask(http, "GET", "/console/api/devices/pi-1/model") is None
    error = await refused(http, "PATCH", "/api/devices/pi-1/properties", {"x": 1}, expect=422)
    assert "too large" in error["message"]


async def test_a_dtmi_of_dtdl_3_has_a_minor_version(http):
    path = "/api/deviceTemplates/dtmi:test:Other;2.1"
    created = await ask(http, "PUT", path, {"capabilityModel": {"@type": "Interface"}})
    assert created["capabilityModel"]["@id"] == "dtmi:test:Other;2.1"


@pytest.mark.parametrize(
    "dtmi", ["Other", "dtmi:test:Other", "dtmi:test:Other;0", "dtmi:test:Other;1."]
)
async def test_an_invalid_dtmi_is_refused(http, dtmi):
    body = {"capabilityModel": {"@type": "Interface"}}
    await refused(http, "PUT", f"/api/deviceTemplates/{dtmi}", body, expect=400)


async def test_an_etag_guards_templates_against_lost_changes(http):
    path = "/api/deviceTemplates/dtmi:test:Other;1"
    body = {"displayName": "A", "capabilityModel": {"@type": "Interface", "contents": []}}
    first = await ask(http, "PUT", path, body, headers={"If-None-Match": "*"})
    await refused(http, "PUT", path, body, headers={"If-None-Match": "*"}, expect=412)
    current = {"If-Match": first["etag"]}
    second = await ask(http, "PATCH", path, {"displayName": "B"}, headers=current)
    assert second["etag"] != first["etag"]
    for method, change in [("PATCH", {"displayName": "C"}), ("PUT", body), ("DELETE", None)]:
        await refused(http, method, path, change, headers=current, expect=412)
    await refused(http, "PUT", path, first, expect=412)  # Its etag is in the body.
    assert await ask(http, "GET", path) == second
    await ask(http, "DELETE", path, headers={"If-Match": second["etag"]}, expect=204)


async def test_the_template_has_a_name_of_its_own_beside_its_models(http):
    path = "/api/deviceTemplates/dtmi:test:Other;1"
    model = {"@type": "Interface", "displayName": "Model", "contents": []}
    body = {"displayName": "Template", "description": "For tests", "capabilityModel": model}
    created = await ask(http, "PUT", path, body)
    assert (created["displayName"], created["description"]) == ("Template", "For tests")
    assert created["capabilityModel"]["displayName"] == "Model"
    models = (await ask(http, "GET", "/console/api/models"))["value"]
    assert "Template" in {each["label"] for each in models}


async def test_components_and_extended_interfaces_are_inlined(http):
    base = {"@id": "dtmi:test:Base;1", "@type": "Interface", "extends": "dtmi:test:Base;1"}
    await ask(http, "PUT", "/api/deviceTemplates/dtmi:test:Base;1", {"capabilityModel": base})
    components = [
        {"@type": "Component", "name": name, "schema": schema}
        for name, schema in [("known", INFORMATION_ID), ("unknown", "dtmi:test:Nothing;1")]
    ]
    model = {"@type": "Interface", "extends": ["dtmi:test:Base;1"], "contents": components}
    path = "/api/deviceTemplates/dtmi:test:Other;1"
    shown = (await ask(http, "PUT", path, {"capabilityModel": model}))["capabilityModel"]
    assert shown["contents"][0]["schema"]["displayName"] == "Information"
    assert shown["contents"][1]["schema"] == "dtmi:test:Nothing;1"
    assert shown["extends"][0]["@id"] == "dtmi:test:Base;1"
    listed = await ask(http, "GET", "/api/deviceTemplates?filter='@id' eq 'dtmi:test:Other;1'")
    assert listed["value"][0]["capabilityModel"] == shown


async def test_what_is_inlined_is_bounded(http):
    part = "dtmi:test:Part;1"
    large = {"@type": "Interface", "contents": [], "comment": "x" * 100_000}
    await ask(http, "PUT", f"/api/deviceTemplates/{part}", {"capabilityModel": large})
    components = [{"@type": "Component", "name": f"c{n}", "schema": part} for n in range(1000)]
    model = {"@type": "Interface", "contents": components}
    path = "/api/deviceTemplates/dtmi:test:Other;1"
    shown = await ask(http, "PUT", path, {"capabilityModel": model})
    schemas = [each["schema"] for each in shown["capabilityModel"]["contents"]]
    assert len([each for each in schemas if each != part]) == 10


@pytest.mark.parametrize("name", ["a.b", "a b", "$a", "a#", "a\x01", "", "x" * 1025])
async def test_a_model_with_a_name_that_the_hub_refuses_is_refused(http, name):
    contents = [{"@type": "Telemetry", "name": name, "schema": "double"}]
    body = {"capabilityModel": {"@type": "Interface", "contents": contents}}
    path = "/api/deviceTemplates/dtmi:test:Other;1"
    error = await refused(http, "PUT", path, body, expect=400)
    assert "name" in error["message"]


@pytest.mark.parametrize(
    "about",
    [
        {"@type": ["DeviceModel"]},
        {"@type": "ModelDefinition"},
        {"@type": ["ModelDefinition", "DeviceModel", "Toaster"]},
        {"@context": 5},
        {"@context": ["x"] * 11},
        {"description": 5},
        {"displayName": "x" * 257},
        {"colour": "red"},
    ],
)
async def test_a_field_of_a_template_that_is_not_understood_is_refused(http, about):
    body = {"capabilityModel": {"@type": "Interface", "contents": []}, **about}
    path = "/api/deviceTemplates/dtmi:test:Other;1"
    error = await refused(http, "PUT", path, body, expect=400)
    assert min(about) in error["message"]
    await refused(http, "GET", path, expect=404)
