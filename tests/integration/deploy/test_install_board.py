"""What the installer changes in the board's own files, and how it restores them."""

import os

import pytest
from scripts import sh, write_program

CONFIG = "dtparam=audio=on\n[pi4]\narm_boost=1\n"
BLOCK = "# begin sensor-agent\n[all]\ndtoverlay=dht11,gpiopin={}\n# end sensor-agent\n"


@pytest.fixture
def board(tmp_path):
    """Return a function that runs a line of the installer, and what `dtoverlay` was called with."""
    boot, told = tmp_path / "config.txt", tmp_path / "told"
    boot.write_text(CONFIG)
    write_program(tmp_path / "dtoverlay", f'echo "$*" >>{told}; exit ${{DTOVERLAY_FAILS:-0}}')
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def do(line, **environment):
        lines = f". deploy/steps.sh; . deploy/board.sh; boot={boot}; {line}"
        done = sh(lines, env=os.environ | path | environment)
        return done, boot.read_text(), told.read_text().split("\n")[:-1] if told.exists() else []

    return do


def test_the_kernels_driver_is_enabled_at_once_and_for_the_next_boot(board):
    done, boot, told = board("enable_kernel_driver 4")
    assert done.returncode == 0, done.stderr
    assert boot == CONFIG + BLOCK.format(4)
    assert told == ["dht11 gpiopin=4"]
    assert "reboot" not in done.stdout


def test_a_driver_that_cannot_be_loaded_now_needs_a_restart(board):
    done, boot, _ = board("enable_kernel_driver 4", DTOVERLAY_FAILS="1")
    assert done.returncode == 0
    assert "Restart the machine: sudo reboot" in done.stdout
    assert boot == CONFIG + BLOCK.format(4)


def test_another_pin_replaces_the_first(board):
    board("enable_kernel_driver 4")
    _, boot, _ = board("enable_kernel_driver 22")
    assert boot == CONFIG + BLOCK.format(22)


@pytest.mark.parametrize(
    ("line", "suffices"),
    [
        ("dtoverlay=dht11", True),
        ("  dtoverlay=dht11,gpiopin=4", True),
        ("dtoverlay=dht11,foo=1,gpiopin=4", True),
        ("#dtoverlay=dht11,gpiopin=4", False),
        ("dtoverlay=dht11,gpiopin=44", False),
        ("dtoverlay=dht11,gpiopin=5", False),
    ],
)
def test_a_line_of_the_owner_for_this_pin_suffices(board, line, suffices):
    _, boot, told = board(f"printf '%s\\n' '{line}' >>$boot; enable_kernel_driver 4")
    assert boot == f"{CONFIG}{line}\n" + ("" if suffices else BLOCK.format(4))
    assert told == ["dht11 gpiopin=4"]


@pytest.mark.parametrize("last", ["dtparam=spi=on", "dtparam=spi=on\n"])
def test_the_last_line_of_the_owner_stays_separate(board, last):
    _, boot, _ = board(f"printf %s '{last}' >>$boot; enable_kernel_driver 4")
    assert boot == f"{CONFIG}dtparam=spi=on\n" + BLOCK.format(4)
    _, boot, _ = board("disable_kernel_driver")
    assert boot == f"{CONFIG}dtparam=spi=on\n"


def test_lines_after_ours_still_apply_to_every_board(board):
    board("enable_kernel_driver 4")
    _, boot, _ = board("echo dtparam=spi=on >>$boot; disable_kernel_driver")
    assert boot == f"{CONFIG}[all]\ndtparam=spi=on\n"


def test_a_lost_marker_costs_no_line_of_the_owner(board):
    board("enable_kernel_driver 4")
    lose_it = "sed -i '/^# end sensor-agent/d' $boot; printf '[pi5]\nfan=1\n' >>$boot"
    _, boot, _ = board(f"{lose_it}; disable_kernel_driver")
    assert boot == f"{CONFIG}[pi5]\nfan=1\n"


def test_changed_line_ends_are_accepted(board):
    board("enable_kernel_driver 4")
    board("sed -i 's/$/\\r/' $boot")
    _, boot, _ = board("disable_kernel_driver")
    assert boot == CONFIG


def test_a_later_failure_restores_the_boot_file(board):
    done, boot, told = board("enable_kernel_driver 4; fail 'Something else went wrong.'")
    assert done.returncode == 1
    assert boot == CONFIG
    assert told == ["dht11 gpiopin=4", "-r dht11"]
    assert "Undone." in done.stderr


def test_disabling_the_driver_keeps_the_other_lines(board):
    board("enable_kernel_driver 4")
    _, boot, _ = board("disable_kernel_driver")
    assert boot == CONFIG
    _, boot, _ = board("disable_kernel_driver")
    assert boot == CONFIG


def test_another_driver_makes_the_kernel_release_the_line(board):
    board("enable_kernel_driver 4")
    done, boot, _ = board("kernel_has_sensor() { true; }; give_line_back")
    assert done.returncode == 0, done.stderr
    assert boot == CONFIG
    done, boot, told = board("give_line_back")
    assert (done.stdout, boot, told) == ("", CONFIG, ["dht11 gpiopin=4", "-r dht11"])


def test_a_later_failure_loads_the_kernels_driver_again(board):
    board("enable_kernel_driver 22")
    done, boot, told = board("kernel_has_sensor() { true; }; give_line_back; fail 'It failed.'")
    assert done.returncode == 1
    assert "Undone." in done.stderr
    assert boot == CONFIG + BLOCK.format(22)
    assert told == ["dht11 gpiopin=22", "-r dht11", "dht11 gpiopin=22"]


def test_a_missing_boot_file_is_reported(board):
    done, _, told = board("boot=/nowhere/config.txt; enable_kernel_driver 4")
    assert done.returncode == 0
    assert "Note: this system has no /nowhere/config.txt" in done.stdout
    assert told == []


@pytest.mark.parametrize(("overlay", "driver"), [(True, "kernel"), (False, "dht22")])
def test_the_kernels_driver_is_proposed_if_the_system_has_it(board, tmp_path, overlay, driver):
    if overlay:
        (tmp_path / "overlays").mkdir()
        (tmp_path / "overlays/dht11.dtbo").touch()
    done, _, _ = board("proposed_driver")
    assert done.stdout == f"{driver}\n"
