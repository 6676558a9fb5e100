from dataclasses import replace

import pytest
from examinations import CONFIG, examination, raspberry_pi, write
from fakes import HandClock

from agent.config.loader import ClockConfig
from agent.diagnostics.checks import machine
from agent.diagnostics.finding import Outcome


def power(root, vcgencmd):
    return machine.power(examination(root, vcgencmd=vcgencmd))


def clock(root, **options):
    return machine.clock(examination(root, clock=HandClock(**options)))


def throttled(value):
    return lambda: f"throttled={value:#x}\n"


@pytest.mark.parametrize(
    ("bits", "outcome", "words"),
    [
        (0x0, "ok", "has been good"),
        (0x1, "failed", "too low now"),
        (0x50005, "failed", "too low now (under-voltage, throttled)"),
        (0x8, "warning", "near its temperature limit now"),
        (0x10000, "warning", "has been too low since the start"),
        (0x20000, "warning", "Since the start the board has been slowed down."),
    ],
)
def test_the_firmwares_report_on_the_supply(tmp_path, bits, outcome, words):
    finding = power(tmp_path, throttled(bits))
    assert finding.outcome == outcome
    assert words in finding.line


def test_the_kernels_file_is_read_before_vcgencmd_is_run(tmp_path):
    file = tmp_path / "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
    file.parent.mkdir(parents=True)
    file.write_text("50000\n")
    assert power(tmp_path, lambda: pytest.fail("vcgencmd ran")).outcome is Outcome.WARNING


@pytest.mark.parametrize(("alarm", "outcome"), [("1\n", "failed"), ("0\n", "ok")])
def test_without_both_the_voltage_sensor_is_read(tmp_path, alarm, outcome):
    for number, name in enumerate(("cpu_thermal", "rpi_volt")):
        device = tmp_path / f"sys/class/hwmon/hwmon{number}"
        device.mkdir(parents=True)
        (device / "name").write_text(f"{name}\n")
    (device / "in0_lcrit_alarm").write_text(alarm)
    assert power(tmp_path, lambda: None).outcome == outcome


def test_a_machine_without_a_program_that_sets_the_clock_needs_one(tmp_path):
    assert "sudo apt install systemd-timesyncd" in clock(tmp_path, known=False).advice


def test_a_clock_in_doubt_is_a_warning_with_what_the_service_needs(tmp_path):
    write(tmp_path, "usr/lib/systemd/ntp-units.d/50-chrony.list", "chrony.service\n")
    assert clock(tmp_path).line.endswith("It shows 2023-11-14 22:13 UTC.")
    finding = clock(tmp_path, known=False)
    assert finding.outcome is Outcome.WARNING
    assert "2023-11-14 22:13 UTC" in finding.line
    assert "timedatectl set-ntp true" in finding.advice
    assert "sensor-agent setup" not in finding.advice
    write(tmp_path, "etc/systemd/system/sensor-agent.service", "")
    # The unit lets the kernel be asked only where timesyncd's mark was not there at installation.
    assert "replaced systemd-timesyncd, run sudo sensor-agent setup again" in (
        clock(tmp_path, known=False).advice
    )


def test_a_machine_without_measurements_is_skipped(tmp_path):
    assert power(tmp_path, lambda: "VCHI initialization failed").outcome is Outcome.SKIPPED
    assert machine.temperature(examination(tmp_path)).outcome is Outcome.SKIPPED


@pytest.mark.parametrize(
    ("millidegrees", "outcome"),
    [("45000", "ok"), ("80500", "warning"), ("86000", "failed"), ("-3000", "ok")],
)
def test_the_temperature_of_the_processor(tmp_path, millidegrees, outcome):
    raspberry_pi(tmp_path)
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text(f"{millidegrees}\n")
    assert machine.temperature(examination(tmp_path)).outcome == outcome


def test_the_temperature_of_a_laptop_is_its_own_affair(tmp_path):
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "97000\n")
    assert machine.temperature(examination(tmp_path)).outcome is Outcome.SKIPPED


NOW = 1_790_000_000.0


def rtc(root, shows):
    write(root, "sys/class/rtc/rtc0/name", "rtc-ds1307 1-0068\n")
    write(root, "sys/class/rtc/rtc0/since_epoch", f"{shows:.0f}\n")


def clock_with_rtc(root, *, trust=True, known=False):
    config = replace(CONFIG, clock=ClockConfig(trust_rtc=trust))
    return machine.clock(examination(root, config, clock=HandClock(wall=NOW, known=known)))


def test_a_trusted_real_time_clock_that_is_right_is_believed(tmp_path):
    rtc(tmp_path, NOW + 20)
    finding = clock_with_rtc(tmp_path)
    assert finding.outcome is Outcome.OK
    assert "agrees with the real-time clock rtc0 (rtc-ds1307)" in finding.line


@pytest.mark.parametrize("shows", [NOW + 3600, 0, 946_684_800])
def test_a_trusted_real_time_clock_that_is_wrong_is_not_believed(tmp_path, shows):
    rtc(tmp_path, shows)
    finding = clock_with_rtc(tmp_path)
    assert finding.outcome is Outcome.WARNING
    assert "The real-time clock rtc0 (rtc-ds1307) shows" in finding.line
    assert "hwclock --systohc" in finding.advice
    assert clock_with_rtc(tmp_path, known=True).outcome is Outcome.OK


def test_a_trusted_real_time_clock_that_is_missing_is_reported(tmp_path):
    finding = clock_with_rtc(tmp_path)
    assert "no real-time clock can be read" in finding.line
    assert "dtoverlay=i2c-rtc" in finding.advice


def test_a_real_time_clock_that_would_help_is_proposed(tmp_path):
    assert "trust_rtc" not in clock_with_rtc(tmp_path, trust=False).advice
    rtc(tmp_path, NOW)
    assert "trust_rtc = true" in clock_with_rtc(tmp_path, trust=False).advice
    rtc(tmp_path, 0)
    assert "trust_rtc" not in clock_with_rtc(tmp_path, trust=False).advice


def test_a_service_that_may_ask_the_kernel_is_not_set_up_again(tmp_path):
    write(tmp_path, "etc/systemd/system/sensor-agent.service", "")
    write(tmp_path, machine.CLOCK_DROP_IN, "")
    assert "sensor-agent setup" not in clock(tmp_path, known=False).advice
