import errno
from dataclasses import replace
from pathlib import Path

import pytest
from boot_configs import BOOKWORM, SHAPES, board_with, shape
from examinations import CONFIG, FAKE, examination, raspberry_pi, write
from statuses import STATUS

from agent.config.loader import LedConfig, SensorConfig
from agent.diagnostics.checks import gpio
from agent.diagnostics.finding import Outcome
from agent.diagnostics.line_processes import Process, Processes
from hw import gpio_lines
from hw.gpio_lines import Chip

UNIT = "usr/lib/systemd/system/sensor-agent.service"
KERNEL = replace(CONFIG, sensor=SensorConfig(driver="kernel"))
FREE = Chip("gpiochip0", "pinctrl-rp1", {})


@pytest.fixture
def board(tmp_path):
    raspberry_pi(tmp_path)
    write(tmp_path, "dev/gpiochip0", "")
    return tmp_path


def held(**lines):
    """The header's chip with these holders, such as g4="onewire@4"."""
    return Chip("gpiochip0", "pinctrl-bcm2711", {int(k[1:]): v for k, v in lines.items()})


def program(pid=812, *, name="gpioset", unit="", is_own=False, line=None, chip="gpiochip0"):
    lines = frozenset() if line is None else frozenset({(chip, line)})
    return Process(pid, name, unit, is_own, lines, has_others=line is None)


@pytest.fixture
def judge(board):
    """Return a function that checks the holders of lines on a board with these chips."""

    def judge(*chips, config=CONFIG, found=(), are_all=True, **options):
        by_name = dict(zip(gpio_lines.paths(board / "dev"), chips, strict=True))
        return gpio.holders(
            examination(
                board,
                config,
                read_chip=lambda path, _lines: by_name[path],
                processes=lambda _proc: Processes(list(found), are_all),
                **options,
            )
        )

    return judge


def boot(board, text):
    board_with(board, shape(text))


def node(board, name, compatible, line):
    write(board, f"proc/device-tree/{name}/compatible", f"{compatible}\0")
    gpios = board / f"proc/device-tree/{name}/gpios"
    gpios.write_bytes(b"\0\0\0\7" + line.to_bytes(4, "big") + bytes(4))


# Lines that the kernel holds.


def test_1_wire_is_named_with_the_line_and_the_menu_that_switch_it_off(board, judge):
    boot(board, f"{BOOKWORM}dtoverlay=w1-gpio\n")
    finding = judge(held(g4="onewire@4"))
    assert finding.outcome is Outcome.FAILED
    assert finding.line == "GPIO 4 ([sensor] pin) is held by the kernel for 1-Wire (onewire@4)."
    assert finding.advice == (
        f"Remove the line dtoverlay=w1-gpio from {board}/boot/firmware/config.txt (in raspi-config:"
        " Interface Options, 1-Wire) and restart, or set another pin."
    )


@pytest.mark.parametrize(
    ("line", "consumer", "compatible", "purpose", "menu"),
    [
        ("dtparam=spi=on", "spi0 CS0", None, "SPI", "Interface Options, SPI"),
        ("dtoverlay=spi0-1cs,cs0_pin=8", "spi0 CS0", None, "SPI", "Interface Options, SPI"),
        ("dtoverlay=gpio-fan,gpiopin=8", "gpio-fan@0", "gpio-fan", "a fan", "Performance Options"),
        ("dtoverlay=gpio-led,gpio=8", "led8", "gpio-leds", "an LED of its own", None),
        ("dtoverlay=gpio-key,gpio=8", "button@8", "gpio-keys", "a button", None),
        ("dtoverlay=rotary-encoder,pin_a=8", "rotary@8", "rotary-encoder", "its driver rot", None),
        ("dtoverlay=w1-gpio,gpiopin=8", "onewire@0", None, "1-Wire", "Interface Options, 1-Wire"),
    ],
)
def test_other_drivers_of_the_kernel_are_named(
    board, judge, line, consumer, compatible, purpose, menu
):
    boot(board, f"{line}\n")
    if compatible is not None:
        node(board, "node", compatible, 8)
    finding = judge(
        held(g8=consumer), config=replace(CONFIG, led=LedConfig(driver="gpiozero", pin=8))
    )
    assert f"GPIO 8 ([led] pin) is held by the kernel for {purpose}" in finding.line
    assert finding.advice.startswith(f"Remove the line {line} from")
    assert (menu or "restart") in finding.advice
    assert menu is not None or "raspi-config" not in finding.advice


