"""What the doctor says about lines that are really held: by 1-Wire, sysfs, a program, a daemon."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from boot_configs import BOOKWORM
from examinations import CONFIG, examination, raspberry_pi, write
from machine import LED, another_program_has_the_line, until
from statuses import STATUS

from agent.config.loader import LedConfig, SensorConfig
from agent.diagnostics.checks import gpio
from agent.diagnostics.finding import Outcome
from agent.diagnostics.line_processes import processes

SYSFS = Path("/sys/class/gpio")
PULL = Path("/sys/devices/platform/gpio-sim.0/gpiochip0/sim_gpio4/pull")
ONE_WIRE = ("wire", "w1-gpio", "onewire")  # The last one makes the device.
LINES = replace(
    CONFIG, sensor=SensorConfig(driver="kernel"), led=LedConfig(driver="gpiozero", pin=LED)
)


@pytest.fixture
def board(tmp_path):
    """A Raspberry Pi by its files, with this machine's GPIO chips, sysfs and processes."""
    raspberry_pi(tmp_path)
    (tmp_path / "dev").symlink_to("/dev")
    (tmp_path / "sys").symlink_to("/sys")
    write(tmp_path, "boot/firmware/config.txt", f"{BOOKWORM}dtoverlay=w1-gpio\n")
    return tmp_path


def holders(board, **options):
    real = {"processes": lambda _proc: processes(Path("/proc"))}
    return gpio.holders(examination(board, LINES, **real, **options))


@pytest.fixture
def one_wire():
    PULL.write_text("pull-up")  # As the resistor that 1-Wire needs.
    for name in ONE_WIRE:
        subprocess.run(["insmod", f"/modules/{name}.ko"], check=True)
    yield
    for name in reversed(ONE_WIRE):
        subprocess.run(["rmmod", name], check=True)
    PULL.write_text("pull-down")


def test_free_lines_are_free(no_daemon, board):
    finding = holders(board)
    assert finding.outcome is Outcome.OK, finding
    assert finding.line == f"GPIO 4 and GPIO {LED} are free."


def test_1_wire_is_named_with_the_line_and_the_menu_that_switch_it_off(no_daemon, board, one_wire):
    finding = holders(board)
    assert finding.outcome is Outcome.FAILED
    assert finding.line == (
        'GPIO 4 ([sensor] pin) is in use by the kernel, for 1-Wire (label "onewire@4").'
    )
    assert "delete the line dtoverlay=w1-gpio from" in finding.advice
    assert "sudo raspi-config, Interface Options, 1-Wire, No" in finding.advice


def test_another_program_is_named_with_its_process(no_daemon, board):
    with another_program_has_the_line():
        [holder] = processes(Path("/proc")).found
        finding = holders(board)
    assert holder.has_others  # This gpioset makes requests of the older kind.
    assert finding.line == (
        f'GPIO {LED} ([led] pin) is in use under the label "gpioset", most likely by gpioset '
        f"(process {holder.pid})."
    )


def test_the_command_for_an_export_in_sysfs_releases_the_line(no_daemon, board):
    [base] = [
        int((chip / "base").read_text())
        for chip in SYSFS.glob("gpiochip*")
        if (chip / "label").read_text() == "pinctrl-bcm2835\n"
    ]
    (SYSFS / "export").write_text(str(base + LED))
    finding = holders(board)
    assert finding.line == (
        f"GPIO {LED} ([led] pin) is in use by a script or program that has exported it in "
        "/sys/class/gpio."
    )
    [number] = re.findall(r"echo ([0-9]+) \| sudo tee /sys/class/gpio/unexport", finding.advice)
    (SYSFS / "unexport").write_text(number)
    assert holders(board).outcome is Outcome.OK


def test_the_running_daemon_is_the_right_holder(central, daemon, board):
    until(lambda: holders(board).outcome is Outcome.FAILED)
    assert f"by the service (process {daemon.process.pid})." in holders(board).line
    assert holders(board, status=STATUS).outcome is Outcome.OK
