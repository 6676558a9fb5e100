"""Every check passes and fails on a simulated machine of files and fakes."""

import shutil
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from examinations import CONFIG, examination, raspberry_pi, write, write_key
from fakes import HandClock
from statuses import COUNTERS, status_with

from agent.config.loader import CloudConfig, DeviceConfig, LimitsConfig, SensorConfig
from agent.diagnostics.checks import hardware
from agent.diagnostics.finding import Outcome, failed, ok, skipped
from agent.diagnostics.line_processes import Process, Processes
from agent.diagnostics.registry import check, find
from agent.diagnostics.runner import IDS
from agent.diagnostics.service_access import ServiceUser
from agent.errors import (
    ConfigError,
    ControlError,
    NoAnswerError,
    RefusedError,
    RegistrationError,
    SecretError,
)
from agent.status import SetAsideFile
from hw import DriverError, Fault, LedError, Reading, SensorError
from hw.gpio_lines import Chip
from hw.leds.fake_led import SimulatedLed


class Sensor:
    """A sensor that always returns the same answer."""

    model, spacing, deadline = "dht22", 0.0, 1.0

    def __init__(self, answer):
        self.answer = answer

    def read(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Route:
    """A route whose stage `fails` fails; later stages are skipped."""

    def __init__(self, name, _host, _cloud, *, fails=None, **_):
        self.name, self.fails = name, fails

    def __getattr__(self, stage):
        stages = [f"{self.name}-{one}" for one in ("dns", "tcp", "tls")]
        here = stages.index(f"{self.name}-{stage}")
        if self.fails in stages[:here]:
            return skipped(f"the check {self.fails} failed")
        return failed("It fails.", "Do something.") if self.fails == stages[here] else ok("Good.")

    def close(self):
        pass


class Machine:
    """A healthy Raspberry Pi that tests change."""

    def __init__(self, root, monkeypatch):
        self.root = root
        self.monkeypatch = monkeypatch
        self.clock = HandClock()
        self.fails = None
        raspberry_pi(root)
        write_key(root)
        self.file("dev/gpiochip0", "")
        self.file("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n")
        self.file("sys/class/thermal/thermal_zone0/temp", "48312\n")
        self.file("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        self.file("sys/bus/iio/devices/iio:device0/name", "dht11@4\n")
        self.file("boot/firmware/config.txt", "dtparam=audio=on\ndtoverlay=dht11,gpiopin=4\n")
        self.file("proc/self/mountinfo", "22 1 179:2 / / rw,noatime - ext4 /dev/root rw,errors=x\n")
        self.file("etc/systemd/journald.conf", "[Journal]\n#Storage=auto\n")
        (root / "var/log/journal").mkdir(parents=True)
        self.state = root / "state"
        self.state.mkdir()
        self.versions = {"azure-iot-device": "2.14.0", "lgpio": "0.2.2.0"}
        self.missing: set[str] = set()
        monkeypatch.setattr(hardware, "LIT", 0.0)
        self.options = {
            "config": CONFIG,
            "state": self.state,
            "is_installed": lambda module: module not in self.missing,
            "version": lambda name: self.versions.get(name, "1.0"),
            "processes": lambda _proc: Processes(),
            "clock": self.clock,
            "open_sensor": lambda *_, **__: Sensor(Reading(21.0, 45.0)),
            "open_led": lambda *_, **__: SimulatedLed(),
            "route": lambda *a, **k: Route(*a, fails=self.fails, **k),
            "register": lambda: "hub.test",
        }
        self.holders({})

    def file(self, name, text):
        return write(self.root, name, text)

    def holders(self, holders):
        """Have these holders of the header's lines."""
        chip = Chip("gpiochip0", "pinctrl-bcm2711", holders)
        self.options["read_chip"] = lambda _path, _lines: chip

    def sensor(self, **keys):
        self.options["config"] = replace(CONFIG, sensor=SensorConfig(**keys))

    def daemon(self, **parts):
        self.options["status"] = status_with(**parts)

    def find(self, name):
        return find(name, examination(self.root, **self.options))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


def open_key(machine):
    (machine.root / "key").chmod(0o644)


def busy_led(machine):
    def open_led(*_, **__):
        raise LedError("Another program holds GPIO 17.")

    machine.options["open_led"] = open_led


def silent_sensor(machine):
    machine.options["open_sensor"] = lambda *_, **__: Sensor(
        SensorError("The sensor did not answer.", fault=Fault.NO_ANSWER)
    )


def with_limits(machine, **limits):
    machine.options["config"] = replace(CONFIG, limits=LimitsConfig(**limits))


def unregistered(machine):
    def register():
        raise RegistrationError("pi-1", said="Unauthorized", hint="Check the key.")

    machine.options["register"] = register


def damaged_outbox(machine):
    (machine.state / "outbox").mkdir()
    (machine.state / "outbox" / "00000001.log").write_bytes(b"no blocks" * 1000)


def with_service(machine):
    machine.file("etc/systemd/system/sensor-agent.service", "")
    (machine.root / "run/systemd/journal").mkdir(parents=True)


def volatile_journal(machine):
    with_service(machine)
    machine.file(
        "usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf",
        "[Journal]\nStorage=volatile\n",
    )


def full_card(machine):
    machine.monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(5_000_000))


STRANGER = ServiceUser(60_001, frozenset({60_001}))


class Usage:
    def __init__(self, free):
        self.free = free


def unwritable(machine):
    def no_file(**_):
        raise OSError(30, "Read-only file system")

    machine.monkeypatch.setattr(tempfile, "TemporaryFile", no_file)


def route_fails(machine, name):
    machine.fails = name


def option(name, value):
    return lambda machine: machine.options.__setitem__(name, value)


FAILING = {
    "daemon": option("refusal", ControlError("The daemon did not answer within 30 s.")),
    "configuration": option("mistakes", ("config.toml: [sensor] pin = 99",)),
    "secrets": open_key,
    "packages": lambda machine: machine.missing.add("adafruit_dht"),
    "gpio-access": option("may_use", lambda _file: False),
    "gpio-lines": lambda machine: machine.holders({17: "pigpiod"}),
    "gpio-overlay": lambda machine: (
        machine.sensor(driver="kernel"),
        (machine.root / "sys/bus/iio/devices/iio:device0/name").unlink(),
    ),
    "sensor": silent_sensor,
    "led": busy_led,
    "limits": lambda machine: with_limits(machine, temperature_high=80.0),
    "clock": lambda machine: setattr(machine.clock, "known", False),
    "power": lambda machine: machine.file(
        "sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n"
    ),
    "temperature": lambda machine: machine.file("sys/class/thermal/thermal_zone0/temp", "85123\n"),
    "disk-space": full_card,
    "disk-write": unwritable,
    "outbox": damaged_outbox,
    "journal": volatile_journal,
    "registration": unregistered,
} | {
    f"{host}-{stage}": partial(route_fails, name=f"{host}-{stage}")
    for host in ("provisioning", "hub")
    for stage in ("dns", "tcp", "tls")
}

# Changes for checks that are skipped on the unchanged machine.
PASSING = {
    "daemon": lambda machine: machine.daemon(),
    "gpio-overlay": lambda machine: machine.sensor(driver="kernel"),
    "limits": lambda machine: with_limits(machine, temperature_high=79.5),
    "journal": with_service,
}


@pytest.mark.parametrize("name", IDS)
def test_every_check_passes_on_a_healthy_machine(machine, name):
    PASSING.get(name, lambda _machine: None)(machine)
    finding = machine.find(name)
    assert finding.outcome is Outcome.OK, finding
    assert finding.line.endswith(".")
    assert finding.advice is None


@pytest.mark.parametrize("name", IDS)
def test_every_check_finds_its_fault(machine, name):
    FAILING[name](machine)
    finding = machine.find(name)
    wanted = Outcome.WARNING if name in {"limits", "clock", "journal"} else Outcome.FAILED
    assert finding.outcome is wanted, finding
    assert "\n" not in finding.line
    assert finding.advice


def test_a_stage_after_a_failed_stage_is_skipped_with_the_reason(machine):
    machine.fails = "provisioning-tcp"
    assert machine.find("provisioning-dns").outcome is Outcome.OK
    assert machine.find("provisioning-tls") == skipped("the check provisioning-tcp failed")
    assert machine.find("registration").outcome is Outcome.SKIPPED
    assert machine.find("hub-tls") == skipped("the hub is not known (registration)")


STRING = replace(
    CONFIG,
    device=DeviceConfig(id=""),
    cloud=CloudConfig(connection_string_file=Path("string")),
)


@pytest.fixture
def with_string(machine):
    machine.options["config"] = STRING
    key = write_key(machine.root).read_text()
    string = write(machine.root, "string", f"HostName=h.net;DeviceId=pi;SharedAccessKey={key}")
    string.chmod(0o600)
    return machine


def test_a_configured_hub_is_examined_without_the_provisioning_service(with_string):
    one = examination(with_string.root, **with_string.options | {"register": lambda: "h.net"})
    for name in ("provisioning-dns", "provisioning-tcp", "provisioning-tls"):
        assert find(name, one) == skipped(
            "the configuration names the hub, so no provisioning service is used"
        )
    assert find("registration", one) == ok("h.net accepted pi.")
    assert find("hub-tls", one).outcome is Outcome.OK


def test_a_hub_in_a_connection_string_that_cannot_be_read_is_not_known(with_string):
    (with_string.root / "string").write_text("nonsense")
    assert with_string.find("secrets").outcome is Outcome.FAILED
    assert with_string.find("hub-dns") == skipped("the hub is not known (secrets)")
    assert with_string.find("registration") == skipped("the hub cannot be reached")


def test_what_a_connection_string_adds_is_not_a_change_of_the_configuration(with_string):
    with_string.daemon()
    assert STRING.cloud is not None
    completed = replace(
        STRING, device=DeviceConfig(id="pi"), cloud=replace(STRING.cloud, hub="h.net")
    )
    with_string.options |= {"config": completed, "config_in_file": STRING}
    assert with_string.find("configuration").outcome is Outcome.OK
    with_string.options["config_in_file"] = replace(STRING, sensor=SensorConfig(pin=5))
    assert "was changed after" in with_string.find("configuration").line


def test_without_a_pi_one_check_fails_and_the_others_are_skipped(machine):
    (machine.root / "proc/device-tree/model").unlink()
    machine.missing |= {"adafruit_dht", "gpiozero", "lgpio"}
    access = machine.find("gpio-access")
    assert access.line == (
        "This machine is not a Raspberry Pi, so [sensor] pin and [led] pin cannot be used."
    )
    assert access.advice == 'Use --fake-hw, or set driver = "fake" in [sensor] and [led].'
    for name in ("packages", "gpio-lines", "sensor", "led"):
        finding = machine.find(name)
        assert finding.outcome is Outcome.SKIPPED, name
        assert "(gpio-access)" in finding.line
    machine.missing.add("azure")
    assert machine.find("packages").line == "Not installed: azure-iot-device."


def test_advice_names_the_service_only_if_it_is_installed(machine):
    machine.clock.known = False

    def advice():
        return " ".join(machine.find(name).advice for name in ("daemon", "clock"))

    assert "sensor-agent run" in advice()
    assert "systemctl start" not in advice()
    assert "sensor-agent setup" not in advice()
    machine.file("etc/systemd/system/sensor-agent.service", "")
    assert "sudo systemctl start sensor-agent" in advice()
    assert "sudo journalctl" in advice()
    assert "sensor-agent setup" in advice()


def test_checks_beside_a_daemon_neither_register_nor_open_its_devices(machine):
    machine.daemon()
    for name in ("register", "open_sensor", "open_led"):
        machine.options[name] = lambda *_, **__: pytest.fail("The check disturbs the daemon.")
    assert machine.find("registration").line == "The daemon is connected to hub.test."
    assert machine.find("sensor").outcome is Outcome.OK
    assert machine.find("led").outcome is Outcome.OK
    assert machine.find("hub-tls").outcome is Outcome.OK
    machine.holders({4: "libgpiod_pulsein", 17: "lg"})
    own = Process(812, "python3", "sensor-agent", is_own=True, lines=frozenset(), has_others=True)
    machine.options["processes"] = lambda _proc: Processes([own], are_all=False)
    assert machine.find("gpio-lines").outcome is Outcome.OK


@pytest.mark.parametrize("name", ["sensor", "led", "outbox", "registration"])
def test_checks_beside_a_daemon_that_does_not_answer_are_skipped(machine, name):
    machine.options["refusal"] = ControlError("It did not answer.")
    for one in ("register", "open_sensor", "open_led"):
        machine.options[one] = lambda *_, **__: pytest.fail("The check disturbs the daemon.")
    assert machine.find(name).outcome is Outcome.SKIPPED


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("sensor", {"sensor": {"status": "no_answer", "error": "Silence.", "last": None}}),
        ("sensor", {"sensor": {"counters": COUNTERS | {"checksum": 6}}}),
        ("sensor", {"sensor": {"status": "starting", "last": None}}),
        ("led", {"led": {"fault": "The line is busy."}}),
        ("registration", {"cloud": {"hub": None, "error": "hub.test cannot be reached."}}),
        ("registration", {"cloud": {"hub": None, "error": None}}),
        ("outbox", {"outbox": {"error": "Cannot use outbox: disk full."}}),
        ("outbox", {"outbox": {"in_memory": 3}}),
        ("outbox", {"outbox": {"room_seconds": 3600.0}}),
        ("outbox", {"outbox": {"set_aside": (SetAsideFile(file="a", reason="damaged"),)}}),
        ("daemon", {"version": "1.2.2"}),
    ],
)
def test_faults_in_the_daemons_status_are_found(machine, name, parts):
    machine.daemon(**parts)
    finding = machine.find(name)
    assert finding.outcome in {Outcome.WARNING, Outcome.FAILED}
    assert finding.advice


