import errno
from dataclasses import replace
from pathlib import Path

import pytest
from boot_configs import BOOKWORM, SHAPES, board_with, shape
from broken_boards import DRIVER
from examinations import CONFIG, FAKE, examination, raspberry_pi, write
from statuses import STATUS
from sysfs import add_chip

from agent.config.loader import LedConfig, SensorConfig
from agent.diagnostics.checks import gpio
from agent.diagnostics.finding import Outcome
from agent.diagnostics.line_processes import Process, Processes
from agent.errors import ControlError
from hw import gpio_lines
from hw.boot_config import with_driver
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
    assert finding.line == (
        'GPIO 4 ([sensor] pin) is in use by the kernel, for 1-Wire (label "onewire@4").'
    )
    assert finding.advice == (
        "If nothing uses 1-Wire, turn it off: sudo raspi-config, Interface Options, 1-Wire, No (or "
        f"delete the line dtoverlay=w1-gpio from {board}/boot/firmware/config.txt), then: sudo "
        "reboot. Otherwise, move the sensor's data wire to a free GPIO, such as GPIO 22, set pin = "
        f"22 under [sensor] in {board}/config.toml, then start sensor-agent again"
    )


@pytest.mark.parametrize(
    ("line", "consumer", "compatible", "purpose", "menu"),
    [
        ("dtparam=spi=on", "spi0 CS0", None, ", for SPI", "Interface Options, SPI"),
        ("dtoverlay=spi0-1cs,cs0_pin=8", "spi0 CS0", None, ", for SPI", None),
        ("dtoverlay=gpio-fan,gpiopin=8", "gpio-fan@0", "gpio-fan", ", for a fan", "Performance"),
        ("dtoverlay=gpio-led,gpio=8", "led8", "gpio-leds", ", for an LED of its own", None),
        ("dtoverlay=gpio-key,gpio=8", "button@8", "gpio-keys", ", for a button", None),
        ("dtoverlay=rotary-encoder,pin_a=8", "r@8", "rotary-encoder", " driver rotary-enc", None),
        ("dtoverlay=w1-gpio,gpiopin=8", "onewire@0", None, ", for 1-Wire", "Interface Options"),
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
    assert f"GPIO 8 ([led] pin) is in use by the kernel{purpose}" in finding.line
    assert finding.advice.startswith("Move the LED's wire to a free GPIO, such as GPIO 22, set")
    assert f"delete the line {line} from" in finding.advice
    assert (menu or "then: sudo reboot") in finding.advice
    assert menu is not None or "raspi-config" not in finding.advice


def test_of_a_line_for_several_interfaces_the_others_stay(board, judge):
    boot(board, "dtparam=i2c_arm=on,spi=on\n")
    finding = judge(
        held(g8="spi0 CS0"), config=replace(CONFIG, led=LedConfig(driver="gpiozero", pin=8))
    )
    assert "(or set spi=off in the line dtparam=i2c_arm=on,spi=on of" in finding.advice


def test_a_gpio_is_proposed_that_nothing_uses_now_or_later(board, judge):
    boot(board, "dtoverlay=gpio-fan,gpiopin=23\n")
    node(board, "encoder@18", "rotary-encoder", 24)
    finding = judge(held(g17="fand", g22="other", g25="", g27="x"))
    assert "such as GPIO 5, set pin = 5 under [led]" in finding.advice
    everything = Chip("gpiochip0", "pinctrl-bcm2711", dict.fromkeys(range(28), "x"))
    assert "a free GPIO, N, set pin = N under [sensor]" in judge(everything).advice


def test_the_service_is_restarted_after_the_change(board, judge):
    write(board, UNIT, "")
    path = board / "etc/sensor-agent/config.toml"
    finding = judge(held(g17="fand"), path=path)
    assert f"set pin = 22 under [led] in {path}, then: sudo systemctl restart" in finding.advice
    assert "sudo sensor-agent setup --pin 22" in judge(held(g4="x"), config=KERNEL).advice


def test_without_the_service_the_kernel_driver_needs_another_line(board, judge):
    advice = judge(held(g4="x"), config=KERNEL).advice
    assert f"set pin = 22 under [sensor] in {board}/config.toml, add the line" in advice
    assert "dtoverlay=dht11,gpiopin=22 to config.txt, then: sudo reboot" in advice


def test_the_wire_of_the_power_can_move_too(judge):
    sensor = SensorConfig(driver="dht22", power_pin=5)
    finding = judge(held(g5="x"), config=replace(CONFIG, sensor=sensor))
    assert finding.line.startswith("GPIO 5 ([sensor] power_pin) is in use by a kernel driver")
    assert "move the sensor's power wire to a free GPIO" in finding.advice
    assert "set power_pin = 22 under [sensor]" in finding.advice


def test_a_line_that_config_txt_no_longer_gives_away_needs_a_restart(board, judge):
    boot(board, BOOKWORM)
    advice = judge(held(g4="onewire@4")).advice
    assert advice.startswith(f"No line in {board}/boot/firmware/config.txt causes this. If you")
    assert "restart the Pi: sudo reboot. Otherwise, move" in advice


def test_the_sensors_own_line_is_not_the_cause(board, judge):
    boot(board, "dtoverlay=dht11\ndtoverlay=w1-gpio\n")
    advice = judge(held(g4="onewire@4"), config=KERNEL).advice
    assert advice.startswith("The line dtoverlay=dht11 is right and stays. If nothing uses 1-Wire")
    boot(board, "dtoverlay=dht11\n")
    advice = judge(held(g4="onewire@4"), config=KERNEL).advice
    assert "No line in" in advice
    assert "delete the line" not in advice


def test_the_sensors_driver_on_the_leds_gpio_is_named(board, judge):
    boot(board, "dtoverlay=dht11,gpiopin=17\n")
    finding = judge(held(g17="dht11@11"))
    assert "is in use by the kernel driver dht11 (also for the DHT22)." in finding.line
    assert "if no sensor is wired to GPIO 17, delete the line dtoverlay=dht11," in finding.advice


def test_a_sysfs_export_is_named_with_the_command_that_releases_it(board, judge):
    write(board, "sys/class/gpio/gpiochip0/label", "raspberrypi-exp-gpio\n")
    write(board, "sys/class/gpio/gpiochip0/base", "0\n")
    write(board, "sys/class/gpio/gpiochip512/label", "pinctrl-bcm2711\n")
    write(board, "sys/class/gpio/gpiochip512/base", "512\n")
    finding = judge(held(g17="sysfs"), are_all=False)
    assert finding.line.endswith("by a script or program that has exported it in /sys/class/gpio.")
    assert "sudo grep -rl gpio/export /etc /home" in finding.advice
    assert "echo 529 | sudo tee /sys/class/gpio/unexport" in finding.advice


def test_a_line_held_by_the_kernels_dht11_driver_is_ok_only_if_it_is_configured(board, judge):
    line = held(g4="dht11@4")
    assert judge(line, config=KERNEL).outcome is Outcome.OK
    boot(board, "dtoverlay=dht11\n")
    finding = judge(line, status=STATUS)
    assert finding.line == (
        "GPIO 4 ([sensor] pin) is in use by the kernel driver dht11 (also for the DHT22), but "
        '[sensor] has driver = "dht22".'
    )
    assert 'set driver = "kernel" under [sensor]' in finding.advice
    assert "delete the line dtoverlay=dht11 from" in finding.advice
    write(board, UNIT, "")
    boot(board, BOOKWORM)
    dht11 = replace(CONFIG, sensor=SensorConfig(driver="dht11"))
    assert judge(line, config=dht11).advice == (
        "The kernel driver is more reliable. To use it: sudo sensor-agent setup --driver kernel "
        '--model dht11. To keep driver = "dht11", restart the Pi: sudo reboot'
    )


def test_a_program_on_the_line_of_the_sensors_driver_is_named(board, judge):
    node(board, "dht11@4", "dht11", 4)  # It could not get the line.
    assert judge(held(g4="x"), found=[program(line=4)]).line.endswith("gpioset (process 812).")
    assert "most likely by gpioset" in judge(held(g4="x"), found=[program()], config=KERNEL).line


def test_a_driver_that_is_not_known_is_found_by_the_absence_of_a_program(judge):
    finding = judge(held(g4="mystery"))
    assert finding.line.endswith('is in use by a kernel driver (label "mystery").')
    assert judge(held(g4="")).line.endswith("is in use by a kernel driver.")


# Lines that programs hold.


def test_another_program_is_named_with_its_process(judge):
    finding = judge(held(g17="gpioset"), found=[program(line=17)], status=STATUS)
    assert finding.line == "GPIO 17 ([led] pin) is in use by the program gpioset (process 812)."
    assert finding.advice.endswith(
        "Or, if you do not need gpioset (ps -fp 812 shows it), stop it: sudo kill 812. It may come "
        "back at the next start of the Pi"
    )


def test_another_service_is_named(judge):
    finding = judge(held(g17="lg"), found=[program(line=17, unit="fan")], status=STATUS)
    assert finding.line.endswith("is in use by the program gpioset (service fan).")
    assert "turn it off for good: sudo systemctl disable --now fan" in finding.advice


def test_a_program_with_an_older_request_is_named_as_likely(judge):
    finding = judge(held(g17="fand"), found=[program()], are_all=False)
    assert finding.line.endswith(
        'is in use under the label "fand", most likely by gpioset (process 812).'
    )


def test_of_several_programs_with_older_requests_each_is_named(judge):
    finding = judge(held(g17="fand"), found=[program(), program(900, name="other")])
    assert finding.line.endswith("most likely by gpioset (process 812) or other (process 900).")
    assert "ps -fp 812,900 shows them), stop the right one: sudo kill 812 or 900" in finding.advice


@pytest.mark.parametrize("consumer", ["fand", ""])
def test_a_holder_that_this_user_cannot_see_is_described(judge, consumer):
    finding = judge(held(g17=consumer), are_all=False, status=STATUS)
    label = 'the label "fand"' if consumer else "no label"
    assert finding.line == f"GPIO 17 ([led] pin) is in use under {label}."
    assert finding.advice.startswith(
        "To see which program it is, and how to stop it: sudo sensor-agent check. If that"
    )


@pytest.mark.parametrize(
    ("consumer", "found", "are_all"),
    [
        ("lg", [program(line=17, is_own=True)], True),
        ("libgpiod_pulsein", [program(is_own=True)], True),
    ],
)
def test_the_running_daemon_may_hold_its_lines(judge, consumer, found, are_all):
    options = {"found": found, "are_all": are_all}
    assert judge(held(g17=consumer), **options, status=STATUS).outcome is Outcome.OK
    finding = judge(held(g17=consumer), **options)
    assert "by another sensor-agent, started by hand and not by the service" in finding.line
    assert finding.advice == "To stop the other one: sudo kill 812"


def test_a_daemon_that_another_user_runs_may_hold_its_lines(judge):
    refusal = ControlError("It did not answer.")
    assert judge(held(g17="lg"), are_all=False, refusal=refusal).outcome is Outcome.OK
    assert judge(held(g17="lg"), are_all=False).outcome is Outcome.FAILED
    # The daemon sees all processes of its own.
    finding = judge(held(g17="lg"), are_all=False, status=STATUS)
    assert finding.line == 'GPIO 17 ([led] pin) is in use under the label "lg".'


def test_the_service_that_does_not_answer_is_named(judge):
    finding = judge(held(g17="lg"), found=[program(line=17, unit="sensor-agent", is_own=True)])
    assert "by the service sensor-agent, which does not answer this command." in finding.line
    assert finding.advice.startswith("Restart the service: sudo systemctl restart sensor-agent. ")


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
@pytest.mark.parametrize("is_root", [True, False])
def test_the_access_of_the_service_is_judged(board, group, mode, outcome, is_root):
    write(board, UNIT, "")
    (board / "dev/gpiochip0").chmod(mode)
    finding = access(board, group=group, is_root=is_root)
    assert finding.outcome == outcome
    assert ("udev" in str(finding.advice)) is (outcome == "failed")


def access(board, group="gpio", **options):
    return gpio.access(
        examination(
            board,
            group_of=lambda _path: group,
            user_name=lambda: "pi",
            read_chip=lambda _path, _lines: FREE,
            **options,
        )
    )


def test_a_user_without_access_is_told_the_group_to_join(board):
    finding = access(board, may_use=lambda _path: False)
    assert finding.outcome is Outcome.FAILED
    assert finding.line == "User pi may not use the GPIO pins (gpiochip0)."
    assert finding.advice == (
        "To join their group: sudo usermod -aG gpio pi, then log out and log in again"
    )
    assert "use sudo" in access(board, group="root", may_use=lambda _path: False).advice


def test_beside_the_service_a_user_without_access_is_a_warning(board):
    write(board, UNIT, "")
    (board / "dev/gpiochip0").chmod(0o660)
    options = {"may_use": lambda _path: False, "path": board / "etc/sensor-agent/config.toml"}
    finding = access(board, **options)
    assert finding.outcome is Outcome.WARNING
    assert "This matters only for commands that pi types" in finding.advice
    # The daemon cannot see the groups of the chip in its user namespace.
    assert access(board, group="nogroup", status=STATUS).outcome is Outcome.OK
    refused = access(board, group="nogroup", status=STATUS, **options)
    assert refused.outcome is Outcome.FAILED
    assert "udev" in refused.advice


def overlay(root, *, driver="kernel", pin=4, unit=True):
    write(root, UNIT, "")
    if not unit:
        (root / UNIT).unlink()
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
        wanted = ("failed", f"has the line {one.users[0]}.", f"delete the line {one.users[0]}")
    elif device is not None and 4 in one.pins:
        wanted = ("ok", "is loaded: dht11@4.", "")
    elif device is not None:
        wanted = ("warning", "but will not be after a restart", "sensor-agent setup")
    elif 4 in one.pins:
        wanted = ("failed", "but it is not loaded now", "sudo reboot")
    else:
        wanted = ("failed", "config.txt loads it for GPIO 4", "sensor-agent setup")
    outcome, words, advice = wanted
    assert finding.outcome == outcome, finding
    assert words in finding.line
    assert advice in (finding.advice or "")


@pytest.mark.parametrize("device", ["bme280", None])
def test_without_the_file_the_driver_must_be_loaded(tmp_path, device):
    pi(tmp_path, device=device)
    finding = overlay(tmp_path)
    assert finding.outcome is Outcome.FAILED
    assert finding.line == (
        "The kernel driver dht11 (also for the DHT22) is not loaded: no line in the boot partition "
        "loads it for GPIO 4."
    )
    pi(tmp_path, device="dht11@4")
    assert overlay(tmp_path).outcome is Outcome.OK


def test_without_the_service_the_line_to_add_is_named(tmp_path):
    board_with(tmp_path, SHAPES["bookworm"])
    advice = overlay(tmp_path, unit=False).advice
    assert advice == (
        f"Add the line dtoverlay=dht11,gpiopin=4 to {tmp_path}/boot/firmware/config.txt, at the "
        "end under [all], then: sudo reboot. Or, until the next restart: sudo dtoverlay dht11 "
        "gpiopin=4"
    )
    pi(tmp_path, device="dht11@4")
    assert overlay(tmp_path, unit=False).advice.endswith("under [all], then: sudo reboot")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            f"[pi4]\n\n# mine\n[pi5]\n{DRIVER}",
            "The line dtoverlay=dht11,gpiopin=4 (line 5) is under [pi5], so it does not count",
        ),
        ("[none]\ndtoverlay=dht11\n", "The line dtoverlay=dht11 (line 2) is under [none], so"),
        (
            "dtoverlay=dht11,gpiopin=17\n",
            "The line dtoverlay=dht11,gpiopin=17 is for GPIO 17.",
        ),
        ("[pi5]\ndtoverlay=dht11,gpiopin=17\n", "config.txt loads it for GPIO 4."),
    ],
)
def test_a_line_that_does_not_count_is_named(tmp_path, text, reason):
    board_with(tmp_path, shape(text))
    assert reason in overlay(tmp_path).line


