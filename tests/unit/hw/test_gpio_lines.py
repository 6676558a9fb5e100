"""The ioctls of the GPIO character device, by their bytes."""

import errno
import os
import struct

import pytest

from hw import gpio_lines
from hw.gpio_lines import Chip


def kernel(label, used, count=54, name="gpiochip0"):
    """Return an ioctl that answers as the kernel does for a chip with these used lines."""

    def ioctl(descriptor, request, argument):
        os.fstat(descriptor)  # It is open.
        if request == 0x8044B401:  # GPIO_GET_CHIPINFO_IOCTL.
            assert len(argument) == 68
            argument[:] = struct.pack("<32s32sI", name.encode(), label.encode(), count)
            return
        assert request == 0xC100B405  # GPIO_V2_GET_LINEINFO_IOCTL.
        assert len(argument) == 256
        [line] = struct.unpack_from("<I", argument, 64)
        assert line < count
        consumer = used.get(line)
        argument[32:64] = struct.pack("<32s", (consumer or "").encode())
        argument[72:80] = struct.pack("<Q", 0b0101 if consumer is not None else 0b0100)

    return ioctl


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "gpiochip0"
    path.touch()
    return path


def test_the_used_ones_of_the_asked_lines_are_read_with_their_consumer(path):
    ioctl = kernel("pinctrl-bcm2711", {4: "onewire@4", 5: "", 17: "lg"})
    assert gpio_lines.read_chip(path, [4, 5, 22, 60], ioctl) == Chip(
        "gpiochip0", "pinctrl-bcm2711", {4: "onewire@4", 5: ""}
    )


@pytest.mark.parametrize(
    ("label", "is_header"),
    [
        ("pinctrl-bcm2835", True),
        ("pinctrl-bcm2711", True),
        ("pinctrl-rp1", True),
        ("raspberrypi-exp-gpio", False),
        ("gpio-brcmstb@107d508500", False),
    ],
)
def test_the_headers_chip_is_known_by_its_label(path, label, is_header):
    assert gpio_lines.read_chip(path, [], kernel(label, {})).is_header is is_header


def test_a_name_of_32_bytes_and_one_that_is_not_utf_8_are_read(path):
    used = {4: "x" * 31}
    assert gpio_lines.read_chip(path, [4], kernel("pinctrl-rp1", used)).holders == used

    def ioctl(descriptor, request, argument):
        kernel("pinctrl-rp1", {4: ""})(descriptor, request, argument)
        argument[32:34] = b"\xff\0" if request == gpio_lines.GET_LINEINFO else argument[32:34]

    assert gpio_lines.read_chip(path, [4], ioctl).holders == {4: "\N{REPLACEMENT CHARACTER}"}


def test_an_older_kernel_is_an_error_and_leaves_nothing_open(path):
    def refuse(_descriptor, _request, _argument):
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - its names are enough.
    with pytest.raises(OSError, match="ioctl"):
        gpio_lines.read_chip(path, [], refuse)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above.


def test_a_chip_with_two_names_is_listed_once(path):
    (path.parent / "gpiochip4").symlink_to(path)
    (path.parent / "gpiochip10").touch()
    assert [one.name for one in gpio_lines.paths(path.parent)] == ["gpiochip0", "gpiochip10"]