def test_the_last_known_hub_is_checked_while_the_daemon_is_not_connected(machine):
    machine.daemon(cloud={"hub": None, "error": "hub.test cannot be reached."})
    machine.options["hub"] = "hub.test"
    assert machine.find("hub-tcp").outcome is Outcome.OK


@pytest.mark.parametrize("inside", [False, True])
def test_checks_that_need_an_invalid_configuration_are_skipped(machine, inside):
    machine.options["mistakes"] = ("config.toml: [sensor] pin = 99",)
    if inside:
        machine.daemon()
    found = {name: machine.find(name) for name in IDS}
    assert found["configuration"].outcome is Outcome.FAILED
    for name in ("secrets", "sensor", "led", "gpio-access", "hub-tls", "registration"):
        unknown = found[name] == skipped("the check configuration failed")
        assert unknown is not inside  # The daemon knows its configuration.
    for name in ("clock", "power", "temperature", "disk-space", "disk-write", "outbox"):
        assert found[name].outcome is Outcome.OK


def test_cloud_checks_without_a_cloud_section_are_skipped(machine):
    machine.options["config"] = replace(CONFIG, cloud=None)
    for name in ("secrets", "provisioning-dns", "registration", "hub-tls"):
        assert machine.find(name).outcome is Outcome.SKIPPED


