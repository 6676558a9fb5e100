"""The drivers of a real board, from Raspberry Pi OS's packages as far as a container goes.

The machine is given what makes it a Raspberry Pi to the installer and to gpiozero: a boot file, an
overlay, a revision, and an archive with python3-lgpio, which here writes down what it drives.
"""

import hashlib
import shutil
import subprocess

import pytest
from pis import CONFIG, STATE, until
from places import SUPPORT

LINES = f"{STATE}/lines"
LGPIO = SUPPORT / "lgpio_fake.py"

# The line keeps its level when its program dies, as Raspberry Pi's kernel has it.
WRITTEN_DOWN = f"""

def _called(name, *arguments):
    with open("{LINES}", "a") as lines:
        print(name, *arguments, file=lines)
"""

CONTROL = """\
Package: python3-lgpio
Version: 0.2.2-1~rpt1
Architecture: all
Maintainer: a test <nobody@example.org>
Description: lgpio, as Raspberry Pi OS has it
"""

# What the kernel would say of a Pi 4; in the unit /proc is mounted anew.
REVISION = "[Service]\nBindReadOnlyPaths=/opt/cpuinfo:/proc/cpuinfo\n"


@pytest.fixture(scope="module")
def board(pi, tmp_path_factory):
    pi.purge()
    _offer_package(pi, tmp_path_factory.mktemp("package"))
    boot = pi.path("/boot/firmware")
    (boot / "overlays").mkdir(parents=True)
    (boot / "overlays/dht11.dtbo").touch()
    (boot / "config.txt").write_text("dtparam=audio=on\n")
    overlay = pi.path("/usr/bin/dtoverlay")
    overlay.write_text('#!/bin/sh\necho "$*" >>/root/dtoverlay\n')
    overlay.chmod(0o755)
    pi.run("touch", "/dev/gpiochip0")
    pi.path("/opt/cpuinfo").write_text("Revision\t: c03114\nModel\t\t: Raspberry Pi 4\n")
    addition = pi.path("/etc/systemd/system/sensor-agent.service.d/test.conf")
    addition.parent.mkdir()
    addition.write_text(REVISION)
    yield pi
    pi.purge()
    assert not addition.parent.exists()  # With what the owner added to the unit.
    shutil.rmtree(boot)
    overlay.unlink()
    pi.run("rm", "/dev/gpiochip0")


def _offer_package(pi, place):
    """Make an archive of one package, and have apt know it."""
    modules = place / "files/usr/lib/python3/dist-packages"
    (modules / "lgpio-0.2.2.0.dist-info").mkdir(parents=True)
    (modules / "lgpio.py").write_text(LGPIO.read_text() + WRITTEN_DOWN)
    metadata = "Metadata-Version: 2.1\nName: lgpio\nVersion: 0.2.2.0\n"
    (modules / "lgpio-0.2.2.0.dist-info/METADATA").write_text(metadata)
    (place / "files/DEBIAN").mkdir()
    (place / "files/DEBIAN/control").write_text(CONTROL)
    archive = pi.path("/srv/archive")
    archive.mkdir()
    package = archive / "python3-lgpio.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", place / "files", package],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    content = package.read_bytes()
    (archive / "Packages").write_text(
        f"{CONTROL}Filename: ./{package.name}\nSize: {len(content)}\n"
        f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
    )
    source = pi.path("/etc/apt/sources.list.d/archive.list")
    source.write_text("deb [trusted=yes] file:/srv/archive ./\n")
    pi.run(
        *("apt-get", "update", "-o", "Dir::Etc::sourcelist=sources.list.d/archive.list"),
        *("-o", "Dir::Etc::sourceparts=-", "-o", "APT::Get::List-Cleanup=0"),
    )


@pytest.fixture
def real(board):
    """The service with the drivers that the installer proposes."""
    if not board.path(CONFIG).exists():
        board.install(board=())
    board.until_connected()
    return board


def levels(pi):
    """Return what was done to the LED's line that set its level, oldest first."""
    lines = pi.path(LINES).read_text().splitlines()
    return [int(line.split()[2]) for line in lines if line.startswith(("write 17", "output 17"))]


def test_the_kernels_driver_is_proposed_and_enabled(real):
    assert 'driver = "kernel"' in real.path(CONFIG).read_text()
    boot = real.path("/boot/firmware/config.txt").read_text()
    assert "\n[all]\ndtoverlay=dht11,gpiopin=4\n" in boot
    assert real.path("/root/dtoverlay").read_text() == "dht11 gpiopin=4\n"


def test_lgpio_is_the_systems(real):
    shown = real.out("dpkg-query", "--show", "python3-lgpio")
    assert shown.split() == ["python3-lgpio", "0.2.2-1~rpt1"]
    real.path("/root/where.py").write_text("import gpiozero, lgpio; print(lgpio.__file__)")
    where = real.out("/usr/lib/sensor-agent/launch", "--program", "/root/where.py")
    assert where.strip() == "/usr/lib/python3/dist-packages/lgpio.py"


def test_the_gpio_lines_are_the_groups(real):
    rules = real.path("/usr/lib/udev/rules.d/60-sensor-agent.rules").read_text()
    assert 'KERNEL=="gpiochip*", GROUP="gpio"' in rules
    assert "gpio" in real.show("SupplementaryGroups")["SupplementaryGroups"]


def test_without_a_sensor_it_is_ready_and_says_so(real):
    assert real.show("ActiveState")["ActiveState"] == "active"
    until(lambda: real.properties().get("sensorStatus") == "failed")
    assert "sensor gives no readings" in real.show("StatusText")["StatusText"]


def test_killed_its_led_goes_off_before_it_is_started_again(real):
    with real.added("[Service]\nRestart=no\n", name="no-restart"):
        real.restart()
        assert real.ask("led", "on")["state"] == "on"
        assert levels(real)[-1] == 1
        real.run("kill", "-KILL", real.show("MainPID")["MainPID"])
        until(lambda: real.show("ActiveState")["ActiveState"] == "failed")
        assert levels(real)[-1] == 0


def test_stopped_its_led_goes_off(real):
    assert real.ask("led", "blink", "1")["state"] == "blinking"
    until(lambda: levels(real)[-1] == 1)
    real.run("systemctl", "stop", "sensor-agent")
    assert levels(real)[-1] == 0
    real.restart()


def test_purged_the_boot_file_is_as_it_was(real):
    real.purge()
    assert real.path("/boot/firmware/config.txt").read_text() == "dtparam=audio=on\n"
    assert not real.path("/usr/lib/udev/rules.d/60-sensor-agent.rules").exists()
