import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes import HandClock

from agent.readings import clock as clock_module
from agent.readings.clock import (
    Clock,
    Rtc,
    Stamp,
    machine_boot_id,
    machine_synchronised,
    machine_uptime,
    read_rtc,
)


def test_a_synchronised_stamp_keeps_its_time():
    clock = HandClock()
    assert clock.true_time(clock.stamp()) == (1_700_000_000.0, True)


def test_a_stamp_of_this_boot_is_corrected_when_the_clock_is_set():
    clock = HandClock(wall=0.0, uptime=10.0, known=False)
    stamp = clock.stamp()
    assert clock.true_time(stamp) == (0.0, False)
    clock.time, clock.up, clock.known = 1_700_000_090.0, 100.0, True
    assert clock.true_time(stamp) == (1_700_000_000.0, True)


def test_a_stamp_of_another_boot_is_never_corrected():
    stamp = Stamp(5.0, 10.0, "boot-before", synchronised=False)
    assert HandClock().true_time(stamp) == (5.0, False)


def test_a_stamp_during_the_setting_of_the_clock_is_unsynchronised():
    clock = HandClock(wall=0.0, uptime=10.0, known=False)

    def set_from_the_network():
        wall, clock.time, clock.known = clock.time, 1_700_000_000.0, True
        return wall

    clock.wall = set_from_the_network
    stamp = clock.stamp()
    assert (stamp.wall, stamp.synchronised) == (0.0, False)
    clock.wall = lambda: clock.time
    assert clock.true_time(stamp) == (1_700_000_000.0, True)


def test_uptime_grows():
    assert 0 < machine_uptime() <= machine_uptime()


def test_the_boot_has_an_id():
    assert len(machine_boot_id()) == 36
    assert machine_boot_id() == machine_boot_id()


@pytest.fixture
def mark(tmp_path, monkeypatch):
    mark = tmp_path / "synchronized"
    monkeypatch.setattr(clock_module, "TIMESYNCD_MARK", mark)
    monkeypatch.setattr(sys, "platform", "linux")
    return mark


@pytest.mark.parametrize("kernel", [True, False])
def test_the_kernel_decides_if_timesyncds_file_is_missing(mark, monkeypatch, kernel):
    monkeypatch.setattr(clock_module, "_kernel_synchronised", lambda: kernel)
    clock_module._synchronised_in.cache_clear()
    assert machine_synchronised() is kernel
    mark.touch()
    clock_module._synchronised_in.cache_clear()
    assert machine_synchronised() is True


def test_the_machine_is_asked_at_most_once_in_a_second(mark, monkeypatch):
    times = iter([5.0, 5.9, 6.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    monkeypatch.setattr(clock_module, "_kernel_synchronised", lambda: False)
    clock_module._synchronised_in.cache_clear()
    assert machine_synchronised() is False
    mark.touch()
    assert (machine_synchronised(), machine_synchronised()) == (False, True)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="adjtimex is Linux's")
def test_the_kernel_can_be_called():
    assert clock_module._kernel_synchronised() in {True, False}


def test_the_machines_clock_is_the_default():
    stamp = Clock().stamp()
    assert stamp.boot_id == machine_boot_id()


def test_an_unsynchronised_clock_gives_a_warning():
    assert HandClock(known=True).doubt() is None
    said = str(HandClock(known=False).doubt())
    assert "shows 2023-11-14 22:13 UTC and has not been set from the" in said


RIGHT = datetime(2026, 11, 22, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("shows", "agrees"),
    [(RIGHT, True), (RIGHT + 59, True), (RIGHT - 59, True), (RIGHT + 61, False), (0.0, False)],
)
def test_a_real_time_clock_agrees_within_a_minute(shows, agrees):
    assert Rtc("rtc0", "ds3231", shows).agrees_with(RIGHT) is agrees


def test_a_real_time_clock_whose_battery_was_empty_is_never_right():
    wall = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
    assert not Rtc("rtc0", "ds3231", wall).agrees_with(wall)


def test_the_first_real_time_clock_that_can_be_read_is_used(tmp_path):
    assert read_rtc(tmp_path) is None
    for number, text in enumerate(("", "no number", "1790000000\n")):
        device = tmp_path / f"sys/class/rtc/rtc{number}"
        device.mkdir(parents=True)
        (device / "name").write_text("rpi-rtc soc:rpi_rtc\n")
        (device / "since_epoch").write_text(text)
    assert read_rtc(tmp_path) == Rtc("rtc2", "rpi-rtc", 1_790_000_000.0)


def test_a_trusted_real_time_clock_makes_the_clock_known(monkeypatch):
    monkeypatch.setattr(clock_module, "machine_synchronised", lambda: False)
    shown = [time.time()]
    monkeypatch.setattr(clock_module, "read_rtc", lambda: Rtc("rtc0", "ds3231", shown[0]))
    clock_module._as_rtc_in.cache_clear()
    assert Clock(trust_rtc=True).stamp().synchronised
    assert not Clock(synchronised=lambda: False, trust_rtc=True).stamp().synchronised
    shown[0] -= 3600
    clock_module._as_rtc_in.cache_clear()
    assert not Clock(trust_rtc=True).stamp().synchronised
    clock_module._as_rtc_in.cache_clear()