def test_an_unusable_ca_file_does_not_fail_the_network_checks(machine):
    assert CONFIG.cloud is not None
    cloud = replace(CONFIG.cloud, ca_file=Path("none.pem"))
    machine.options["config"] = replace(CONFIG, cloud=cloud)
    assert machine.find("provisioning-tls").outcome is Outcome.SKIPPED


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (RegistrationError("pi-1", said="Unauthorized", hint="Check the key."), "id_scope and key"),
        (NoAnswerError("the registration", 30), "again in a minute"),
        (RefusedError("hub.test", "pi-1"), "az iot hub device-identity connection-string show"),
        (
            ConfigError("Microsoft's SDK cannot be imported: no module azure."),
            "sensor-agent check --report",
        ),
    ],
)
def test_the_advice_for_a_failed_registration_fits_its_reason(machine, error, advice):
    def register():
        raise error

    machine.options["register"] = register
    finding = machine.find("registration")
    assert finding.line == str(error)
    assert advice in finding.advice


@pytest.mark.parametrize("name", ["registration", "hub-dns"])
def test_a_check_alone_that_needs_the_secrets_points_to_sudo(machine, name):
    def register():
        raise SecretError("device.key cannot be read.") from PermissionError()

    machine.options["register"] = register
    finding = machine.find(name)
    assert finding.outcome is Outcome.SKIPPED
    assert "use sudo sensor-agent check" in finding.line
    machine.options["is_root"] = True
    assert "sudo" not in machine.find(name).line


