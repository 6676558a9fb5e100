"""The package on a machine: installed, upgraded, downgraded, removed and purged."""

import json
import shutil

import debs
import pytest
from debs import CANNOT_START, with_program
from pis import CONFIG, OWN_KEY, STATE, until

COMMAND = "/usr/bin/sensor-agent"
TREE = "/usr/lib/sensor-agent"
COPY = "/usr/lib/sensor-agent.previous"
BOOT_CONFIG = """\
[pi4]
arm_boost=1
# begin sensor-agent
[all]
dtoverlay=dht11,gpiopin=4
# end sensor-agent
"""
NEVER_READY = "import time\ntime.sleep(1000)\n"


def version_of(pi):
    return pi.out("sensor-agent", "--version").strip()


def test_without_a_configuration_the_service_waits(bare):
    bare.install_package()
    unit = bare.show("ActiveState", "UnitFileState", "ConditionResult", "Result")
    assert unit == {
        "ActiveState": "inactive",
        "UnitFileState": "enabled",
        "ConditionResult": "no",
        "Result": "success",
    }
    assert version_of(bare) == "sensor-agent 0.1.0 (package)"


def test_what_make_install_put_elsewhere_before_is_removed(bare):
    old = (
        "/opt/sensor-agent/1/bin/sensor-agent",
        "/etc/systemd/system/sensor-agent.service",
        "/usr/local/bin/sensor-agent",
        "/etc/udev/rules.d/60-sensor-agent.rules",
    )
    for path in old:
        bare.put(path, "[Service]\nExecStart=/bin/false\n", mode="644")
    bare.run("ln", "-s", "1", "/opt/sensor-agent/current")
    bare.run("systemctl", "daemon-reload")
    bare.install_package()
    assert [path for path in old if bare.path(path).exists()] == []
    unit = bare.show("FragmentPath")["FragmentPath"]  # Below /lib, as bookworm's systemd says.
    assert unit.removeprefix("/usr") == "/lib/systemd/system/sensor-agent.service"


def test_with_one_the_first_reading_arrives_at_the_next_machine(bare):
    bare.install_package()
    said = bare.configure()
    assert "sensor-agent runs as pi-c0ffee42 and is connected to 10.77.0.1." in said
    body = json.loads(bare.new_messages()[0]["body"])
    assert 0 < body["humid"] <= 100
    assert bare.status()["origin"] == "package"
    assert "sensor-agent 0.1.0 (package) on pi-c0ffee42" in bare.out("sensor-agent", "status")
    checks = json.loads(bare.run("sensor-agent", "check", "--json", check=False).stdout)["checks"]
    assert [check for check in checks if check["outcome"] == "failed"] == []


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/etc/sensor-agent", "750 root:sensor-agent"),
        (CONFIG, "640 root:sensor-agent"),
        (OWN_KEY, "600 root:root"),
        (STATE, "700 sensor-agent:sensor-agent"),
        ("/run/sensor-agent", "750 sensor-agent:sensor-agent"),
        ("/run/sensor-agent/control.sock", "660 sensor-agent:sensor-agent"),
        (TREE, "755 root:root"),
        (f"{TREE}/launch", "755 root:root"),
        (f"{TREE}/agent/__init__.py", "644 root:root"),
        (f"{TREE}/agent/__pycache__", "755 root:root"),
    ],
)
def test_files_have_their_owners_and_modes(installed, path, mode):
    assert installed.out("stat", "--format", "%a %U:%G", path).strip() == mode


def test_what_is_installed_is_what_was_packed(installed):
    assert installed.out("dpkg", "--verify", "sensor-agent") == ""
    assert installed.out("dpkg", "--audit") == ""


