"""What the service may do, tried from inside it: a probe takes the daemon's place in its unit."""

import errno
import json
import shutil
from pathlib import Path

import pytest
from pis import GROUP_KEY, OWN_KEY, STATE, a_secret

# Each of them would be worth having; none is the daemon's.
SECRETS = (
    "/etc/shadow",
    "/root/secret",
    "/home/anna/secret",
    "/var/lib/another/secret",
    OWN_KEY,
    GROUP_KEY,
)

DEVICES = ("gpiochip0", "gpiomem", "i2c-1")  # As on a Pi 5, gpiochip4 is a link to the first.
NO_DRIVER = 60  # For experiments: no driver has this major number.


@pytest.fixture(scope="module", params=["", "clock.conf"])
def probed(pi, request):
    """What the probe found, in the daemon's own unit with nothing but its program exchanged."""
    pi.install()
    for place in ("/root/secret", "/home/anna/secret", "/var/lib/another/secret"):
        path = pi.path(place)
        path.parent.mkdir(exist_ok=True)
        path.write_text(a_secret())
        path.chmod(0o600)
    shutil.copy2(Path(__file__).with_name("probe.py"), pi.path("/opt/probe.py"))
    pi.run("systemctl", "stop", "sensor-agent")
    for minor, name in enumerate(DEVICES):
        pi.run("mknod", "--mode=660", f"/dev/{name}", "c", str(NO_DRIVER), str(minor))
        pi.run("chgrp", "gpio", f"/dev/{name}")
    pi.run("ln", "-s", "gpiochip0", "/dev/gpiochip4")
    by_setup = pi.path("/etc/systemd/system/sensor-agent.service.d/clock.conf")
    before = by_setup.read_text() if by_setup.exists() else ""
    by_setup.unlink(missing_ok=True)
    probe = f"/usr/bin/python3 -B /opt/probe.py {' '.join(SECRETS)}"
    addition = (
        f"[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart={probe}\nExecStopPost=\n"
    )
    if request.param:
        addition += pi.path(f"/usr/share/sensor-agent/{request.param}").read_text()
    with pi.added(addition):
        pi.run("systemctl", "start", "sensor-agent")
        report = pi.path(f"{STATE}/probe.json")
        found = json.loads(report.read_text())
        report.unlink()
    if before:
        by_setup.write_text(before)
    pi.run("rm", *(f"/dev/{name}" for name in (*DEVICES, "gpiochip4")))
    return found | {"has_own_devices": bool(request.param)}


def outside(names, *own):
    return [n for n in names if not any(n == place or n.startswith(f"{place}/") for place in own)]


def test_it_is_an_ordinary_user_without_any_power(probed):
    assert probed["user"] != 0
    assert probed["status"] == {
        "CapEff": "0000000000000000",
        "CapBnd": "0000000000000000",
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }


def test_it_can_write_nowhere_but_where_its_state_is(probed):
    # The temporary directories are its own, and empty again when it ends.
    own = (STATE, "/run/sensor-agent", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue")  # noqa: S108 - looked at, not used
    assert STATE in probed["directories"]
    assert outside(probed["directories"], *own) == []
    assert outside(probed["files"], *own) == []
    assert probed["protected"] == []


def test_it_can_read_no_secret_but_its_own(probed):
    credentials = "/run/credentials/sensor-agent.service"
    # The second one is empty: this device has a key.
    ours = (f"{credentials}/device.key", f"{credentials}/device.connection")
    assert ours[0] in probed["secrets"]
    # Its configuration is for it; its own state is its own.
    own = (*ours, STATE, "/etc/sensor-agent/config.toml")
    assert outside(probed["secrets"], *own) == []
    assert probed["named"] == []


def test_it_sees_no_other_processes_and_opens_no_raw_sockets(probed):
    assert probed["others"] == []
    assert not probed["raw"]
    assert not probed["netlink"]


def test_it_may_open_the_gpio_chips_and_with_a_dev_of_its_own_sees_no_others(probed):
    # The policy, which a container's kernel may not enforce, refuses EPERM: see the next test.
    assert probed["devices"]["gpiochip0"] in {errno.ENXIO, errno.EPERM}
    if probed["has_own_devices"]:
        everyones = {"full", "null", "random", "tty", "urandom", "zero"}
        # Of the link, systemd makes a device: see adafruit_child.each_chip_once.
        assert probed["devices"].keys() - everyones == {"gpiochip0", "gpiochip4"}
        assert probed["devices"]["gpiochip4"] == probed["devices"]["gpiochip0"]


def test_the_policy_for_devices_names_the_gpio_chips(pi):
    # Shown only: in a container the kernel enforces none of it.
    shown = pi.show("DevicePolicy", "DeviceAllow")
    assert shown["DevicePolicy"] == "closed"
    assert "char-gpiochip rw" in pi.path("/usr/lib/systemd/system/sensor-agent.service").read_text()
    assert shown["DeviceAllow"] in {"char-gpiochip rw", "char-rtc r"}


@pytest.mark.parametrize("addition", ["", "adafruit.conf"])
def test_real_time_priority_is_for_adafruits_helper_alone(pi, addition):
    pi.install()
    program = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))"
    text = pi.path(f"/usr/share/sensor-agent/{addition}").read_text() if addition else ""
    alone = "[Service]\nType=oneshot\nRestart=no\nExecStopPost=\nExecStart=\n"
    # The capability stands in for LimitRTPRIO, which a machine without CAP_SYS_RESOURCE, as a
    # container may be, leaves at 0 without a word. What else is in the way is what counts here.
    capable = (
        "PrivateUsers=no\nCapabilityBoundingSet=CAP_SYS_NICE\nAmbientCapabilities=CAP_SYS_NICE\n"
    )
    with pi.added(f'{text}{alone}{capable}ExecStart=/usr/bin/python3 -c "{program}"\n'):
        done = pi.run("systemctl", "restart", "sensor-agent", check=False)
        assert (done.returncode == 0) == bool(addition)
        assert pi.show("LimitRTPRIO")["LimitRTPRIO"] == ("99" if addition else "0")