def test_a_check_cannot_be_registered_twice():
    with pytest.raises(ValueError, match="two checks 'clock'"):
        check("clock")(lambda _examination: ok("Good."))


def test_a_check_runs_once_for_an_examination(machine):
    asked = []

    def register():
        asked.append(1)
        return "hub.test"

    machine.options["register"] = register
    examined = examination(machine.root, **machine.options)
    for name in ("registration", "hub-dns", "hub-tls", "registration"):
        assert find(name, examined).outcome is Outcome.OK
    assert asked == [1]


def failing_sensor(fault):
    def fail(machine):
        machine.options["open_sensor"] = lambda *_, **__: Sensor(SensorError("No.", fault=fault))

    return fail


def without_driver(machine):
    def open_sensor(*_, **__):
        raise DriverError("The package adafruit_dht is not installed.", packages=("adafruit_dht",))

    machine.options["open_sensor"] = open_sensor


def unsaved(machine):
    machine.daemon(outbox={"in_memory": 3})


def no_sdk(machine):
    def register():
        raise ConfigError("Microsoft's SDK cannot be imported: no module azure.")

    machine.options["register"] = register


@pytest.mark.parametrize(
    ("name", "break_it"),
    [
        *(("sensor", failing_sensor(fault)) for fault in Fault),
        ("sensor", without_driver),
        ("led", busy_led),
        ("outbox", unsaved),
        ("registration", no_sdk),
    ],
)
def test_no_check_refers_to_a_check_that_says_ok(machine, name, break_it):
    # Without the kernel's driver, which the check gpio-overlay warns of.
    (machine.root / "sys/bus/iio/devices/iio:device0/name").unlink()
    machine.file("boot/firmware/config.txt", "")
    break_it(machine)
    finding = machine.find(name)
    assert finding.outcome is Outcome.FAILED
    assert finding.advice
    assert "See the check" not in finding.advice


