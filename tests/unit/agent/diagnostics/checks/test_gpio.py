import errno
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
from boot_configs import SHAPES, board_with, shape
from examinations import CONFIG, FAKE, examination, raspberry_pi, write
from statuses import STATUS

from agent.config.loader import LedConfig, SensorConfig
from agent.diagnostics.checks import gpio
from agent.diagnostics.finding import Outcome

HEADER = gpio.Chip("gpiochip0", "pinctrl-rp1", {})
UNIT = "usr/lib/systemd/system/sensor-agent.service"
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


def overlay(root, *, driver="kernel", pin=4, unit=True):
    if unit:
        write(root, UNIT, "")
    led = LedConfig(driver="gpiozero", pin=27)
    config = replace(CONFIG, sensor=SensorConfig(driver=driver, pin=pin), led=led)
    return gpio.overlay(examination(root, config))


def pi(root, *, device=None, line=4):
    """Have the kernel's driver loaded for this line."""
    if device is not None:
        write(root, "sys/bus/iio/devices/iio:device0/name", f"{device}\n")
        write(root, f"proc/device-tree/{device}/compatible", "dht11\0")
        gpios = root / f"proc/device-tree/{device}/gpios"
        gpios.write_bytes(b"\0\0\0\7" + line.to_bytes(4, "big") + bytes(4))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("device", [None, "dht11@4"])
def test_each_shape_of_the_firmwares_configuration_is_judged(tmp_path, name, device):
    one = SHAPES[name]
    board_with(tmp_path, one)
    pi(tmp_path, device=device)
    finding = overlay(tmp_path)
    if one.users:
        wanted = ("failed", f"has the line {one.users[0]}.", "Remove that line from")
    elif device is not None and 4 in one.pins:
        wanted = ("ok", "is loaded: dht11@4.", "")
    elif device is not None:
        wanted = ("warning", "but not after a restart", "sensor-agent setup")
    elif 4 in one.pins:
        wanted = ("failed", "but it is not loaded now", "Restart the machine")
    else:
        wanted = ("failed", "does not load it for GPIO 4", "sensor-agent setup")
    outcome, words, advice = wanted
    assert finding.outcome == outcome, finding
    assert words in finding.line
    assert advice in (finding.advice or "")


@pytest.mark.parametrize("device", ["bme280", None])
def test_without_the_file_the_driver_must_be_loaded(tmp_path, device):
    pi(tmp_path, device=device)
    finding = overlay(tmp_path)
    assert finding.outcome is Outcome.FAILED
    assert finding.line.startswith("The kernel's dht11 driver is not loaded")
    pi(tmp_path, device="dht11@4")
    assert overlay(tmp_path).outcome is Outcome.OK


def test_without_the_service_the_line_to_add_is_named(tmp_path):
    board_with(tmp_path, SHAPES["bookworm"])
    advice = overlay(tmp_path, unit=False).advice
    assert (
        f"add the line dtoverlay=dht11,gpiopin=4 to {tmp_path}/boot/firmware/config.txt" in advice
    )


def test_a_filter_that_may_not_hold_is_named(tmp_path):
    board_with(tmp_path, SHAPES["the state of a line"])
    assert "for GPIO 4 unless the filter [gpio5=1] holds." in overlay(tmp_path).line
    board_with(tmp_path, shape("[gpio5=1]\ndtoverlay=w1-gpio\n[all]\ndtoverlay=dht11\n"))
    finding = overlay(tmp_path)
    assert finding.outcome is Outcome.WARNING
    assert finding.line.startswith(
        "After a restart if the filter [gpio5=1] holds, GPIO 4 ([sensor]"
    )


def test_a_firmware_without_the_overlay_is_named(tmp_path):
    file = board_with(tmp_path, SHAPES["the default pin"])
    (file.parent / "overlays/dht11.dtbo").unlink()
    assert "has no overlay for the kernel's dht11 driver" in overlay(tmp_path).line


@pytest.mark.parametrize(
    ("name", "advice"), [("bookworm", "setup"), ("the default pin", "Restart")]
)
def test_a_driver_that_is_loaded_for_another_pin_is_named(tmp_path, name, advice):
    board_with(tmp_path, SHAPES[name])
    pi(tmp_path, device="dht11@11", line=17)
    finding = overlay(tmp_path)
    assert finding.line == "The kernel's dht11 driver is loaded for GPIO 17, not for GPIO 4."
    assert advice in finding.advice


def test_the_leds_line_must_be_free_after_a_restart(tmp_path):
    board_with(tmp_path, shape("dtoverlay=dht11\ndtoverlay=gpio-fan,gpiopin=27\n"))
    pi(tmp_path, device="dht11@4")
    finding = overlay(tmp_path)
    assert finding.outcome is Outcome.FAILED
    assert "GPIO 27 ([led] pin) is used by a fan:" in finding.line
    assert "(in raspi-config: Performance Options, Fan) and restart" in finding.advice


def test_a_sensor_on_i2c_has_no_line_and_needs_no_dht11_overlay(tmp_path):
    board_with(tmp_path, shape(""))
    sensor = SensorConfig(driver="kernel", model="sht3x", bus=1, address=0x44)
    examined = examination(tmp_path, replace(CONFIG, sensor=sensor))
    assert gpio.overlay(examined).outcome is Outcome.SKIPPED
    assert list(examined.lines(with_kernel=True)) == ["[led] pin"]


def test_the_older_path_of_the_firmwares_configuration_is_read(tmp_path):
    write(tmp_path, "boot/config.txt", "dtoverlay=dht11,gpiopin=22\n")
    pi(tmp_path, device="dht11@16", line=22)
    assert overlay(tmp_path, pin=22).outcome is Outcome.OK


def test_an_unused_kernel_driver_is_recommended(tmp_path):
    board_with(tmp_path, SHAPES["the default pin"])
    finding = overlay(tmp_path, driver="dht22")
    assert finding.outcome is Outcome.WARNING
    assert 'driver = "kernel"' in finding.advice
    assert overlay(tmp_path, driver="dht22", pin=5).outcome is Outcome.SKIPPED


def test_a_firmware_configuration_that_cannot_be_read_is_skipped_with_the_reason(
    tmp_path, monkeypatch
):
    board_with(tmp_path, SHAPES["the default pin"])

    def fail(_path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    finding = overlay(tmp_path)
    assert finding.outcome is Outcome.SKIPPED
    assert finding.line.endswith("/boot/firmware/config.txt: input/output error.")
