"""The whole daemon in a process, with the real SDK, connected to central over TLS."""

import json
import re
import sys
import time
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from centrals import running_central
from daemons import STOPPED_WITHIN, Daemon, agent, places, until
from hub_view import Hub
from message_ids import are_whole, number, numbers_by_run
from mqtt_client import packet, string
from places import SUPPORT
from ways import CONNECTION_STRING, PROVISIONING, every_way, in_ways

from agent.device.limits import LIMITS
from agent.device.model import CELSIUS, DEVICE_INFORMATION, FAHRENHEIT, interface
from agent.device.validation import CHECKS
from central.protocol.mqtt import PubAck
from central.storage import devices, history


@pytest.fixture
def daemon(central, tmp_path, device_id, way):
    with Daemon(tmp_path / "pi", central, way, device_id=device_id) as daemon:
        yield daemon.until_connected()


@every_way
def test_all_readings_arrive_with_their_time(daemon, hub):
    until(lambda: daemon.status()["outbox"]["waiting"] == 0, what=daemon.tail)
    seen = len(hub.messages())
    until(lambda: len(hub.messages()) >= seen + 10, what=daemon.tail)
    live = [number(message_id) for message_id in hub.ids()[seen:]]
    assert live == sorted(live)
    for message in hub.messages():
        body = json.loads(message.body)
        assert -40 <= body["temp"] <= 80
        assert 0 <= body["humid"] <= 100
        assert message.created == pytest.approx(message.received, abs=60)
        assert message.system["content_type"] == "application/json"


@every_way
def test_the_daemon_reports_its_properties(daemon, hub):
    until(lambda: hub.reported().get("sensorStatus") == "ok", what=daemon.tail)
    reported = hub.reported()
    assert reported["state"] is True
    assert reported["ledState"] == "off"
    assert reported["deviceInformation"]["totalMemory"] > 0
    until(lambda: "telemetryInterval" in hub.reported())
    assert hub.reported()["telemetryInterval"]["ac"] == 203
    assert hub.reported()["telemetryInterval"]["value"] == 1


@every_way
def test_commands_are_executed(daemon, hub):
    assert hub.call("turnon").status == 200
    until(lambda: hub.reported().get("ledState") == "on")
    answer = hub.call("blink", 1)
    assert (answer.status, answer.response) == (
        200,
        {"description": "Blinking LED every 1 seconds"},
    )
    until(lambda: hub.reported().get("ledState") == "blinking")
    assert hub.call("turnoff", {"ignored": True}).status == 200
    until(lambda: hub.reported().get("ledState") == "off")
    assert hub.call("blink", "fast").status == 400
    assert hub.call("explode").status == 404


@every_way
def test_rundiagnostics_reports_its_result_later(daemon, hub):
    until(lambda: daemon.status()["sensor"]["last"], what=daemon.tail)
    assert hub.call("rundiagnostics").status == 202
    said = until(lambda: hub.reported().get("rundiagnostics", {}).get("value"))
    assert " 0 failed, " in said.splitlines()[0]
    assert "sensor (fake): ok" in said
    assert "session: connected to" in said

    def completion():
        commands = hub.central.read(history.commands, hub.device_id, "rundiagnostics")
        return commands[0].completion

    assert until(completion) == {"value": said}


@every_way
def test_accepted_properties_survive_a_restart_and_others_are_refused(daemon, hub):
    hub.set(brightness=3, name="Ada", telemetryInterval=4)
    until(lambda: hub.reported().get("telemetryInterval", {}).get("ac") == 400)
    assert "from 5 to 86400" in hub.reported()["telemetryInterval"]["ad"]
    until(lambda: hub.reported()["name"].get("value") == "Ada")
    assert hub.reported()["brightness"]["value"] == 3
    assert hub.reported()["brightness"]["ac"] == 200
    hub.set(telemetryInterval=5)
    until(lambda: hub.reported()["telemetryInterval"].get("ac") == 200)
    assert daemon.stop() == 0
    # The operator's values apply even before the daemon is connected.
    hub.fault("hang", "tcp")
    daemon.start()
    until(daemon.status_if_any)
    try:
        status = daemon.status()
        assert status["led"]["brightness"] == 3
        assert status["led"]["state"] == "off"
        assert status["sensor"]["interval"] == 5
    finally:
        hub.fault("hang", None)


