import pytest

from agent.storage.machine_id import board_id


def machine(tmp_path, **files):
    places = {
        "serial": "proc/device-tree/serial-number",
        "cpuinfo": "proc/cpuinfo",
        "machine": "etc/machine-id",
    }
    for name, text in files.items():
        path = tmp_path / places[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"serial": "10000000a1b2c3d4\0", "machine": "f" * 32}, "serial 10000000a1b2c3d4"),
        ({"cpuinfo": "processor\t: 0\nSerial\t\t: 00000000a1b2c3d4\n"}, "serial 00000000a1b2c3d4"),
        ({"cpuinfo": "Serial\t: 0000000000000000\n", "machine": "f" * 32}, "machine " + "f" * 32),
        (
            {"machine": "0123456789abcdef0123456789abcdef\n"},
            "machine 0123456789abcdef0123456789abcdef",
        ),
        ({"machine": "uninitialized\n"}, None),
        ({"machine": ""}, None),
        ({}, None),
    ],
)
def test_a_machine_is_identified_by_serial_number_or_machine_id(tmp_path, files, found):
    assert board_id(machine(tmp_path, **files)) == found