def test_the_unit_is_clean_and_its_exposure_small(installed):
    unit = "/usr/lib/systemd/system/sensor-agent.service"
    done = installed.run("systemd-analyze", "verify", unit)
    assert (done.stdout, done.stderr) == ("", "")
    # Setup adds them for Adafruit's driver, and where timesyncd does not keep the clock.
    drop_ins = installed.path("/etc/systemd/system/sensor-agent.service.d")
    added = {name for name in ("adafruit.conf", "clock.conf") if (drop_ins / name).exists()}
    limit = 15 + 2 * ("adafruit.conf" in added)
    installed.run("systemd-analyze", "security", f"--threshold={limit}", "sensor-agent.service")


def test_no_module_comes_from_the_state_directory_or_the_environment(installed):
    trap = "open('/run/sensor-agent/trapped', 'w').close()\n"
    version = installed.out("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    packages = f"{STATE}/.local/lib/python{version.strip()}/site-packages"
    installed.run("mkdir", "-p", packages)
    for name in ("usercustomize.py", "sitecustomize.py", "agent.py", "trap.pth"):
        text = f"import os; {trap}" if name.endswith(".pth") else trap
        for place in (packages, STATE):
            installed.path(f"{place}/{name}").write_text(text)
    variables = f"HOME={STATE} PYTHONPATH={STATE} PYTHONUSERBASE={STATE}/.local"
    installed.run("mkdir", "-p", "/etc/systemd/system/sensor-agent.service.d")
    with installed.added(f"[Service]\nEnvironment={variables}\n"):
        installed.restart()
        installed.until_connected()
        # Seen from outside, the machine's /run is empty.
        assert "trapped" not in installed.out("ls", "/run/sensor-agent")
    installed.run("rm", "-r", f"{STATE}/.local")


def test_programs_of_the_daemon_get_its_modules_and_not_those_of_others(installed):
    # As Debian's own packages of Azure's libraries would bring it.
    other = installed.path("/usr/lib/python3/dist-packages/azure")
    other.mkdir()
    (other / "__init__.py").touch()
    program = "import azure.iot.device, json, sys; print(json.dumps([azure.__file__, *sys.path]))"
    installed.put("/root/program.py", program, mode="644")
    try:
        found = installed.out(f"{TREE}/launch", "--program", "/root/program.py")
    finally:
        shutil.rmtree(other)
    file, *path = json.loads(found)
    assert file == f"{TREE}/vendor/azure/__init__.py"
    assert not [place for place in path if place.startswith(("/usr/local", "/root"))]
    assert path[-1] == "/usr/lib/python3/dist-packages"


def test_an_upgrade_keeps_everything_and_runs(installed):
    config, last = installed.path(CONFIG).read_text(), installed.messages()[-1]["number"]
    newer = debs.other_version(installed.debs["sensor-agent"], "0.2.0")
    installed.install_package(newer)
    assert version_of(installed) == "sensor-agent 0.2.0 (package)"
    installed.until_connected()
    assert installed.status()["version"] == "0.2.0"
    assert installed.path(CONFIG).read_text() == config
    assert not installed.path(COPY).exists()
    assert until(lambda: installed.messages()[-1]["number"] > last + 2)


def test_a_key_that_only_systemd_hides_from_others_does_not_prevent_an_upgrade(installed):
    installed.run("chmod", "644", OWN_KEY)
    try:
        installed.install_package(debs.other_version(installed.debs["sensor-agent"], "0.2.1"))
    finally:
        installed.run("chmod", "600", OWN_KEY)
    installed.until_connected()
    assert installed.status()["version"] == "0.2.1"


def test_a_downgrade_keeps_everything_and_runs(installed):
    newer = debs.other_version(installed.debs["sensor-agent"], "0.3.0")
    installed.install_package(newer)
    installed.until_connected()
    config = installed.path(CONFIG).read_text()
    installed.install_package()
    installed.until_connected()
    assert installed.status()["version"] == "0.1.0"
    assert installed.path(CONFIG).read_text() == config


def test_an_upgrade_that_cannot_start_leaves_the_previous_version_running(installed):
    deb = installed.debs["sensor-agent"]
    broken = debs.other_version(deb, "0.4.0", with_program(CANNOT_START))
    said = installed.install_package(broken)
    assert "sensor-agent 0.4.0 did not start, so the previous version runs again." in said
    installed.until_connected()
    assert installed.status()["version"] == "0.1.0"
    assert "this version is broken" in installed.out("journalctl", "--unit", "sensor-agent")
    assert installed.out("dpkg", "--audit") == ""

    # What dpkg does if the next package cannot be unpacked, as on a full card.
    script = "/var/lib/dpkg/info/sensor-agent.postinst"
    named = "DPKG_MAINTSCRIPT_PACKAGE=sensor-agent"
    installed.run("env", named, script, "abort-upgrade", "0.4.1")
    installed.until_connected()
    assert installed.status()["version"] == "0.1.0"

    installed.install_package(debs.other_version(deb, "0.4.1", with_program(CANNOT_START)))
    installed.until_connected()
    assert installed.status()["version"] == "0.1.0"
    checks = json.loads(installed.run("sensor-agent", "check", "--json", check=False).stdout)
    [daemon] = [check for check in checks["checks"] if check["id"] == "daemon"]
    assert daemon["outcome"] == "warning"

    installed.install_package(debs.other_version(deb, "0.4.2"))
    installed.until_connected()
    assert installed.status()["version"] == "0.4.2"
    assert installed.status()["origin"] == "package"
    assert not installed.path(COPY).exists()


def test_an_upgrade_that_was_interrupted_and_does_not_start_leaves_the_version_before(installed):
    broken = debs.other_version(installed.debs["sensor-agent"], "0.4.3", with_program(CANNOT_START))
    shutil.copy(broken, installed.path("/root/new.deb"))
    for _ in range(2):
        installed.run("dpkg", "--unpack", "/root/new.deb")
    said = installed.run("dpkg", "--configure", "sensor-agent").stderr
    assert "so the previous version runs again." in said
    installed.until_connected()
    assert installed.status()["version"] == "0.1.0"


def test_if_no_version_starts_it_is_said(installed):
    broken = debs.other_version(installed.debs["sensor-agent"], "0.4.4", with_program(CANNOT_START))
    obstacle = installed.path("/etc/systemd/system/sensor-agent.service.d/obstacle.conf")
    obstacle.write_text("[Service]\nExecStartPre=/bin/false\n")
    try:
        said = installed.install_package(broken)
    finally:
        obstacle.unlink()
    assert "Neither sensor-agent 0.4.4 nor the previous version starts." in said
    assert version_of(installed).startswith("sensor-agent 0.1.0 (previous package, because")
    installed.run("dpkg-reconfigure", "sensor-agent")
    installed.until_connected()
    assert installed.status()["version"] == "0.1.0"


def test_an_upgrade_that_never_becomes_ready_is_given_up(installed):
    hanging = debs.other_version(installed.debs["sensor-agent"], "0.5.0", with_program(NEVER_READY))
    installed.run("mkdir", "-p", "/etc/systemd/system/sensor-agent.service.d")
    with installed.added("[Service]\nTimeoutStartSec=15\n"):
        installed.install_package(hanging)
        installed.until_connected()
        assert installed.status()["version"] == "0.1.0"


def test_what_stays_after_the_removal_is_announced_and_taken_up_again(installed):
    boot = installed.path("/boot/config.txt")
    with_lines = BOOT_CONFIG.replace("=4", "=22")
    boot.write_text(with_lines)
    installed.run("mkdir", "-p", "/etc/systemd/system/sensor-agent.service.d")
    owned = installed.out("dpkg", "--listfiles", "sensor-agent").splitlines()
    said = installed.apt("remove", "sensor-agent")
    assert "The kernel's sensor driver was removed from /boot/config.txt." in said
    assert boot.read_text() == "[pi4]\narm_boost=1\n"
    [announced] = (line for line in said.splitlines() if line.startswith("Until the package is"))
    left = installed.out("find", "/", "-xdev", "-name", "*sensor-agent*").splitlines()
    for path in left:
        if path.startswith(("/root/", "/var/lib/dpkg/", "/var/cache/apt/", "/var/log/")):
            continue
        if path.startswith("/var/lib/systemd/deb-systemd-helper-"):
            continue
        directory = path.rpartition("/")[0]
        assert path in announced or directory.startswith("/etc/systemd/system"), path
    assert "user and group sensor-agent" in announced
    assert "sensor-agent" not in installed.out("ls", "/run", "/usr/bin", "/usr/lib").split()
    assert not installed.path(COPY).exists()
    assert [path for path in owned if installed.path(path).is_file()] == []
    assert all(installed.path(kept).exists() for kept in (CONFIG, OWN_KEY, STATE))

    installed.install_package()
    assert boot.read_text() == with_lines
    boot.unlink()
    assert installed.is_active()
    installed.until_connected()


@pytest.mark.parametrize("order", ["--remove", "--purge"])
@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        ("mount -o remount,ro /boot/firmware", "unchanged: read-only file system."),
        ("mount -o remount,size=4k,nr_inodes=2 /boot/firmware", "unchanged: no space left"),
    ],
)
def test_a_boot_partition_that_cannot_be_written_does_not_prevent_it(bare, order, harm, sentence):
    bare.install_package()
    bare.run("mkdir", "-p", "/boot/firmware")
    bare.run("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", "/boot/firmware")
    try:
        bare.run("sh", "-c", "cat >/boot/firmware/config.txt", input=BOOT_CONFIG)
        bare.run("sh", "-c", harm)
        said = bare.run("dpkg", order, "sensor-agent").stderr
        found = bare.out("sh", "-c", "cd /boot/firmware; cat config.txt; ls -A")
    finally:
        bare.run("umount", "/boot/firmware")
    assert f"Cannot write /boot/firmware/config.txt, which is {sentence}" in said
    assert said.count("delete the lines between '# begin sensor-agent' and '# end sens") == 1
    assert found == f"{BOOT_CONFIG}config.txt\n"
    assert bare.out("dpkg", "--audit") == ""
    assert not bare.path(TREE).exists()