@every_way
def test_commands_and_properties_from_offline_time_apply_on_reconnecting(daemon, hub):
    until(lambda: hub.reported().get("state"))
    assert daemon.stop() == 0
    assert hub.reported()["state"] is False
    hub.set(name="Grace")
    hub.central.call(lambda central: central.hub.queue_command(hub.device_id, "turnon", None))
    daemon.start().until_connected()
    until(lambda: hub.reported()["name"].get("value") == "Grace", what=daemon.tail)
    until(lambda: hub.reported().get("ledState") == "on", what=daemon.tail)
    assert hub.reported()["state"] is True


@every_way
def test_a_restart_needs_no_registration(daemon, hub, way):
    assert daemon.stop() == 0
    before = daemon.log.count("Registering with the provisioning")
    daemon.start().until_connected()
    assert before == (1 if way == PROVISIONING else 0)
    assert daemon.log.count("Registering with the provisioning") == before
    settings = daemon.home / "state" / "settings.json"
    stored = settings.exists() and "assignment" in json.loads(settings.read_text())["settings"]
    assert stored == (way == PROVISIONING)


@every_way
def test_each_run_names_the_id_before_its_first(daemon, hub):
    for _ in range(2):
        until(lambda: daemon.status()["outbox"]["waiting"] == 0, what=daemon.tail)
        seen = len(hub.messages())
        assert daemon.stop() == 0
        daemon.start().until_connected()
        until(lambda seen=seen: len(hub.messages()) >= seen + 5, what=daemon.tail)
    first = {m.system["message_id"]: m.properties.get("previous") for m in hub.messages()}
    runs = list(numbers_by_run(first))
    newest = {run: f"{run}:{max(numbers)}" for run, numbers in numbers_by_run(first).items()}
    assert [first[f"{run}:1"] for run in runs] == [None, newest[runs[0]], newest[runs[1]]]


def test_a_failed_sensor_is_reported_and_nothing_is_sent(daemon, hub):
    until(lambda: hub.reported().get("sensorStatus") == "ok")
    daemon.ask(command="room", set={"fault": "no_answer"})
    until(lambda: hub.reported().get("sensorStatus") == "no_answer", what=daemon.tail)
    until(lambda: daemon.status()["outbox"]["waiting"] == 0)
    seen = len(hub.messages())
    failed = daemon.status()["sensor"]["counters"]["no_answer"]
    until(lambda: daemon.status()["sensor"]["counters"]["no_answer"] >= failed + 5)
    assert len(hub.messages()) == seen
    daemon.ask(command="room", set={"fault": None})
    until(lambda: hub.reported().get("sensorStatus") == "ok")
    until(lambda: len(hub.messages()) > seen)


def schema_allows(schema, value):
    """Return whether a DTDL v2 schema allows this value."""
    match schema:
        case "double":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "integer" | "long":
            return isinstance(value, int) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "string" | "dateTime":
            return isinstance(value, str)
        case {"@type": "Enum"}:
            return value in {one["enumValue"] for one in schema["enumValues"]}
        case {"@type": "Object"}:
            fields = {field["name"]: field["schema"] for field in schema["fields"]}
            return all(schema_allows(fields[name], part) for name, part in value.items())
    raise AssertionError(f"This test does not know the schema {schema}.")


@pytest.mark.parametrize(("unit", "dtmi"), [("celsius", CELSIUS), ("fahrenheit", FAHRENHEIT)])
def test_the_daemon_sends_exactly_what_the_model_describes(
    central, tmp_path, way, device_id, unit, dtmi
):
    hub = Hub(central, device_id)
    daemon = Daemon(tmp_path / "pi", central, way, device_id=device_id)
    config = tmp_path / "pi" / "config.toml"
    config.write_text(config.read_text().replace("[sensor]", f'[sensor]\nunit = "{unit}"'))
    with daemon:
        daemon.until_connected()
        until(hub.messages, what=daemon.tail)
        answers = {
            "blink": hub.call("blink", 2),
            "turnon": hub.call("turnon"),
            "turnoff": hub.call("turnoff"),
            "rundiagnostics": hub.call("rundiagnostics"),
        }
        hub.set(name="Ada")
        until(lambda: "rundiagnostics" in hub.reported() and "name" in hub.reported())
        until(lambda: hub.reported()["name"]["value"] == "Ada")
        reported = hub.reported()
    contents = {one["name"]: one for one in interface(dtmi)["contents"]}

    def of_kind(kind):
        return {name for name, one in contents.items() if kind in one["@type"]}

    body = json.loads(hub.messages()[0].body)
    assert set(body) == of_kind("Telemetry")
    assert all(schema_allows(contents[name]["schema"], value) for name, value in body.items())

    assert set(answers) == of_kind("Command")
    for name, answer in answers.items():
        assert answer.status in {200, 202}
        response = contents[name].get("response")
        if response is None:
            assert answer.response is None
        else:
            assert schema_allows(response["schema"], answer.response)

    # No model has the property with the result of the long-running command.
    assert isinstance(reported.pop("rundiagnostics")["value"], str)
    information = reported.pop("deviceInformation")
    assert information.pop("__t") == "c"
    described = {one["name"]: one["schema"] for one in interface(DEVICE_INFORMATION)["contents"]}
    assert set(information) == set(described)
    assert all(schema_allows(described[name], value) for name, value in information.items())

    assert set(reported) == of_kind("Property")
    writable = {name for name in of_kind("Property") if contents[name].get("writable")}
    assert writable == CHECKS.keys() | LIMITS.keys()
    for name, value in reported.items():
        if name in writable:
            assert set(value) == {"value", "ac", "av", "ad"}
        bare = value["value"] if name in writable else value
        assert schema_allows(contents[name]["schema"], bare), (name, bare)
    assert central.read(devices.get, device_id).template == dtmi