def test_a_filter_that_may_not_hold_is_named(tmp_path):
    board_with(tmp_path, SHAPES["the state of a line"])
    assert "for GPIO 4 unless the filter [gpio5=1] holds." in overlay(tmp_path).line
    board_with(tmp_path, shape("[gpio5=1]\ndtoverlay=w1-gpio\n[all]\ndtoverlay=dht11\n"))
    finding = overlay(tmp_path)
    assert finding.outcome is Outcome.WARNING
    assert finding.line.startswith(
        "At each start of the Pi, if the filter [gpio5=1] holds, the firmware gives"
    )


def test_a_firmware_without_the_overlay_is_named(tmp_path):
    file = board_with(tmp_path, SHAPES["the default pin"])
    (file.parent / "overlays/dht11.dtbo").unlink()
    finding = overlay(tmp_path)
    assert "has no overlay for the kernel driver dht11" in finding.line
    assert "sudo sensor-agent setup --driver dht22. Or install" in finding.advice
    assert 'set driver = "dht22" under [sensor]' in overlay(tmp_path, unit=False).advice


@pytest.mark.parametrize(("name", "advice"), [("bookworm", "setup"), ("the default pin", "reboot")])
def test_a_driver_that_is_loaded_for_another_pin_is_named(tmp_path, name, advice):
    board_with(tmp_path, SHAPES[name])
    pi(tmp_path, device="dht11@11", line=17)
    finding = overlay(tmp_path)
    assert finding.line == (
        "The kernel driver dht11 (also for the DHT22) is loaded for GPIO 17, not for GPIO 4."
    )
    assert finding.advice.startswith("If the sensor is wired to GPIO 17, set pin = 17: sudo sensor")
    assert advice in finding.advice


