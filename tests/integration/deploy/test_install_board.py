"""What the installer does to the board's own files, and how it takes that back."""

import os
import subprocess

import pytest
from places import ROOT

CONFIG = "dtparam=audio=on\n[pi4]\narm_boost=1\n"
BLOCK = "# begin sensor-agent\n[all]\ndtoverlay=dht11,gpiopin={}\n# end sensor-agent\n"


@pytest.fixture
def board(tmp_path):
    """Returns a function that runs a line of the installer's, and what `dtoverlay` was told."""
    boot, told = tmp_path / "config.txt", tmp_path / "told"
    boot.write_text(CONFIG)
    program = tmp_path / "dtoverlay"
    program.write_text(f'#!/bin/sh\necho "$*" >>{told}\nexit ${{DTOVERLAY_FAILS:-0}}\n')
    program.chmod(0o755)

    def do(line, **environment):
        done = subprocess.run(
            ["sh", "-euc", f". deploy/steps.sh; . deploy/board.sh; boot={boot}; {line}"],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=30,
            env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | environment,
        )  # fmt: skip
        return done, boot.read_text(), told.read_text().split("\n")[:-1] if told.exists() else []

    return do


def test_the_kernels_driver_is_enabled_for_the_next_start_and_at_once(board):
    done, boot, told = board("enable_kernel_driver 4")
    assert done.returncode == 0, done.stderr
    assert boot == CONFIG + BLOCK.format(4)
    assert told == ["dht11 gpiopin=4"]
    assert "reboot" not in done.stdout


def test_where_it_cannot_be_loaded_at_once_a_restart_is_due(board):
    done, boot, _ = board("enable_kernel_driver 4", DTOVERLAY_FAILS="1")
    assert done.returncode == 0
    assert "it takes a restart: sudo reboot" in done.stdout
    assert boot == CONFIG + BLOCK.format(4)


def test_another_pin_takes_the_place_of_the_first(board):
    board("enable_kernel_driver 4")
    _, boot, _ = board("enable_kernel_driver 22")
    assert boot == CONFIG + BLOCK.format(22)


@pytest.mark.parametrize(
    "line", ["dtoverlay=dht11", "  dtoverlay=dht11,gpiopin=4", "dtoverlay=dht11,foo=1,gpiopin=4"]
)
def test_a_line_of_the_owners_is_enough(board, line):
    _, boot, told = board(f"printf '%s\\n' '{line}' >>$boot; enable_kernel_driver 4")
    assert boot == f"{CONFIG}{line}\n"
    assert told == ["dht11 gpiopin=4"]


@pytest.mark.parametrize(
    "line",
    ["#dtoverlay=dht11,gpiopin=4", "dtoverlay=dht11,gpiopin=44", "dtoverlay=dht11,gpiopin=5"],
)
def test_another_line_is_not(board, line):
    _, boot, _ = board(f"printf '%s\\n' '{line}' >>$boot; enable_kernel_driver 4")
    assert boot == f"{CONFIG}{line}\n" + BLOCK.format(4)


@pytest.mark.parametrize("last", ["dtparam=spi=on", "dtparam=spi=on\n"])
def test_the_owners_last_line_stays_a_line_of_its_own(board, last):
    _, boot, _ = board(f"printf %s '{last}' >>$boot; enable_kernel_driver 4")
    assert boot == f"{CONFIG}dtparam=spi=on\n" + BLOCK.format(4)
    _, boot, _ = board("disable_kernel_driver")
    assert boot == f"{CONFIG}dtparam=spi=on\n"


def test_what_the_owner_writes_behind_it_stays_meant_for_every_board(board):
    board("enable_kernel_driver 4")
    _, boot, _ = board("echo dtparam=spi=on >>$boot; disable_kernel_driver")
    assert boot == f"{CONFIG}[all]\ndtparam=spi=on\n"


def test_nothing_of_the_owners_goes_where_a_marker_is_lost(board):
    board("enable_kernel_driver 4")
    lose_it = "sed -i '/^# end sensor-agent/d' $boot; printf '[pi5]\nfan=1\n' >>$boot"
    _, boot, _ = board(f"{lose_it}; disable_kernel_driver")
    assert boot == f"{CONFIG}[pi5]\nfan=1\n"


def test_ends_of_lines_may_have_been_changed(board):
    board("enable_kernel_driver 4")
    board("sed -i 's/$/\\r/' $boot")
    _, boot, _ = board("disable_kernel_driver")
    assert boot == CONFIG


def test_a_later_failure_takes_it_back(board):
    done, boot, told = board("enable_kernel_driver 4; fail 'Something else went wrong.'")
    assert done.returncode == 1
    assert boot == CONFIG
    assert told == ["dht11 gpiopin=4", "-r dht11"]
    assert "Undone." in done.stderr


def test_taking_it_out_leaves_the_rest(board):
    board("enable_kernel_driver 4")
    _, boot, _ = board("disable_kernel_driver")
    assert boot == CONFIG
    _, boot, _ = board("disable_kernel_driver")
    assert boot == CONFIG


def test_another_driver_is_given_the_line_back(board):
    board("enable_kernel_driver 4")
    done, boot, _ = board("kernel_has_sensor() { true; }; give_line_back")
    assert done.returncode == 0, done.stderr
    assert boot == CONFIG
    done, boot, told = board("give_line_back")
    assert (done.stdout, boot, told) == ("", CONFIG, ["dht11 gpiopin=4", "-r dht11"])


def test_a_later_failure_leaves_the_line_to_the_kernel(board):
    board("enable_kernel_driver 22")
    done, boot, told = board("kernel_has_sensor() { true; }; give_line_back; fail 'It failed.'")
    assert done.returncode == 1
    assert "Undone." in done.stderr
    assert boot == CONFIG + BLOCK.format(22)
    assert told == ["dht11 gpiopin=22", "-r dht11", "dht11 gpiopin=22"]


def test_without_the_boot_file_the_owner_is_told(board):
    done, _, told = board("boot=/nowhere/config.txt; enable_kernel_driver 4")
    assert done.returncode == 0
    assert "Note: there is no /nowhere/config.txt" in done.stdout
    assert told == []


@pytest.mark.parametrize(("overlay", "driver"), [(True, "kernel"), (False, "dht22")])
def test_the_kernels_driver_is_proposed_where_the_system_has_it(board, tmp_path, overlay, driver):
    if overlay:
        (tmp_path / "overlays").mkdir()
        (tmp_path / "overlays/dht11.dtbo").touch()
    done, _, _ = board("proposed_driver")
    assert done.stdout == f"{driver}\n"