def test_a_stopped_and_disabled_service_stays_so_after_an_upgrade(installed):
    installed.run("systemctl", "disable", "--now", "sensor-agent")
    installed.install_package(debs.other_version(installed.debs["sensor-agent"], "0.6.0"))
    unit = installed.show("ActiveState", "UnitFileState")
    installed.run("systemctl", "enable", "sensor-agent")
    assert unit == {"ActiveState": "inactive", "UnitFileState": "disabled"}


def test_purged_it_leaves_only_what_others_may_use(bare):
    boot = bare.path("/boot/firmware/config.txt")
    boot.parent.mkdir(parents=True, exist_ok=True)
    boot.write_text("[pi4]\narm_boost=1\n")
    bare.install_package()  # The packages that it needs, and the group gpio, stay.
    bare.apt("purge", "sensor-agent")
    before = bare.snapshot()
    bare.install_package()
    bare.configure()
    bare.until_connected()
    with boot.open("a") as file:
        # A block of setup has the lines of a DHT or of a sensor on I2C. All of them go.
        file.write("# begin sensor-agent\n[all]\ndtoverlay=dht11,gpiopin=4\ndtoverlay=\n")
        file.write("dtparam=i2c_arm=on\ndtoverlay=i2c-sensor,sht3x,addr=0x45\n# end sensor-agent\n")
    bare.run("usermod", "--append", "--groups", "sensor-agent", "nobody")
    said = bare.apt("purge", "sensor-agent")
    assert "The group gpio stays, which other programs may use." in said
    assert boot.read_text() == "[pi4]\narm_boost=1\n"
    changed = {line for line in bare.snapshot() ^ before if not line.startswith("/root/")}
    assert changed == set()
    for kind in ("passwd", "group"):
        assert bare.run("getent", kind, "sensor-agent", check=False).returncode != 0
