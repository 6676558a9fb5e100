"""The last telemetry by IoT Central's paths."""

from consoles import ask, record, refused


async def test_the_last_value_is_the_newest_by_creation_time(http, central):
    central.registry.add_device("pi-1")
    for created, value in [(1000.25, 20.5), (900.0, 19.0)]:
        await record(central, {"temp": value}, created=created)
    assert await ask(http, "GET", "/api/devices/pi-1/telemetry/temp") == {
        "timestamp": "1970-01-01T00:16:40.250Z",
        "value": 20.5,
    }
    await refused(http, "GET", "/api/devices/pi-1/telemetry/humid", expect=404)


async def test_telemetry_of_a_component(http, central):
    central.registry.add_device("pi-1")
    await record(central, {"temp": 1}, created=5.0, component="inside")
    path = "/api/devices/pi-1/components/inside/telemetry/temp"
    assert (await ask(http, "GET", path))["value"] == 1
    await refused(http, "GET", "/api/devices/pi-1/telemetry/temp", expect=404)
