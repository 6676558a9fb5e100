"""What the firmware makes of config.txt: each shape of the table, and boards that differ."""

import pytest
from boot_configs import SHAPES, board_with, load
from examinations import write

from hw import boot_overlays, device_tree
from hw.boot_overlays import BOARD, Board

PI_4 = Board(names=frozenset({"pi4"}), type=0x11, serial=0x10000000ABCD1234)


def users(content, pin, board=PI_4):
    return [one.text for one in boot_overlays.read(content, board).overlays if pin in one.lines]


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_loads_the_driver_for_its_pins_and_gives_gpio_4_to_its_users(tmp_path, name):
    shape = SHAPES[name]
    board_with(tmp_path, shape)
    boot = load(tmp_path)
    driver = [one for one in boot.overlays if one.name == "dht11" and one.filter is None]
    assert tuple(line for one in driver for line in one.lines) == shape.pins
    assert all(boot.loads_driver(pin) is (pin in shape.pins) for pin in range(28))
    taken = [one.text for one in boot.users(4) if one.name != "dht11" and one.filter is None]
    assert tuple(taken) == shape.users
    assert boot.content == shape.content


@pytest.mark.parametrize("filter_", ["[gpio5=1]", "[EDID=X]", "[boot_partition=2]", "[bootvar0&1]"])
def test_a_filter_that_only_a_start_decides_is_named(filter_):
    [overlay] = boot_overlays.read(f"{filter_}\ndtoverlay=w1-gpio\n".encode(), PI_4).overlays
    assert (overlay.lines, overlay.filter) == ((4,), filter_)


def test_filters_of_an_unknown_board_are_not_decided():
    for name in ("pi4", "board-type=0x11", "0xabcd1234"):
        content = f"[{name}]\ndtoverlay=w1-gpio\n".encode()
        [overlay] = boot_overlays.read(content, Board()).overlays
        assert overlay.filter == f"[{name}]"


def test_a_parameter_of_the_board_reaches_it_through_an_overlay_that_lacks_it():
    content = b"dtoverlay=vc4-kms-v3d\ndtparam=spi=on,i2c\ndtparam=i2s\ndtparam=spi=off\n"
    effect = boot_overlays.read(content, PI_4)
    on = {name for one in effect.overlays if one.name == BOARD and one.lines
          for name in one.parameters}  # fmt: skip
    assert on == {"i2c_arm", "i2s"}
    assert users(content, 3) == ["dtparam=spi=on,i2c"]
    assert users(content, 8) == []


PI_5 = Board(names=frozenset({"pi5"}))
PI_3 = Board(names=frozenset({"pi3"}))


@pytest.mark.parametrize(
    ("text", "board", "lines"),
    [
        ("dtoverlay=uart2", PI_4, {0, 1}),
        ("dtoverlay=uart5,ctsrts", PI_4, {12, 13, 14, 15}),
        ("dtoverlay=uart3", PI_5, set()),  # It may stand for uart3-pi5 there, or for nothing.
        ("dtoverlay=uart3", PI_3, set()),
        ("dtoverlay=uart3", Board(), set()),
        ("dtoverlay=uart2-pi5", PI_5, {4, 5}),
        ("dtoverlay=uart0-pi5,ctsrts", PI_5, {14, 15, 16, 17}),
        ("dtoverlay=i2c6", PI_4, {22, 23}),
        ("dtoverlay=i2c3-pi5,pins_14_15", PI_5, {14, 15}),
        ("dtoverlay=spi0-1cs", PI_4, {8, 9, 10, 11}),
        ("dtoverlay=spi0-2cs,no_miso,cs1_pin=22", PI_4, {8, 22, 10, 11}),
        ("dtoverlay=spi0-0cs", PI_4, {9, 10, 11}),
        ("dtoverlay=spi1-1cs", PI_4, {18, 19, 20, 21}),
        ("dtoverlay=i2c-rtc,ds3231", PI_4, {2, 3}),
        ("dtoverlay=i2c-rtc,ds3231,i2c0", PI_4, set()),
        ("dtoverlay=i2c-sensor,sht3x,i2c1", PI_4, {2, 3}),
        ("dtoverlay=hifiberry-dacplus", PI_5, {18, 19, 20, 21}),
        ("dtoverlay=dpi18", PI_4, set(range(22))),
        ("enable_uart=1", PI_4, {14, 15}),
        ("enable_uart=1", PI_3, {14, 15}),
        ("enable_uart=0", PI_4, set()),
        ("enable_uart=1\nenable_uart=0", PI_4, set()),
        ("enable_uart=1", PI_5, set()),
        ("dtparam=uart0=on", PI_5, {14, 15}),
        ("dtparam=uart0_console", PI_5, {14, 15}),
        ("dtparam=uart0=on", PI_4, set()),  # It is on there anyway, and may be Bluetooth's.
    ],
)
def test_lines_that_an_overlay_always_uses(text, board, lines):
    assert {pin for pin in range(28) if users(text.encode(), pin, board)} == lines


def test_a_pin_that_is_not_a_number_is_unknown():
    assert users(b"dtoverlay=w1-gpio,gpiopin=GPIO4\n", 4) == []


BOARDS = {
    "Raspberry Pi Model B Plus Rev 1.2": {"pi1"},
    "Raspberry Pi 2 Model B Rev 1.1": {"pi2"},
    "Raspberry Pi 3 Model B Rev 1.2": {"pi3"},
    "Raspberry Pi 3 Model B Plus Rev 1.3": {"pi3", "pi3+"},
    "Raspberry Pi 3 Model A Plus Rev 1.0": {"pi3", "pi3+"},
    "Raspberry Pi Zero Rev 1.3": {"pi0"},
    "Raspberry Pi Zero W Rev 1.1": {"pi0", "pi0w"},
    "Raspberry Pi Zero 2 W Rev 1.0": {"pi0", "pi0w", "pi02"},
    "Raspberry Pi 4 Model B Rev 1.5": {"pi4"},
    "Raspberry Pi 400 Rev 1.0": {"pi4", "pi400"},
    "Raspberry Pi Compute Module 3 Plus Rev 1.0": {"pi3", "pi3+", "cm3+"},
    "Raspberry Pi Compute Module 4 Rev 1.1": {"pi4", "cm4"},
    "Raspberry Pi Compute Module 4S Rev 1.0": {"pi4", "cm4s"},
    "Raspberry Pi Compute Module 5 Rev 1.0": {"pi5", "cm5"},
    "Raspberry Pi 5 Model B Rev 1.0": {"pi5"},
    "Raspberry Pi 500 Rev 1.0": {"pi5", "pi500"},
    "Raspberry Pi 9 Model Z": None,
    "LattePanda": None,
}


@pytest.mark.parametrize(("model", "names"), BOARDS.items())
def test_each_board_has_its_model_filters(tmp_path, model, names):
    write(tmp_path, "proc/device-tree/model", f"{model}\0")
    found = device_tree.board(tmp_path)
    assert found.names == (None if names is None else frozenset(names))
    assert (found.type, found.serial) == (None, None)


def test_the_boards_type_and_serial_number_are_read(tmp_path):
    board_with(tmp_path, SHAPES["empty"])
    assert device_tree.board(tmp_path) == PI_4
