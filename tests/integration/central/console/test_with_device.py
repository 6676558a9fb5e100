"""The console with a connected device: the real SDK on the other end. Events and the room too."""

import asyncio
import contextlib
import json

import aiohttp
import pytest
from consoles import INFORMATION, MODEL, MODEL_ID, climate_device

from central.application import Settings
from central.console.page_api.live import MOST_STREAMS
from central.console.responses import iso
from central.console.run import open_central
from central.storage import history

PATIENCE = 20  # Seconds.


@pytest.fixture
def settings(tmp_path):
    return Settings(
        data_dir=tmp_path / "central",
        http_port=0,
        templates=(MODEL, INFORMATION),
        room_socket=tmp_path / "room.sock",
    )


@pytest.fixture
async def central(settings):
    async with open_central(settings) as central:
        central.registry.add_device("pi-1")
        yield central


@pytest.fixture
async def http(central):
    async with aiohttp.ClientSession(central.http) as session:
        yield session


@pytest.fixture
async def device(central):
    async with climate_device(central, "pi-1") as device:
        yield device


async def get(http, path):
    async with http.get(path) as response:
        return await response.json()


async def post(http, path, body=None):
    async with http.post(path, json=body) as response:
        return response.status, await response.json()


async def until(check):
    """Wait until `check()` gives something true, and return that."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await check()):  # noqa: ASYNC110 - it is asked over HTTP.
            await asyncio.sleep(0.02)
    return found


class Stream:
    """Server-sent events, read one by one."""

    def __init__(self, response):
        self._content = response.content

    async def next(self):
        kind = None
        async with asyncio.timeout(PATIENCE):
            async for raw in self._content:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    return kind, json.loads(line.removeprefix("data: "))
        return None

    async def find(self, kind):
        while (event := await self.next()) is not None:
            if event[0] == kind:
                return event[1]
        return pytest.fail(f"The stream ended before {kind}.")


class TestCommands:
    async def test_a_command_is_answered(self, http, device):
        path = "/api/devices/pi-1/commands/blink"
        status, answer = await post(http, path, {"request": 2, "responseTimeout": 10})
        assert status == 201
        assert answer == {
            "id": answer["id"],
            "request": 2,
            "response": {"description": "Blinking every 2 s"},
            "responseCode": 200,
        }
        assert (await get(http, path))["value"] == [answer]

    async def test_a_refusal_is_an_answer(self, http, device):
        path = "/api/devices/pi-1/commands/blink"
        status, answer = await post(http, path, {"request": "soon"})
        assert (status, answer["responseCode"]) == (201, 400)

    async def test_a_command_without_a_request_or_a_body(self, http, device):
        async with http.post("/api/devices/pi-1/commands/turnoff") as response:
            answer = await response.json()
        assert answer == {"id": answer["id"], "responseCode": 200}
        assert device.calls == [("turnoff", None)]

    async def test_a_command_of_a_component(self, http, device):
        path = "/api/devices/pi-1/components/information/commands/reset"
        status, answer = await post(http, path, {"request": {"deep": True}})
        assert (status, answer["responseCode"]) == (201, 200)
        assert device.calls == [("information*reset", {"deep": True})]
        assert (await get(http, path))["value"] == [answer]

    async def test_no_answer_is_504(self, http, device):
        path = "/api/devices/pi-1/commands/hang"
        status, answer = await post(http, path, {"responseTimeout": 5})
        assert status == 504
        assert "hang" in answer["error"]["message"]

    async def test_a_long_running_command_completes_later(self, http, device):
        status, answer = await post(http, "/api/devices/pi-1/commands/rundiagnostics", {})
        assert (status, answer["responseCode"]) == (201, 202)

        async def completed():
            entry = (await get(http, "/console/api/devices/pi-1/commands"))["value"][0]
            return entry["completed"] and entry

        assert (await until(completed))["completion"] == "All is well."


class TestProperties:
    async def test_a_value_is_pending_then_synced_or_refused(self, http, device):
        path = "/api/devices/pi-1/properties"

        async def answered():
            about = (await get(http, path))["$metadata"]["brightness"]
            return about.get("ackVersion") == about["desiredVersion"] and about

        for value, code in [(2, 200), (9, 400)]:
            async with http.patch(path, json={"brightness": value}) as response:
                assert response.status == 202
            about = await until(answered)
            assert (about["desiredValue"], about["ackCode"]) == (value, code)
        assert about["ackDescription"] == "Brightness is 1, 2 or 3, not 9."
        async with http.patch(path, json={"name": "Ann"}) as response:
            assert response.status == 202
        assert (await answered())["ackCode"] == 400


class TestOverview:
    async def test_a_device_is_told_with_its_state_and_last_values(self, http, device):
        await device.send({"temp": 21.5, "humid": 45, "other": 1})

        async def arrived():
            told = await get(http, "/console/api/devices/pi-1")
            return len(told["telemetry"]) > 1 and told

        told = await until(arrived)
        assert told["connected"] is True
        assert told["connectedSince"] <= told["lastSeen"]
        assert told["template"] == MODEL_ID
        temperature, humidity = told["telemetry"]
        assert (temperature["title"], temperature["value"]) == ("Temperature", 21.5)
        assert (humidity["key"], humidity["unit"], humidity["value"]) == ("humid", "%", 45)
        assert (await get(http, "/console/api/devices"))["value"] == [told]

    async def test_since_when_it_is_away_is_told_however_often_it_is_refused(self, http, central):
        central.registry.add_device("pi-2")
        for event in ["connected", "disconnected", *["refused"] * 20]:
            await central.registry.record_connection("pi-2", event, "")
        left = central.store.read(history.connections, "pi-2")[-2].at
        told = await get(http, "/console/api/devices/pi-2")
        assert told["disconnectedSince"] == told["lastSeen"] == iso(left)
        await central.registry.record_connection("pi-1", "refused", "")
        told = await get(http, "/console/api/devices/pi-1")
        assert told["lastSeen"] is None  # Whoever it was had no key.

    async def test_without_a_model_the_numbers_of_the_newest_message_are_told(self, http, central):
        await central.registry.record_message(
            "pi-1", created=None, body=b'{"ok": true, "co2": 600}', properties={}, system={}
        )
        told = await get(http, "/console/api/devices/pi-1")
        [co2] = told["telemetry"]
        assert (co2["key"], co2["kind"], co2["value"]) == ("co2", "number", 600)

    @pytest.mark.parametrize("body", [b"", b"\xff{", b"[1]", b'{"a": 1e999}', b"[" * 9000, b"NaN"])
    async def test_a_message_that_is_no_json_is_shown_as_it_is(self, http, central, body):
        await central.registry.record_message(
            "pi-1", created=None, body=body, properties={"a": "b"}, system={"message_id": "7"}
        )
        assert (await get(http, "/console/api/devices/pi-1"))["telemetry"] == []
        [message] = (await get(http, "/console/api/devices/pi-1/messages"))["value"]
        assert message["body"] == body.decode(errors="replace")
        assert message["properties"] == {"a": "b"}

    async def test_messages_come_in_pages_newest_first(self, http, central):
        for number in range(5):
            await central.registry.record_message(
                "pi-1", created=None, body=b"%d" % number, properties={}, system={}
            )
        path = "/console/api/devices/pi-1/messages?limit=3"
        first = (await get(http, path))["value"]
        rest = (await get(http, f"{path}&before={first[-1]['number']}"))["value"]
        assert [message["body"] for message in first + rest] == ["4", "3", "2", "1", "0"]

    async def test_a_series_has_numbers_in_the_order_of_their_time(self, http, central):
        for created, value in [(200.0, "21.5"), (100.0, "20"), (300.0, "true"), (900.0, "1")]:
            body = b'{"temp": %s}' % value.encode()
            await central.registry.record_message(
                "pi-1", created=created, body=body, properties={}, system={}
            )
        path = "/console/api/devices/pi-1/series?name=temp&name=none&since=50&until=500"
        series = await get(http, path)
        assert series["temp"]["times"] == [100.0, 200.0]
        assert series["temp"]["values"] == [20.0, 21.5]
        assert series["temp"]["last"] == {"timestamp": "1970-01-01T00:15:00.000Z", "value": 1}
        assert series["temp"]["late"] == [0, 1]
        assert series["none"] == {"times": [], "values": [], "late": [], "last": None}

    @pytest.mark.parametrize(
        "query", ["series?since=x", "series?until=nan", "messages?limit=0", "messages?limit=501"]
    )
    async def test_a_bad_query_is_refused(self, http, query):
        async with http.get(f"/console/api/devices/pi-1/{query}") as response:
            assert response.status == 400
            assert (await response.json())["error"]["code"] == "InvalidQuery"

    async def test_the_connection_log_is_told(self, http, device):
        log = (await get(http, "/console/api/devices/pi-1/connections"))["value"]
        assert "connected" in [entry["event"] for entry in log]

    async def test_what_a_device_needs_to_connect_is_told(self, http, central):
        told = await get(http, "/console/api/central")
        assert told["idScope"] == central.id_scope
        assert told["provisioningHost"] == central.mqtt_host
        assert told["caFile"] == str(central.ca_file)
        assert told["local"] is True
        async with http.get("/console/api/ca.pem") as response:
            assert await response.text() == central.ca_file.read_text()


class TestEvents:
    async def test_messages_of_the_watched_device_come_whole(self, http, device):
        async with http.get("/console/api/events?device=pi-1") as response:
            assert response.content_type == "text/event-stream"
            stream = Stream(response)
            assert "now" in await stream.find("hello")
            await device.send({"temp": 21.5})
            event = await stream.find("telemetry")
        assert json.loads(event["message"]["body"]) == {"temp": 21.5}

    async def test_the_list_hears_of_every_device_once_for_many_messages(self, http, device):
        async with http.get("/console/api/events") as response:
            stream = Stream(response)
            await stream.find("hello")
            for _ in range(3):
                await device.send({"temp": 21.5})
            assert await stream.find("telemetry") == {"device": "pi-1"}

    async def test_a_page_hears_of_its_own_device_only(self, http, central):
        async with http.get("/console/api/events?device=pi-1") as response:
            stream = Stream(response)
            await stream.find("hello")
            central.registry.add_device("pi-2")
            await central.hub.set_desired("pi-2", {"a": 1})
            await central.hub.set_desired("pi-1", {"a": 1})
            assert (await stream.next())[1]["device"] == "pi-1"

    async def test_changes_are_told(self, http, central):
        async with http.get("/console/api/events") as response:
            stream = Stream(response)
            await stream.find("hello")
            central.registry.add_device("pi-2")
            assert await stream.find("device") == {"device": "pi-2"}
            await central.hub.set_desired("pi-2", {"a": 1})
            assert await stream.find("twin") == {"device": "pi-2"}

    async def test_streams_are_bounded_and_end_with_central(self, settings):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            async with open_central(settings) as central:
                url = f"{central.http}console/api/events"
                streams = [await http.get(url) for _ in range(MOST_STREAMS)]
                for stream in streams:
                    await Stream(stream).find("hello")
                async with http.get(url) as one_more:
                    assert one_more.status == 503
            async with asyncio.timeout(PATIENCE):
                for stream in streams:
                    await ended(stream)

    async def test_a_closed_page_makes_room(self, http, central):
        for _ in range(MOST_STREAMS):
            async with http.get("/console/api/events") as response:
                await Stream(response).find("hello")
            central.registry.update_device("pi-1", display_name="Wakes the stream")

        async def served():
            async with http.get("/console/api/events") as response:
                return response.status == 200

        await until(served)


async def ended(stream):
    """Wait until central ends a stream, with a good-bye or without."""
    with contextlib.suppress(aiohttp.ClientError):
        await stream.read()


class TestRoom:
    @pytest.fixture
    async def daemon(self, settings):
        """A daemon's end of the control socket, and what it was asked."""
        asked = []
        replies = []

        async def serve(reader, writer):
            asked.append(json.loads(await reader.readline()))
            writer.write(replies.pop(0))
            writer.close()

        server = await asyncio.start_unix_server(serve, settings.room_socket)
        yield asked, replies
        server.close()

    async def test_the_room_is_told_and_changed(self, http, daemon):
        asked, replies = daemon
        room = {"temperature": None, "climate": {"temperature": 21.5}}
        replies += [json.dumps({"ok": True, "room": room}).encode() + b"\n"] * 2
        assert await get(http, "/console/api/room") == room
        assert await post(http, "/console/api/room", {"temperature": 30}) == (200, room)
        assert asked == [{"command": "room"}, {"command": "room", "set": {"temperature": 30}}]

    async def test_the_daemons_refusal_is_passed_on(self, http, daemon):
        _, replies = daemon
        replies.append(b'{"ok": false, "error": "A room has no fault."}\n')
        status, answer = await post(http, "/console/api/room", {"fault": "?"})
        assert (status, answer["error"]["message"]) == (400, "A room has no fault.")

    @pytest.mark.parametrize("reply", [b"", b"{}", b"[]\n", b"\xff\n", b"x" * 100_000 + b"\n"])
    async def test_a_daemon_that_talks_nonsense_is_no_crash(self, http, daemon, reply):
        _, replies = daemon
        replies.append(reply)
        status, answer = await post(http, "/console/api/room", {})
        assert status in (400, 503)
        assert "daemon" in answer["error"]["message"]

    async def test_a_daemon_that_is_not_there_is_said(self, http):
        status, answer = await post(http, "/console/api/room", {})
        assert status == 503
        assert "Check that it is running" in answer["error"]["message"]

    async def test_without_a_room_there_is_nothing(self, tmp_path):
        bare = Settings(data_dir=tmp_path / "bare", mqtt_port=0, http_port=0)
        async with open_central(bare) as central, aiohttp.ClientSession(central.http) as http:
            assert (await get(http, "/console/api/central"))["room"] is False
            assert (await post(http, "/console/api/room", {}))[0] == 404
