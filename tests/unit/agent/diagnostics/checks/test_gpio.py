import errno
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
from examinations import CONFIG, FAKE, examination, raspberry_pi, write
from statuses import STATUS

from agent.config.loader import SensorConfig
from agent.diagnostics.checks import gpio
from agent.diagnostics.finding import Outcome

HEADER = gpio.Chip("gpiochip0", "pinctrl-rp1", {})
KERNEL = replace(CONFIG, sensor=SensorConfig(driver="kernel"))


@pytest.fixture
def board(tmp_path):
    raspberry_pi(tmp_path)
    return tmp_path


@pytest.fixture
def holders(board, monkeypatch):
    def holders(*chips, config=CONFIG, status=None):
        monkeypatch.setattr(gpio, "read_chips", lambda _dev, _lines: list(chips))
        return gpio.holders(examination(board, config, status=status))

    return holders


def held(**lines):
    return gpio.Chip("gpiochip4", "pinctrl-rp1", {int(k[1:]): v for k, v in lines.items()})


def test_a_line_held_by_another_program_fails_with_the_holder(holders):
    finding = holders(held(g17="pigpiod"))
    assert finding.outcome is Outcome.FAILED
    assert finding.line == "GPIO 17 ([led] pin) is held by pigpiod."


def test_a_line_held_by_the_kernels_driver_is_ok_only_if_it_is_configured(holders):
    line = held(g4="dht11@4")
    assert holders(line, config=KERNEL).outcome is Outcome.OK
    finding = holders(line, status=STATUS)
    assert finding.outcome is Outcome.FAILED
    assert 'driver = "kernel"' in finding.advice


def test_the_header_is_found_among_other_chips(holders):
    other = gpio.Chip("gpiochip0", "gpio-brcmstb@107d508500", {4: "something"})
    assert holders(other, HEADER).outcome is Outcome.OK


def test_a_chip_of_another_board_is_a_warning(holders):
    assert holders(gpio.Chip("gpiochip0", "gpio-sim", {})).outcome is Outcome.WARNING


def test_without_a_driver_that_needs_lines_none_is_read(holders, board):
    assert holders(config=FAKE).outcome is Outcome.SKIPPED
    assert gpio.access(examination(board, FAKE)).outcome is Outcome.SKIPPED


def test_lines_without_access_are_skipped(board, monkeypatch, holders):
    assert holders().outcome is Outcome.SKIPPED

    def refuse(_dev, _lines):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(gpio, "read_chips", refuse)
    assert gpio.holders(examination(board)).outcome is Outcome.SKIPPED


def test_a_kernel_without_gpio_fails(board):
    finding = gpio.access(examination(board))
    assert finding.outcome is Outcome.FAILED
    assert "CONFIG_GPIO_CDEV" in str(finding.advice)


def test_access_of_root_is_described_as_such(board):
    write(board, "dev/gpiochip0", "")
    assert gpio.access(examination(board, is_root=True)).line.startswith("Root has access")


class Info:
    """The answers of gpiod 2 for a chip with 54 lines, two of them in use."""

    name, label, num_lines = "gpiochip0", "pinctrl-bcm2711", 54

    def __init__(self, line=None):
        self.used = line in {4, 5}
        self.consumer = "PulseIn" if line == 4 else ""


class Chip:
    def __init__(self, path):
        assert path.endswith("gpiochip0")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def get_info(self):
        return Info()

    def get_line_info(self, line):
        assert line < 54
        return Info(line)


def test_only_the_requested_lines_are_read(tmp_path, monkeypatch):
    (tmp_path / "gpiochip0").touch()
    monkeypatch.setitem(sys.modules, "gpiod", types.SimpleNamespace(Chip=Chip))
    [chip] = gpio.read_chips(tmp_path, [4, 5, 17, 60])
    assert chip == gpio.Chip("gpiochip0", "pinctrl-bcm2711", {4: "PulseIn", 5: "the kernel"})


def test_without_gpiod_the_lines_are_skipped(board, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpiod", None)
    finding = gpio.holders(examination(board))
    assert finding.outcome is Outcome.SKIPPED
    assert "gpiod" in finding.line


def overlay(root, *, driver="kernel", pin=4):
    config = replace(CONFIG, sensor=SensorConfig(driver=driver, pin=pin))
    return gpio.overlay(examination(root, config))


def pi(root, *, config=None, device=None, where="boot/firmware"):
    if config is not None:
        (root / where).mkdir(parents=True)
        (root / where / "config.txt").write_text(config)
    if device is not None:
        (root / "sys/bus/iio/devices/iio:device0").mkdir(parents=True)
        (root / "sys/bus/iio/devices/iio:device0/name").write_text(f"{device}\n")


@pytest.mark.parametrize(
    ("config", "device", "outcome", "words"),
    [
        ("dtoverlay=dht11,gpiopin=4\n", "dht11@4", "ok", "is loaded"),
        ("dtoverlay=dht11\n", "dht11@0", "ok", "is loaded"),
        (None, "dht11@4", "ok", "is loaded"),
        ("", "dht11@4", "warning", "after a restart"),
        ("#dtoverlay=dht11,gpiopin=4\n", "dht11@4", "warning", "after a restart"),
        ("dtoverlay=dht11,gpiopin=44\n", "dht11@4", "warning", "after a restart"),
        ("dtoverlay=dht11,gpiopin=4\n", None, "failed", "it is not loaded"),
        ("dtoverlay=dht11,gpiopin=4\n", "bme280", "failed", "it is not loaded"),
        ("", None, "failed", "is not loaded"),
        (None, None, "failed", "is not loaded"),
    ],
)
def test_the_overlay_of_a_configured_kernel_driver(tmp_path, config, device, outcome, words):
    pi(tmp_path, config=config, device=device)
    finding = overlay(tmp_path)
    assert finding.outcome == outcome, finding
    assert words in finding.line
    if outcome != "ok":
        assert "gpiopin=4" in finding.advice


def test_the_older_path_of_the_firmwares_configuration_is_read(tmp_path):
    pi(tmp_path, config="dtoverlay = dht11,gpiopin=22\n", device="dht11@16", where="boot")
    assert overlay(tmp_path, pin=22).outcome is Outcome.OK


def test_an_unused_kernel_driver_is_recommended(tmp_path):
    pi(tmp_path, config="dtoverlay=dht11,gpiopin=4\n", device="dht11@4")
    finding = overlay(tmp_path, driver="dht22")
    assert finding.outcome is Outcome.WARNING
    assert overlay(tmp_path, driver="dht22", pin=5).outcome is Outcome.SKIPPED


def test_a_firmware_configuration_that_cannot_be_read_is_skipped_with_the_reason(
    tmp_path, monkeypatch
):
    pi(tmp_path, config="dtoverlay=dht11,gpiopin=4\n", device="dht11@4")

    def fail(_path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    finding = overlay(tmp_path)
    assert finding.outcome is Outcome.SKIPPED
    assert finding.line.endswith("/boot/firmware/config.txt: input/output error.")
