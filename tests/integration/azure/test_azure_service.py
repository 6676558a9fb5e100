"""A device's life by IoT Central's REST interface: the same with central and with Azure's own."""

from datetime import UTC, datetime, timedelta

from rest import wait_for


def properties(service, device):
    return service.call("GET", f"devices/{device}/properties")


def command(service, device, name, request=None):
    body = {"connectionTimeout": 30, "responseTimeout": 30}
    body |= {} if request is None else {"request": request}
    return service.call("POST", f"devices/{device}/commands/{name}", body, expect=201)


def test_it_registers_itself_and_gets_its_template(service, device, template):
    found = wait_for(
        lambda: (it := service.call("GET", f"devices/{device}")).get("template") and it,
        "the template",
    )
    assert found["id"] == device
    assert found["provisioned"] is True
    assert found["template"] == template


def test_its_readings_arrive_with_the_time_they_were_taken(service, device):
    for name, low, high in (("temp", -40, 80), ("humid", 0, 100)):
        path = f"devices/{device}/telemetry/{name}"
        wait_for(lambda path=path: service.status("GET", path) == 200, name)
        last = service.call("GET", path)
        assert low <= last["value"] <= high
        # Azure writes seven digits of a second.
        taken = datetime.fromisoformat(last["timestamp"][:19] + "+00:00")
        assert abs(datetime.now(UTC) - taken) < timedelta(minutes=5)


def test_it_says_what_it_is_and_how_it_is(service, device):
    told = wait_for(
        lambda: (it := properties(service, device)).get("sensorStatus") == "ok" and it,
        "the sensor's status",
    )
    assert told["state"] is True
    assert told["ledState"] in {"off", "on", "blinking"}
    component = service.call("GET", f"devices/{device}/components/deviceInformation/properties")
    assert component["totalMemory"] > 0


def test_what_the_operator_sets_is_acknowledged(service, device):
    path = f"devices/{device}/properties"
    service.call("PATCH", path, {"brightness": 2, "name": "Ada"}, expect=202)
    metadata = wait_for(
        lambda: acknowledged(properties(service, device), "brightness", 2), "an acknowledgement"
    )
    assert metadata["ackCode"] == 200
    wait_for(lambda: properties(service, device).get("name") == "Ada", "the name")


def test_what_it_refuses_is_acknowledged_with_the_reason(service, device):
    service.call("PATCH", f"devices/{device}/properties", {"brightness": 9}, expect=202)
    metadata = wait_for(
        lambda: acknowledged(properties(service, device), "brightness", 9), "a refusal"
    )
    assert metadata["ackCode"] == 400
    assert "from 1 to 3" in metadata["ackDescription"]


def acknowledged(told, name, value):
    """Return what stands beside a property once the device has answered this very value."""
    metadata = told.get("$metadata", {}).get(name, {})
    answered = metadata.get("ackVersion") == metadata.get("desiredVersion", -1)
    return metadata if metadata.get("desiredValue") == value and answered else None


def test_commands_are_answered(service, device):
    answer = command(service, device, "blink", 2)
    assert answer["responseCode"] == 200
    assert answer["response"] == {"description": "Blinking LED every 2 seconds"}
    wait_for(lambda: properties(service, device)["ledState"] == "blinking", "the blinking")
    assert command(service, device, "turnon")["responseCode"] == 200
    wait_for(lambda: properties(service, device)["ledState"] == "on", "the LED")
    assert command(service, device, "turnoff")["responseCode"] == 200
    wait_for(lambda: properties(service, device)["ledState"] == "off", "the dark")


def test_a_command_that_takes_long_is_accepted_at_once(service, device):
    assert command(service, device, "rundiagnostics")["responseCode"] == 202
    history = service.call("GET", f"devices/{device}/commands/rundiagnostics")["value"]
    assert history[0]["responseCode"] == 202
