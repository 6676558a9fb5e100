"""What a device needs to connect, as the page shows it."""

from consoles import ask


async def test_connection_settings_are_returned(http, central):
    body = await ask(http, "GET", "/console/api/central")
    assert body["idScope"] == central.id_scope
    assert body["provisioningHost"] == central.mqtt_host
    assert body["hub"] == central.mqtt_host
    assert body["caFile"] == str(central.ca_file)
    assert body["local"] is True
    async with http.get("/console/api/ca.pem") as response:
        assert await response.text() == central.ca_file.read_text()
