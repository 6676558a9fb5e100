"""What uses the header's lines now, by the device tree."""

import pytest
from examinations import write

from hw import device_tree
from hw.device_tree import Device


@pytest.fixture
def tree(tmp_path):
    """A device tree whose header has the handle 7."""
    write(tmp_path, "proc/device-tree/__symbols__/gpio", "/soc/gpio@7e200000\0")
    put(tmp_path, "soc/gpio@7e200000/phandle", 7)
    return tmp_path


def put(root, name, *cells):
    path = root / "proc/device-tree" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(cell.to_bytes(4, "big") for cell in cells))


def text(root, name, value):
    write(root, f"proc/device-tree/{name}", f"{value}\0")


def test_devices_of_overlays_are_found_with_their_lines(tree):
    text(tree, "onewire@4/compatible", "w1-gpio")
    put(tree, "onewire@4/gpios", 7, 4, 0, 7, 5, 1)
    text(tree, "leds/compatible", "gpio-leds")
    put(tree, "leds/led-act/gpios", 9, 2, 0)  # Of another chip, which the board has.
    put(tree, "leds/led@22/gpios", 7, 22, 0)
    assert device_tree.devices(tree) == [
        Device("led@22", "gpio-leds", (22,)),
        Device("onewire@4", "w1-gpio", (4, 5)),
    ]


def test_a_disabled_device_uses_no_line(tree):
    put(tree, "dht11@4/gpios", 7, 4, 0)
    text(tree, "dht11@4/status", "disabled")
    assert device_tree.devices(tree) == []
    text(tree, "dht11@4/status", "okay")
    assert device_tree.devices(tree) == [Device("dht11@4", "", (4,))]


@pytest.mark.parametrize("cells", [(), (7,), (7, 4, 0, 7)])
def test_a_property_that_is_cut_is_read_as_far_as_it_goes(tree, cells):
    put(tree, "dht11@4/gpios", *cells)
    assert [one.lines for one in device_tree.devices(tree)] == ([(4,)] if len(cells) > 1 else [])


def test_without_a_device_tree_there_is_nothing(tmp_path):
    assert device_tree.devices(tmp_path) == []


def test_without_symbols_the_controller_is_not_compared(tmp_path):
    put(tmp_path, "onewire@0/gpios", 3, 4, 0)
    assert device_tree.devices(tmp_path) == [Device("onewire@0", "", (4,))]
