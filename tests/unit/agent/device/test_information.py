import os

import pytest

from agent import __version__
from agent.device import information as module
from agent.device.information import device_information
from agent.device.model import DEVICE_INFORMATION, interface


def test_the_component_has_the_fields_of_its_interface():
    names = {content["name"] for content in interface(DEVICE_INFORMATION)["contents"]}
    reported = device_information()
    assert reported.pop("__t") == "c"
    assert set(reported) == names


def test_sizes_are_in_kilobytes():
    reported = device_information()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert reported["totalMemory"] == memory // 1024
    assert reported["totalStorage"] > 1024
    assert reported["swVersion"] == __version__


@pytest.fixture
def machine(tmp_path, monkeypatch):
    for name in ("DEVICE_TREE_MODEL", "DEVICE_TREE_COMPATIBLE", "CPUINFO", "OS_RELEASE"):
        monkeypatch.setattr(module, name, tmp_path / name)

    def say(**files):
        for name, text in files.items():
            (tmp_path / name).write_bytes(text)
        return device_information()

    return say


def test_a_raspberry_pi_is_recognized_by_its_device_tree(machine):
    reported = machine(
        DEVICE_TREE_MODEL=b"Raspberry Pi 4 Model B Rev 1.4\0",
        DEVICE_TREE_COMPATIBLE=b"raspberrypi,4-model-b\0brcm,bcm2711\0",
        OS_RELEASE=b'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    )
    assert reported["manufacturer"] == "Raspberry Pi"
    assert reported["model"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert reported["processorManufacturer"] == "Broadcom"
    assert reported["osName"] == "Debian GNU/Linux 12 (bookworm)"


def test_a_laptop_is_recognized_by_its_processor(machine):
    reported = machine(CPUINFO=b"processor\t: 0\nvendor_id\t: GenuineIntel\n")
    assert reported["processorManufacturer"] == "Intel"
    assert reported["manufacturer"] == "unknown"


def test_a_machine_without_any_information_is_reported(machine):
    assert machine()["model"]