def test_a_line_that_config_txt_no_longer_gives_away_needs_a_restart(board, judge):
    boot(board, BOOKWORM)
    advice = judge(held(g4="onewire@4")).advice
    assert "config.txt does not ask for it, so a restart may release the line" in advice


def test_a_sysfs_export_is_named_with_the_command_that_releases_it(board, judge):
    write(board, "sys/class/gpio/gpiochip0/label", "raspberrypi-exp-gpio\n")
    write(board, "sys/class/gpio/gpiochip0/base", "0\n")
    write(board, "sys/class/gpio/gpiochip512/label", "pinctrl-bcm2711\n")
    write(board, "sys/class/gpio/gpiochip512/base", "512\n")
    finding = judge(held(g17="sysfs"), are_all=False)
    assert finding.line == "GPIO 17 ([led] pin) is held by an export in /sys/class/gpio."
    assert "echo 529 | sudo tee /sys/class/gpio/unexport" in finding.advice


def test_a_line_held_by_the_kernels_dht11_driver_is_ok_only_if_it_is_configured(board, judge):
    line = held(g4="dht11@4")
    assert judge(line, config=KERNEL).outcome is Outcome.OK
    boot(board, "dtoverlay=dht11\n")
    finding = judge(line, status=STATUS)
    assert finding.line.endswith("the kernel for its dht11 driver (dht11@4).")
    assert 'set driver = "kernel" in [sensor]' in finding.advice
    assert "remove the line dtoverlay=dht11 from" in finding.advice


def test_a_driver_that_is_not_known_is_found_by_the_absence_of_a_program(judge):
    finding = judge(held(g4="mystery"))
    assert finding.line.endswith("is held by a driver of the kernel (mystery).")


# Lines that programs hold.


def test_another_program_is_named_with_its_process(judge):
    finding = judge(held(g17="gpioset"), found=[program(line=17)], status=STATUS)
    assert finding.line == "GPIO 17 ([led] pin) is held by the program gpioset (process 812)."
    assert finding.advice == "Stop that program (sudo kill 812), or set another pin."


def test_another_service_is_named(judge):
    finding = judge(held(g17="lg"), found=[program(line=17, unit="fan")], status=STATUS)
    assert finding.line.endswith("is held by the program gpioset of the service fan.")
    assert "sudo systemctl disable --now fan" in finding.advice


def test_a_program_with_an_older_request_is_named_as_likely(judge):
    finding = judge(held(g17="fand"), found=[program()], are_all=False)
    assert finding.line.endswith("is held by fand, most likely the program gpioset (process 812).")


@pytest.mark.parametrize("consumer", ["fand", ""])
def test_a_holder_that_this_user_cannot_see_is_described(judge, consumer):
    finding = judge(held(g17=consumer), are_all=False, status=STATUS)
    assert "a program of another user or a driver of the kernel" in finding.line
    assert "sudo fuser -v /dev/gpiochip*" in finding.advice


@pytest.mark.parametrize(
    ("consumer", "found", "are_all"),
    [
        ("lg", [program(line=17, is_own=True)], True),
        ("lg", [], False),  # Before Linux 6.1, or from another user.
        ("libgpiod_pulsein", [program(is_own=True)], True),
    ],
)
def test_the_running_daemon_may_hold_its_lines(judge, consumer, found, are_all):
    options = {"found": found, "are_all": are_all}
    assert judge(held(g17=consumer), **options, status=STATUS).outcome is Outcome.OK
    assert judge(held(g17=consumer), **options).outcome is Outcome.FAILED


