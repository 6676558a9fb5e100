import pytest
from examinations import examination, write
from fakes import HandClock

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
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text(f"{millidegrees}\n")
    assert machine.temperature(examination(tmp_path)).outcome == outcome