def test_setup_replaces_only_its_own_line_for_another_pin(tmp_path):
    pi(tmp_path, device="dht11@11", line=17)
    board_with(tmp_path, shape(with_driver(b"", 17)))
    assert "setup (it replaces the line dtoverlay=dht11,gpiopin=17 in" in overlay(tmp_path).advice
    board_with(tmp_path, shape("dtoverlay=dht11,gpiopin=17\n"))
    assert ", delete the line dtoverlay=dht11,gpiopin=17 from" in overlay(tmp_path).advice
    advice = overlay(tmp_path, unit=False).advice
    assert "change the line dtoverlay=dht11,gpiopin=17 to dtoverlay=dht11,gpiopin=4 in" in advice
    board_with(tmp_path, shape(""))
    assert "add the line dtoverlay=dht11,gpiopin=4 in" in overlay(tmp_path, unit=False).advice


def test_the_line_for_another_pin_may_be_the_right_one(tmp_path):
    board_with(tmp_path, shape("dtoverlay=dht11,gpiopin=22\n"))
    assert overlay(tmp_path).advice == (
        "If the sensor is wired to GPIO 22: sudo sensor-agent setup --pin 22. If it is wired to "
        "GPIO 4, delete the line dtoverlay=dht11,gpiopin=22, then: sudo sensor-agent setup"
    )
    assert "add the line" in overlay(tmp_path, unit=False).advice.lower()


