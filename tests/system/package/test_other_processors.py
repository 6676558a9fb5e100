"""The files of the packages on the processors of Raspberry Pis, emulated by QEMU.

What needs a kernel of the processor is left out: maintainer scripts, systemd, and the child process
of Adafruit's driver.
"""

import json
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import build_debs
import pytest
from centrals import running_central
from daemons import until
from emulated import EmulatedSystem

from central.errors import UnknownDevice
from central.storage import telemetry

# Each processor once, and each version of Debian's python3-libgpiod.
SYSTEMS = [("bookworm", "armhf"), ("trixie", "arm64")]
PYTHON = ("/usr/bin/python3", "-IS")  # QEMU knows no #! lines. This is the launcher's.
LAUNCH = "/usr/lib/sensor-agent/launch"
CONFIG = "/etc/sensor-agent/config.toml"
PLACES = {
    "STATE_DIRECTORY": "/var/lib/sensor-agent",
    "RUNTIME_DIRECTORY": "/run/sensor-agent",
}
PATIENCE = 300.0  # Seconds. The first start compiles every module, and takes most of a minute.

IMPORT = """\
from adafruit_platformdetect import Detector

# What the kernel of a Pi 4 shows in /proc/cpuinfo.
FIELDS = {"Hardware": "BCM2711", "Revision": "c03114"}
Detector.get_cpuinfo_field = lambda self, field: FIELDS.get(field)

import json
import adafruit_dht, board, gpiod, sysv_ipc

names = [module.__file__ for module in (adafruit_dht, gpiod, sysv_ipc)]
print(json.dumps({"board": board.board_id, "D4": str(board.D4), "files": names}))
"""


@dataclass(frozen=True)
class EmulatedPi:
    device: str
    system: EmulatedSystem
    helper: str  # The program of Adafruit's driver for this processor.

    def sensor_agent(self, *arguments, **variables):
        return self.system.run(*PYTHON, LAUNCH, *arguments, **variables)


@dataclass(frozen=True)
class Started:
    process: subprocess.Popen[bytes]
    log: Callable[[], str]


@pytest.fixture(scope="module", params=SYSTEMS, ids="-".join)
def pi(request, packages, tmp_path_factory):
    """A system with the daemon and Adafruit's driver."""
    suite, architecture = request.param
    home = tmp_path_factory.mktemp(architecture)
    [adafruit] = (one for one in build_debs.PACKAGES if one.architecture == architecture)
    debs = [packages["sensor-agent"], build_debs.build(adafruit, home)]
    system = EmulatedSystem(suite, architecture, home / "root", debs)
    helper = f"/usr/lib/sensor-agent/{adafruit.vendor}/{adafruit.helper}"
    return EmulatedPi(f"pi-{architecture}", system, helper)


@pytest.fixture(scope="module")
def central(tmp_path_factory):
    with running_central(tmp_path_factory.mktemp("central")) as central:
        yield central


@pytest.fixture(scope="module")
def daemon(pi, central, tmp_path_factory):
    """The daemon with simulated hardware."""
    for place in ("/etc/sensor-agent", *PLACES.values()):
        pi.system.path(place).mkdir(parents=True)
    for name in ("group_key_file", "ca_file"):
        file = pi.system.path(f"/etc/sensor-agent/{name}")
        file.touch(0o600)
        file.write_text(Path(central.info[name]).read_text())
    pi.system.path(CONFIG).write_text(
        f'[device]\nid = "{pi.device}"\n[cloud]\nid_scope = "{central.info["id_scope"]}"\n'
        f'provisioning_host = "{central.info["mqtt_host"]}"\n'
        'group_key_file = "group_key_file"\nca_file = "ca_file"\n'
        '[sensor]\ndriver = "fake"\ninterval = 1\n[led]\ndriver = "fake"\n'
    )
    log = tmp_path_factory.mktemp("log") / "daemon.log"
    command = pi.system.command(*PYTHON, LAUNCH, "run", "--config", CONFIG, **PLACES)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    yield Started(process, log.read_text)
    process.kill()
    process.wait()


def test_the_command_runs(pi):
    done = pi.sensor_agent("--version")
    assert (done.stdout, done.stderr) == ("sensor-agent 0.1.0 (package)\n", "")


def test_the_daemon_takes_readings_and_sends_them(pi, daemon, central):
    def messages():
        assert daemon.process.poll() is None, daemon.log()
        try:
            found = central.read(telemetry.messages, pi.device)
        except UnknownDevice:  # It has not registered yet.
            return None
        return found if len(found) > 2 else None

    found = until(messages, what=daemon.log, patience=PATIENCE)
    bodies = [json.loads(message.body) for message in found]
    assert all(0 <= body["humid"] <= 100 for body in bodies)


def test_the_daemon_answers_status(pi, daemon):
    done = pi.sensor_agent("status", "--json", **PLACES)
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert (status["device_id"], status["origin"]) == (pi.device, "package")
    assert status["sensor"]["status"] == "ok"
    assert status["cloud"]["hub"]


def test_the_daemon_stops_cleanly(daemon):
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(PATIENCE) == 0, daemon.log()


def test_adafruits_driver_is_complete(pi):
    pi.system.path("/root/import.py").write_text(IMPORT)
    variables = {"BLINKA_SKIP_DEPENDENCY_CHECK": "1"}  # As the daemon runs it.
    done = pi.sensor_agent("--program", "/root/import.py", **variables)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["board"] == "RASPBERRY_PI_4B"
    assert found["files"][0].startswith("/usr/lib/sensor-agent/vendor-adafruit/")
    assert all(file.startswith("/usr/lib/python3/dist-packages/") for file in found["files"][1:])


def test_the_helper_of_adafruits_driver_runs_on_the_processor(pi):
    done = pi.system.run(pi.helper, "gpiochip0", "4")
    assert (done.returncode, done.stdout) == (1, "Unable to open chip: gpiochip0\n")