def test_a_program_that_uses_our_library_is_not_taken_for_this_one(judge):
    finding = judge(held(g17="lg"), found=[program(name="fan.py")], status=STATUS)
    assert "fan.py (process 812)" in finding.line


# Chips.


def test_the_header_is_found_among_other_chips(board, judge):
    write(board, "dev/gpiochip10", "")
    other = Chip("gpiochip10", "gpio-brcmstb@107d508500", {4: "something"})
    assert judge(FREE, other).outcome is Outcome.OK
    assert judge(other, FREE).outcome is Outcome.OK


def test_a_chip_of_another_board_is_a_warning_whatever_is_held(judge):
    finding = judge(Chip("gpiochip0", "gpio-sim", {4: "something"}))
    assert finding.outcome is Outcome.WARNING


def test_another_chip_that_is_closed_does_not_matter(board):
    write(board, "dev/gpiochip10", "")

    def read(path, _lines):
        if path.name == "gpiochip10":
            raise PermissionError(13, "Permission denied")
        return FREE

    examined = examination(board, read_chip=read, may_use=lambda path: path.name == "gpiochip0")
    assert gpio.access(examined).outcome is Outcome.OK
    assert gpio.holders(examined).outcome is Outcome.OK


def test_lines_without_access_are_skipped(board):
    def refuse(_path, _lines):
        raise PermissionError(13, "Permission denied")

    examined = examination(board, read_chip=refuse, may_use=lambda _path: False)
    assert gpio.holders(examined).outcome is Outcome.SKIPPED
    assert gpio.access(examined).outcome is Outcome.FAILED


def test_a_chip_with_two_files_is_listed_once(board):
    # As in the service with clock.conf, on a Raspberry Pi 5.
    write(board, "dev/gpiochip4", "")
    finding = gpio.access(examination(board, read_chip=lambda _path, _lines: FREE))
    assert [detail.partition(":")[0] for detail in finding.details] == ["gpiochip0"]


def test_without_a_driver_that_needs_lines_none_is_read(board):
    assert gpio.holders(examination(board, FAKE)).outcome is Outcome.SKIPPED
    assert gpio.access(examination(board, FAKE)).outcome is Outcome.SKIPPED


def test_a_kernel_without_gpio_fails(tmp_path):
    raspberry_pi(tmp_path)
    finding = gpio.access(examination(tmp_path))
    assert finding.outcome is Outcome.FAILED
    assert "CONFIG_GPIO_CDEV" in str(finding.advice)
    assert gpio.holders(examination(tmp_path)).outcome is Outcome.SKIPPED


@pytest.mark.parametrize(
    ("group", "mode", "outcome"),
    [
        ("gpio", 0o660, "ok"),
        ("gpio", 0o640, "failed"),
        ("root", 0o660, "failed"),
        ("root", 0o666, "ok"),
    ],
)
def test_as_root_the_access_of_the_service_is_judged(board, monkeypatch, group, mode, outcome):
    write(board, UNIT, "")
    (board / "dev/gpiochip0").chmod(mode)
    monkeypatch.setattr(gpio, "group_of", lambda _path: group)
    finding = gpio.access(examination(board, is_root=True, read_chip=lambda _path, _lines: FREE))
    assert finding.outcome == outcome
    assert ("udev" in str(finding.advice)) is (outcome == "failed")


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
        "At each start, if the filter [gpio5=1] holds, the firmware gives"
    )


def test_a_firmware_without_the_overlay_is_named(tmp_path):
    file = board_with(tmp_path, SHAPES["the default pin"])
    (file.parent / "overlays/dht11.dtbo").unlink()
    assert "has no overlay for the kernel's dht11 driver" in overlay(tmp_path).line


@pytest.mark.parametrize(("name", "advice"), [("bookworm", "setup"), ("the default pin", "reboot")])
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
    assert "GPIO 27 ([led] pin) to a fan:" in finding.line
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