def test_the_daemon_stops_in_time_while_registering(tmp_path):
    def begin(hub):
        hub.fault("registration", "silent")

    stops_in_time(tmp_path, PROVISIONING, begin, sign="Registering with the provisioning")


STOPS = {
    "while central hangs": ("", lambda hub: hub.fault("hang", "tls")),
    "while nothing is acknowledged": (
        "Connected to",
        lambda hub: hub.central.call(lambda central: central.faults.withheld.add(PubAck)),
    ),
    "while the twin is awaited": ("Connected to", lambda hub: hub.fault("twin", "silent")),
}


@pytest.mark.parametrize("moment", STOPS)
def test_the_daemon_stops_in_time_and_loses_nothing(tmp_path, way, moment):
    sign, begin = STOPS[moment]
    stops_in_time(tmp_path, way, begin, sign=sign)


def stops_in_time(place, way, begin, *, sign):
    """Begin a fault, and stop a daemon when its log has the sign. Then all readings arrive."""
    with running_central(place / "central") as central:
        hub = Hub(central, "pi-1")
        begin(hub)
        with Daemon(place / "pi", central, way) as daemon:
            until(lambda: sign in daemon.log, what=daemon.tail)
            until(lambda: attempts(daemon) >= 1, what=daemon.tail)
            # Not what waits: while only the twin is awaited, readings go out as they come.
            until(lambda: readings(daemon) >= 3, what=daemon.tail)
            assert daemon.stop() == 0, daemon.log
            assert "Stopped." in daemon.log
            assert "Traceback" not in daemon.log, daemon.log
            for name, value in {"registration": None, "hang": None, "twin": None}.items():
                hub.fault(name, value)
            central.call(lambda central: central.faults.withheld.clear())
            daemon.start().until_connected()
            until(lambda: are_whole(hub.ids(), least=10), what=daemon.tail)


class HangingDaemon(Daemon):
    """The daemon, whose disk and LED hang once its file `hang` exists."""

    def program(self):
        return [sys.executable, SUPPORT / "hanging_daemon.py", self.home / "hang"]


def test_the_daemon_stops_in_time_while_disk_hub_and_led_hang(tmp_path):
    with running_central(tmp_path / "central") as central:
        hub = Hub(central, "pi-1")
        with HangingDaemon(tmp_path / "pi", central) as daemon:
            daemon.until_connected()
            hub.call("turnon")
            (daemon.home / "hang").touch()
            hub.fault("hang", "tls")
            time.sleep(1.0)  # Something of each is under way.
            assert daemon.stop(timeout=STOPPED_WITHIN) == 0
        hub.fault("hang", None)


def many(make, count=10_000):
    return b"".join(packet(0x30, make(number)) for number in range(count))


