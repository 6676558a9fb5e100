"""Commands, as the page queues and lists them."""

from consoles import ask, eventually


async def test_a_command_is_queued_for_an_offline_device(http):
    path = "/console/api/devices/pi-1/queue/blink"
    assert (await ask(http, "POST", path, {"request": 2}))["queued"] is True
    listed = await ask(http, "GET", "/console/api/devices/pi-1/commands")
    assert [(each["name"], each["queued"]) for each in listed["value"]] == [("blink", True)]


async def test_a_long_running_command_completes(http, device):
    answer = await ask(http, "POST", "/api/devices/pi-1/commands/rundiagnostics", {}, expect=201)
    assert answer["responseCode"] == 202

    async def completed():
        entry = (await ask(http, "GET", "/console/api/devices/pi-1/commands"))["value"][0]
        return entry["completed"] and entry

    assert (await eventually(completed))["completion"] == "All is well."