def test_the_leds_line_must_be_free_after_a_restart(tmp_path):
    board_with(tmp_path, shape("dtoverlay=dht11\ndtoverlay=gpio-fan,gpiopin=27\n"))
    pi(tmp_path, device="dht11@4")
    finding = overlay(tmp_path)
    assert finding.outcome is Outcome.FAILED
    assert "GPIO 27 ([led] pin) to a fan:" in finding.line
    assert "if there is no fan on GPIO 27, turn it off: sudo raspi-config" in finding.advice


def test_a_sensor_on_i2c_has_no_line_and_needs_no_dht11_overlay(tmp_path):
    board_with(tmp_path, shape(""))
    sensor = SensorConfig(driver="kernel", model="sht3x", bus=1, address=0x44)
    examined = examination(tmp_path, replace(CONFIG, sensor=sensor))
    assert gpio.overlay(examined).outcome is Outcome.SKIPPED
    assert list(examined.lines(with_kernel=True)) == ["[led] pin"]


def on_i2c(root, text, model="aht20", *, bus=1, address=0x38):
    board_with(root, shape(text))
    sensor = SensorConfig(driver="kernel", model=model, bus=bus, address=address)
    return gpio.overlay(examination(root, replace(CONFIG, sensor=sensor)))


def test_a_sensor_on_i2c_that_is_gone_after_a_restart_is_a_warning(tmp_path):
    add_chip(tmp_path / "sys", "aht20")
    finding = on_i2c(tmp_path, BOOKWORM)
    assert finding.outcome is Outcome.WARNING
    assert finding.line == (
        "The sensor at address 0x38 of the I2C bus is declared to the kernel now, but will not be "
        f"after a restart of the Pi: no line in {tmp_path}/boot/firmware/config.txt declares it."
    )
    assert finding.advice == (
        "To declare it at each start, add the line dtoverlay=i2c-sensor,aht20 to "
        f"{tmp_path}/boot/firmware/config.txt."
    )
    write(tmp_path, UNIT, "")
    finding = on_i2c(tmp_path, BOOKWORM)
    assert finding.advice == "To declare it at each start: sudo sensor-agent setup"
    finding = on_i2c(tmp_path, "[gpio5=1]\ndtoverlay=i2c-sensor,aht20\n")
    assert "config.txt declares it unless the filter [gpio5=1] holds." in finding.line


