"""Devices by IoT Central's paths."""

import pytest
from consoles import MODEL_ID, ask, refused
from signed_in import console_token


async def test_a_device_is_created_read_changed_and_deleted(http):
    created = await ask(
        http, "PUT", "/api/devices/pi-1", {"displayName": "Kitchen", "template": MODEL_ID}
    )
    assert created == {
        "id": "pi-1",
        "etag": created["etag"],
        "displayName": "Kitchen",
        "template": MODEL_ID,
        "simulated": False,
        "provisioned": False,
        "enabled": True,
    }
    assert await ask(http, "GET", "/api/devices/pi-1?api-version=1.0") == created
    changed = await ask(http, "PATCH", "/api/devices/pi-1", {"enabled": False})
    assert changed["enabled"] is False
    assert changed["displayName"] == "Kitchen"
    assert changed["etag"] != created["etag"]
    await ask(http, "DELETE", "/api/devices/pi-1", expect=204)
    await refused(http, "GET", "/api/devices/pi-1", expect=404)


async def test_the_body_of_a_response_can_be_sent_back(http):
    created = await ask(http, "PUT", "/api/devices/pi-1", {})
    again = await ask(http, "PUT", "/api/devices/pi-1", created)
    assert again | {"etag": ""} == created | {"etag": ""}


async def test_a_device_can_be_created_blocked(http):
    assert (await ask(http, "PUT", "/api/devices/pi-1", {"enabled": False}))["enabled"] is False


async def test_a_template_can_be_removed_from_a_device(http):
    await ask(http, "PUT", "/api/devices/pi-1", {"template": MODEL_ID})
    assert "template" not in await ask(http, "PATCH", "/api/devices/pi-1", {"template": None})


async def test_the_list_has_pages(http):
    for number in range(5):
        await ask(http, "PUT", f"/api/devices/pi-{number}", {})
    seen, link = [], "/api/devices?api-version=1.0&$top=2"
    while link:
        page = await ask(http, "GET", link)
        seen += [device["id"] for device in page["value"]]
        link = page.get("nextLink")
    assert seen == [f"pi-{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"displayName": 5}, "displayName"),
        ({"displayName": ""}, "displayName"),
        ({"displayName": "x" * 257}, "displayName"),
        ({"enabled": 1}, "enabled"),
        ({"colour": "red"}, "colour"),
        ({"id": "pi-2"}, "pi-2"),
        ([], "object"),
    ],
)
async def test_a_malformed_device_is_refused(http, body, word):
    error = await refused(http, "PUT", "/api/devices/pi-1", body, expect=400)
    assert error["code"] == "InvalidBody"
    assert word in error["message"]
    await refused(http, "GET", "/api/devices/pi-1", expect=404)


async def test_an_invalid_device_id_is_refused(http):
    await refused(http, "PUT", "/api/devices/pi%20one", {}, expect=400)
    await refused(http, "PUT", f"/api/devices/{'x' * 129}", {}, expect=400)


async def test_an_unknown_template_is_refused(http):
    body = {"template": "dtmi:test:Nothing;1"}
    await refused(http, "PUT", "/api/devices/pi-1", body, expect=404)


async def test_an_etag_guards_against_lost_changes(http):
    device = await ask(http, "PUT", "/api/devices/pi-1", {})
    current = {"If-Match": device["etag"]}
    await ask(http, "PATCH", "/api/devices/pi-1", {"displayName": "A"}, headers=current)
    for method in ("PATCH", "PUT", "DELETE"):
        body = None if method == "DELETE" else {"displayName": "B"}
        path = "/api/devices/pi-1"
        await refused(http, method, path, body, headers=current, expect=412)
    only_new = {"If-None-Match": "*"}
    await refused(http, "PUT", "/api/devices/pi-1", {}, headers=only_new, expect=412)
    assert (await ask(http, "GET", "/api/devices/pi-1"))["displayName"] == "A"


async def test_credentials_are_the_devices_own(http, central):
    await ask(http, "PUT", "/api/devices/pi-1", {})
    primary, secondary = central.registry.keys("pi-1")
    found = await ask(http, "GET", "/api/devices/pi-1/credentials", headers=console_token(central))
    assert found == {
        "idScope": central.id_scope,
        "symmetricKey": {"primaryKey": primary, "secondaryKey": secondary},
    }


async def test_a_token_is_accepted_and_ignored(http):
    token = {"Authorization": "SharedAccessSignature sr=x&sig=y&skn=z&se=1"}
    await ask(http, "GET", "/api/devices?api-version=2022-07-31", headers=token)


async def test_a_list_that_is_filtered_has_only_what_matches_on_all_pages(http, central):
    for number in range(60):
        central.registry.add_device(f"pi-{number:02}", simulated=number % 2 == 0)
    link = "/api/devices?api-version=2022-10-31-preview&filter=simulated eq true&maxpagesize=7"
    seen, sizes = [], []
    while link:
        page = await ask(http, "GET", link)
        seen += [device["id"] for device in page["value"]]
        sizes.append(len(page["value"]))
        link = page.get("nextLink")
    assert seen == [f"pi-{number:02}" for number in range(0, 60, 2)]
    assert sizes == [7, 7, 7, 7, 2]


async def test_organizations_are_stored_and_replaced(http):
    path = "/api/devices/pi-1"
    created = await ask(http, "PUT", path, {"organizations": ["seattle", "redmond"]})
    assert created["organizations"] == ["seattle", "redmond"]
    await ask(http, "PATCH", path, {"displayName": "Kitchen"})
    assert (await ask(http, "GET", path))["organizations"] == ["seattle", "redmond"]
    assert "organizations" not in await ask(http, "PATCH", path, {"organizations": []})


async def test_one_of_several_etags_and_the_etag_in_the_body_are_conditions(http):
    path = "/api/devices/pi-1"
    first = await ask(http, "PUT", path, {}, headers={"If-None-Match": "*"})
    either = {"If-Match": f'"other", W/"{first["etag"]}"'}
    second = await ask(http, "PATCH", path, {"displayName": "A"}, headers=either)
    stale = {"displayName": "B", "etag": first["etag"]}
    error = await refused(http, "PATCH", path, stale, expect=412)
    assert error["code"] == "PreconditionFailed"
    third = await ask(http, "PATCH", path, {**stale, "etag": second["etag"]})
    assert third["displayName"] == "B"
    same = {"If-None-Match": third["etag"]}
    await refused(http, "PUT", path, {}, headers=same, expect=412)
    await ask(http, "DELETE", path, headers={"If-Match": "*"}, expect=204)
    await refused(http, "PUT", path, {}, headers={"If-Match": "*"}, expect=412)


async def test_a_condition_holds_until_the_change(http, central, monkeypatch):
    """The device registers, and so changes, after the condition was first checked."""
    device = await ask(http, "PUT", "/api/devices/pi-1", {})
    update = central.registry.update_device

    def update_late(*args, **kwargs):
        update("pi-1", display_name="Changed")
        return update(*args, **kwargs)

    monkeypatch.setattr(central.registry, "update_device", update_late)
    headers = {"If-Match": device["etag"]}
    body = {"displayName": "Mine"}
    await refused(http, "PATCH", "/api/devices/pi-1", body, headers=headers, expect=412)
    assert (await ask(http, "GET", "/api/devices/pi-1"))["displayName"] == "Changed"
