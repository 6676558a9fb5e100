"""docs/azure.md, typed step by step, with the local IoT Central in place of Azure.

Each command of the page is played, or listed as one that central cannot play. What docs/central.md
says of connection strings is typed, too.
"""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from centrals import running_central
from daemons import AGENT, PATIENCE, agent, places, until
from pages import PAGES

from central.storage import devices, history, telemetry

PAGE = PAGES["docs/azure.md"]
DEVICE = "greenhouse-1"
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)

ONLY_AZURE = {
    *("az login", "az extension add"),
    *("az group create", "az group delete"),
    *("az iot hub create", "az iot hub show-quota-metrics", "az iot hub connection-string show"),
    *("az iot hub consumer-group create", "az iot dps create", "az iot dps linked-hub create"),
    "az iot dps enrollment-group create",  # Central has one group, and links its own hub.
}
PLAYED_ELSEWHERE = {"sudo sensor-agent setup"}  # By the tests of setup and of the package.


def section(title, page=PAGE):
    """Return the code blocks below a heading, with their language, and without indentation."""
    text = re.split(r"^## ", page, flags=re.MULTILINE)
    [found] = [part for part in text if part.startswith(title)]
    return [
        (language, re.sub(rf"^{indent}", "", code, flags=re.MULTILINE))
        for indent, language, code in BLOCK.findall(found)
    ]


@pytest.fixture
def central(tmp_path):
    with running_central(tmp_path / "central", mqtt_port=8883) as central:
        yield central


@pytest.fixture
def reader(central, tmp_path):
    reader = Reader(central, tmp_path / "reader")
    yield reader
    reader.stop()