@pytest.mark.parametrize(
    ("name", "break_it", "cause"),
    [
        ("sensor", failing_sensor(Fault.BUSY), "gpio-lines"),
        ("sensor", failing_sensor(Fault.NO_PERMISSION), "gpio-access"),
        ("sensor", without_driver, "packages"),
        ("led", busy_led, "gpio-lines"),
        ("outbox", unsaved, "disk-space"),
        ("registration", no_sdk, "packages"),
    ],
)
def test_a_check_refers_to_the_check_that_found_the_cause(machine, name, break_it, cause):
    break_it(machine)
    FAILING[cause](machine)
    assert machine.find(name).advice == f"See the check {cause}."


def test_a_check_refers_to_every_check_that_found_a_cause(machine):
    busy_led(machine)
    FAILING["gpio-lines"](machine)
    FAILING["gpio-access"](machine)
    assert machine.find("led").advice == "See the checks gpio-access and gpio-lines."


@pytest.mark.parametrize("name", ["raspberrypi", "DietPi", "Ubuntu.local"])
def test_a_host_name_of_an_image_is_a_warning_as_device_id(machine, name):
    machine.options["config"] = replace(CONFIG, device=DeviceConfig(id=name))
    finding = machine.find("configuration")
    assert finding.outcome is Outcome.WARNING
    assert f"the host name {name}" in finding.line


def test_secrets_are_judged_as_the_service_reads_them(machine):
    path = machine.file("etc/sensor-agent/config.toml", "")
    key = write_key(path.parent)
    machine.options |= {"path": path, "is_root": True, "service_user": lambda: STRANGER}
    assert machine.find("secrets").outcome is Outcome.OK  # The service is not installed.
    machine.file("etc/systemd/system/sensor-agent.service", "")
    finding = machine.find("secrets")
    assert finding.line == f"The service's user sensor-agent cannot read {key}."
    assert "/etc/sensor-agent/credentials" in finding.advice
    machine.options["is_root"] = False
    assert machine.find("secrets").outcome is Outcome.OK