FLOODS = {
    "commands": many(lambda n: string(f"$iothub/methods/POST/turnon/?$rid={n}")),
    "unknown commands": many(lambda n: string(f"$iothub/methods/POST/x{n}/?$rid={n}")),
    "commands that are not JSON": many(
        lambda n: string(f"$iothub/methods/POST/turnon/?$rid={n}") + b"{"
    ),
    "queued commands": many(
        lambda n: string("devices/pi-1/messages/devicebound/method-name=turnon") + b"@"
    ),
    "changes of properties": many(
        lambda n: (
            string(f"$iothub/twin/PATCH/properties/desired/?$version={n}")
            + b'{"brightness": %d, "$version": %d}' % (n % 3 + 1, n + 1000)
        )
    ),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_from_the_hub_is_survived_and_does_not_delay_a_stop(tmp_path, way, flood):
    def send(central):
        for connection in central.faults._connections:
            connection._writer.write(FLOODS[flood])

    with (
        running_central(tmp_path / "central") as central,
        Daemon(tmp_path / "pi", central, way) as daemon,
    ):
        daemon.until_connected()
        central.call(send)
        until(
            lambda: are_whole(Hub(central, "pi-1").ids(), least=20),
            what=daemon.tail,
            patience=90,  # It logs 10,000 messages at debug level.
        )
        central.call(send)
        assert daemon.stop() == 0, daemon.tail()
        assert "Traceback" not in daemon.log, daemon.tail()


def test_a_second_daemon_with_the_same_directories_is_refused(daemon):
    ended = agent("run", "--config", daemon.home / "config.toml", env=places(daemon.home))
    assert ended.returncode == 1
    assert "another sensor-agent is using it" in ended.stderr


@every_way
def test_no_secret_is_in_log_status_report_or_arguments(daemon, central, device_id, tmp_path):
    report = tmp_path / "report"
    file = daemon.home / "config.toml"
    agent("check", "--config", file, "--report", report, env=places(daemon.home))
    arguments = Path(f"/proc/{daemon.process.pid}/cmdline").read_bytes().decode()
    shown = [daemon.log, json.dumps(daemon.status()), report.read_text(), arguments]
    group_key = Path(central.info["group_key_file"]).read_text().strip()
    for secret in (group_key, central.key(device_id), "SharedAccessSignature", "SharedAccessKey="):
        assert not [text for text in shown if secret in text]


HUB_ID = "pi.%41_*?!(),:=@$'-2"


@in_ways(CONNECTION_STRING)
def test_a_daemon_with_any_device_id_is_known_by_it_everywhere(central, tmp_path, way):
    with Daemon(tmp_path / "pi", central, way, device_id=HUB_ID) as daemon:
        hub = Hub(central, HUB_ID)
        until(lambda: are_whole(hub.ids(), least=3), what=daemon.tail)
        assert hub.call("turnon").status == 200
        hub.set(name="Ada")
        until(lambda: hub.reported().get("name", {}).get("value") == "Ada", what=daemon.tail)
        assert daemon.status()["device_id"] == HUB_ID
        url = f"{central.info['http']}api/devices/{quote(HUB_ID, safe='')}/telemetry/temp"
        with urlopen(url) as answer:
            assert isinstance(json.load(answer)["value"], float)
        assert f"as {HUB_ID}" in daemon.log


@in_ways(CONNECTION_STRING)
@pytest.mark.parametrize("change", ["deleted", "blocked", "another key"])
def test_a_refusal_by_a_configured_hub_does_not_speak_of_provisioning(
    central, tmp_path, way, device_id, change
):
    # Without [device] id, which the connection string has.
    daemon = Daemon(tmp_path / "pi", central, way, device_id=device_id)
    file = daemon.home / "config.toml"
    file.write_text(file.read_text().replace(f'id = "{device_id}"', ""))
    if change == "deleted":
        central.call(lambda c: c.registry.delete_device(device_id))
    elif change == "blocked":
        central.call(lambda c: c.registry.update_device(device_id, enabled=False))
    else:
        string = daemon.home / "connection-string"
        string.write_text(string.read_text().replace(central.key(device_id), central.key("other")))
    with daemon:
        # The third attempt would be a new registration.
        until(lambda: attempts(daemon) >= 4, what=daemon.tail)
        where = {"env": places(daemon.home)}
        said = daemon.log + agent("status", "--config", file, **where).stdout
        checked = agent("check", "--config", file, **where).stdout
        assert daemon.stop() == 0
    alone = agent("check", "--config", file, **where).stdout
    assert f"refused the credentials of {device_id}" in said
    assert "refused the credentials" in alone
    assert "az iot hub device-identity connection-string show" in alone
    for text in (said, checked, alone):
        assert not re.search(r"regist(er|ration service)|id_scope", text.replace("deregister", ""))


def attempts(daemon):
    status = daemon.status_if_any()
    return status["cloud"]["attempts"] if status else 0


def readings(daemon):
    return daemon.status()["sensor"]["counters"]["accepted"]