class Reader:
    """Somebody who types the page's lines, in a directory of their own."""

    def __init__(self, central, home):
        self.central = central
        self.home = home
        self.process = None
        self.played = []
        home.mkdir()

    def follow(self, blocks):
        for language, code in blocks:
            if language == "toml":
                self.write_configuration(code)
                continue
            for line in code.splitlines():
                self.type(line)

    def write_configuration(self, text):
        """Write the page's configuration, and what a central needs in addition to Azure."""
        more = f'ca_file = "{self.central.info["ca_file"]}"\n'
        text = re.sub(r"ca_file = .*\n", "", text)
        if "id_scope" in text:
            more += f'provisioning_host = "{self.central.info["mqtt_host"]}"\n'
        text = text.replace("0ne00000000", self.central.info["id_scope"])
        (self.home / f"{DEVICE}.toml").write_text(text.replace("[cloud]\n", f"[cloud]\n{more}"))

    def type(self, line):
        target = None
        if match := re.fullmatch(r"\(umask 077; (.*) > (\S+)\)", line):
            line, target = match.groups()
        words = shlex.split(line)
        end = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
        name = " ".join(words[:end])
        if name in ONLY_AZURE | PLAYED_ELSEWHERE:
            return
        self.played.append(name)
        play = PLAYERS[words[0] if words[0] in {"rm", "cat"} else name]
        arguments = words[1:] if words[0] == "rm" else words[end:]
        output = play(self, target if words[0] == "cat" else arguments)
        if target is not None:
            command = ["sh", "-c", f"(umask 077; cat > {target})"]
            subprocess.run(command, cwd=self.home, input=f"{output}\n", text=True, check=True)
            assert (self.home / target).stat().st_mode & 0o777 == 0o600

    # What the commands do.

    def create_device(self, words):
        assert value_of("--device-id", words) == DEVICE
        self.central.call(lambda c: c.registry.add_device(DEVICE))

    def show_connection_string(self, words):
        assert value_of("--query", words) == "connectionString"
        return self.connection_string()

    def connection_string(self):
        host, key = self.central.info["mqtt_host"], self.central.key(DEVICE)
        return f"HostName={host};DeviceId={DEVICE};SharedAccessKey={key}"

    def check_configuration(self, words):
        done = agent("config", "check", *words, cwd=self.home)
        assert done.returncode == 0, done.stderr

    def run(self, words):
        with (self.home / "daemon.log").open("w") as log:
            self.process = subprocess.Popen(
                [*AGENT, "run", *words],
                cwd=self.home,
                env=places(self.home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.ran = words
        until(lambda: "Connected" in self.log, what=lambda: self.log)

    @property
    def log(self):
        return (self.home / "daemon.log").read_text()

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(PATIENCE) == 0
            self.process = None

    def watch_messages(self, _words):
        [*_, first] = self.central.wait_for(lambda c: c.store.read(telemetry.messages, DEVICE))
        assert json.loads(first.body).keys() == {"temp", "humid"}
        assert "iothub-creation-time-utc" in first.properties

    def call_command(self, words):
        name = value_of("--method-name", words)
        request = json.loads(value_of("--method-payload", words) or "null")
        answer = self.central.call(lambda c: c.hub.call(DEVICE, name, request, connect_timeout=20))
        expected = {"blink": 200, "turnoff": 200, "rundiagnostics": 202}
        assert answer.status == expected[name]
        if name == "blink":
            assert answer.response["description"] in PAGE

    def queue_command(self, words):
        name = value_of("--properties", words).removeprefix("method-name=")
        request = json.loads(value_of("--data", words))
        self.stop()
        self.central.call(lambda c: c.hub.queue_command(DEVICE, name, request))
        self.run(self.ran)
        self.central.wait_for(
            lambda c: [one for one in c.store.read(history.commands, DEVICE, name) if one.answered]
        )
        self.central.wait_for(lambda c: self.reported().get("ledState") == "blinking")

    def reported(self):
        return self.central.read(devices.get_twin, DEVICE).reported

    def show_twin(self, words):
        if value_of("--query", words) == "properties.reported.rundiagnostics":
            until(lambda: self.reported().get("rundiagnostics"))
        else:
            for name, value in (("brightness", 3), ("telemetryInterval", 30)):
                answer = {"value": value, "ac": 200, "av": 2}.items()
                until(lambda name=name, answer=answer: answer <= self.reported()[name].items())

    def update_twin(self, words):
        desired = json.loads(value_of("--desired", words))
        self.central.call(lambda c: c.hub.set_desired(DEVICE, desired))

    def show_id_scope(self, words):
        assert value_of("--query", words) == "properties.idScope"

    def show_group_key(self, _words):
        return Path(self.central.info["group_key_file"]).read_text().strip()

    def remove(self, words):
        self.stop()
        for name in words:
            (self.home / name).unlink()

    def paste(self, file):
        return self.connection_string() if "connection" in file else self.central.key(DEVICE)


def value_of(option, words):
    return words[words.index(option) + 1] if option in words else None


PLAYERS = {
    "az iot hub device-identity create": Reader.create_device,
    "az iot hub device-identity connection-string show": Reader.show_connection_string,
    "az iot hub monitor-events": Reader.watch_messages,
    "az iot hub invoke-device-method": Reader.call_command,
    "az iot hub device-twin show": Reader.show_twin,
    "az iot hub device-twin update": Reader.update_twin,
    "az iot device c2d-message send": Reader.queue_command,
    "az iot dps show": Reader.show_id_scope,
    "az iot dps enrollment-group show": Reader.show_group_key,
    "sensor-agent config check": Reader.check_configuration,
    "sensor-agent run": Reader.run,
    "rm": Reader.remove,
    "cat": Reader.paste,
}


def test_iot_hub_from_nothing_to_a_reading_and_back(reader):
    reader.follow(section("IoT Hub, from nothing"))
    assert reader.process is None
    assert not list(reader.home.glob(f"{DEVICE}.*"))
    for name in (
        "monitor-events",
        "invoke-device-method",
        "device-twin update",
        "c2d-message send",
    ):
        assert any(name in played for played in reader.played)


@pytest.mark.parametrize("title", ["Many devices", "An existing IoT Central application"])
def test_a_device_registers_with_the_files_of_the_page(reader, title):
    reader.follow(section(title))
    reader.check_configuration(["--config", f"{DEVICE}.toml"])
    reader.run(["--config", f"{DEVICE}.toml", "--fake-hw"])
    reader.watch_messages([])


def test_a_device_connects_to_central_with_a_connection_string(reader):
    reader.create_device(["--device-id", DEVICE])
    reader.follow(section("Devices without", PAGES["docs/central.md"]))
    reader.watch_messages([])


def test_every_other_command_of_the_page_needs_azure(reader):
    reader.follow(section("See the data") + section("What it costs"))
    assert reader.played == []