def test_a_sensor_on_i2c_that_the_firmware_did_not_declare_is_a_failure(tmp_path):
    finding = on_i2c(tmp_path, "dtoverlay=i2c-sensor,aht20\n")
    assert finding.outcome is Outcome.FAILED
    assert finding.line.endswith(
        "declares the sensor at address 0x38 of the I2C bus, but it is not declared to the kernel "
        "now."
    )
    assert finding.advice is not None
    assert finding.advice.startswith("Restart the Pi: sudo reboot. If you have done so already, ")


def test_another_model_at_the_address_is_named_with_what_changes_it(tmp_path):
    add_chip(tmp_path / "sys", "aht10")
    finding = on_i2c(tmp_path, "dtoverlay=i2c-sensor,aht20\n")
    assert finding.outcome is Outcome.FAILED
    assert (
        "but until a restart of the Pi the kernel takes it for another one, aht10." in finding.line
    )
    assert finding.advice == "Restart the Pi: sudo reboot"
    finding = on_i2c(tmp_path, "dtoverlay=i2c-sensor,aht10\ndtoverlay=i2c-sensor,aht20\n")
    assert finding.outcome is Outcome.FAILED
    assert "has lines for two sensors at address 0x38 of the I2C bus" in finding.line
    assert finding.advice == (
        "The configured sensor has the line dtoverlay=i2c-sensor,aht20. Delete the line "
        f"dtoverlay=i2c-sensor,aht10 from {tmp_path}/boot/firmware/config.txt, then: sudo reboot"
    )


