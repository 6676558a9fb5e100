import errno
import os

import pytest

from hw.sensors.i2c_probe import ADDRESSES, QUICK_WRITE, SET_ADDRESS, answering, models_at
from hw.sensors.models import CHIPS


def bus_with(tmp_path, present, *, bound=(), stuck=False):
    """Return the device directory, and what stands in for ioctl on a bus with these chips."""
    (tmp_path / "i2c-1").write_bytes(b"")
    asked = []

    def control(_descriptor, request, argument):
        if request == SET_ADDRESS:
            if argument in bound:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            asked.append(argument)
            return
        assert argument == QUICK_WRITE  # No data, ever.
        if stuck:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        if asked[-1] not in present:
            raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))

    return {"dev": tmp_path, "control": control}, asked


def test_what_answers_is_found_at_the_addresses_of_sensors_only(tmp_path):
    options, asked = bus_with(tmp_path, {0x44, 0x76, 0x50, 0x68})
    assert answering(**options) == [0x44, 0x76]
    assert asked == ADDRESSES == [0x38, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x76, 0x77]


def test_a_device_with_a_driver_is_left_to_it(tmp_path):
    options, asked = bus_with(tmp_path, {0x44, 0x76}, bound={0x44})
    assert answering(**options) == [0x76]
    assert 0x44 not in asked


def test_a_stuck_bus_is_tried_once(tmp_path):
    options, asked = bus_with(tmp_path, {0x44}, stuck=True)
    with pytest.raises(TimeoutError):
        answering(**options)
    assert len(asked) == 1


def test_without_a_bus_nothing_answers(tmp_path):
    assert answering(dev=tmp_path) == []


def test_a_file_that_is_no_bus_gives_nothing(tmp_path):
    (tmp_path / "i2c-1").write_bytes(b"")
    assert answering(dev=tmp_path) == []  # ENOTTY from the real ioctl.


@pytest.mark.parametrize("address", ADDRESSES)
def test_each_address_has_the_models_that_can_be_there(address):
    assert models_at(address)
    assert set(models_at(address)) <= set(CHIPS)


def test_an_address_of_several_models_names_all():
    assert models_at(0x40) == ["sht2x", "hdc1080", "si7021", "htu21"]