def test_a_sensor_on_i2c_that_is_declared_now_and_later_is_well(tmp_path):
    add_chip(tmp_path / "sys", "aht20")
    assert on_i2c(tmp_path, "dtoverlay=i2c-sensor,aht20\n").outcome is Outcome.OK
    finding = on_i2c(tmp_path, "dtoverlay=i2c-sensor,aht10\ndtoverlay=i2c-sensor,aht20\n")
    assert finding.outcome is Outcome.WARNING
    assert finding.advice is not None
    assert "Delete the line dtoverlay=i2c-sensor,aht10 from" in finding.advice


@pytest.mark.parametrize(
    ("text", "chip", "options"),
    [
        ("", None, {}),  # The check of the sensor says how to declare it.
        ("dtoverlay=i2c-sensor,aht10\n", {"model": "aht10"}, {}),  # It says that these differ.
        ("", {"model": "aht20", "name": "dht20"}, {}),  # No overlay declares it,
        ("", {"model": "sht2x"}, {"model": "sht2x", "address": 0x40}),  # nor this one,
        ("", {"model": "aht20", "bus": 3}, {"bus": 3}),  # nor one on another bus.
    ],
)
def test_other_sensors_on_i2c_are_left_to_the_check_of_the_sensor(tmp_path, text, chip, options):
    if chip is not None:
        add_chip(tmp_path / "sys", **chip)
    assert on_i2c(tmp_path, text, **options).outcome is Outcome.SKIPPED


def test_the_older_path_of_the_firmwares_configuration_is_read(tmp_path):
    write(tmp_path, "boot/config.txt", "dtoverlay=dht11,gpiopin=22\n")
    pi(tmp_path, device="dht11@16", line=22)
    assert overlay(tmp_path, pin=22).outcome is Outcome.OK


def test_an_unused_kernel_driver_is_recommended(tmp_path):
    board_with(tmp_path, SHAPES["the default pin"])
    finding = overlay(tmp_path, driver="dht22")
    assert finding.outcome is Outcome.WARNING
    assert "sudo sensor-agent setup --driver kernel" in finding.advice
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
