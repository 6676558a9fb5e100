"""The level of the LED's line in the kernel, driven by the real gpiozero and lgpio."""

import shutil
import signal
import subprocess
from itertools import pairwise

import pytest
from machine import (
    NOBODY,
    PATIENCE,
    Daemon,
    another_program_has_the_line,
    level,
    levels,
    line_stays_high,
    share,
    simulate,
    turns,
    until,
    written,
)


def test_turnon_and_turnoff_set_the_line(central, daemon):
    assert level() == 0
    assert central.command(daemon.id, "turnon")[0] == 200
    assert share(levels(1.0, 0.005)) == 1.0
    central.until_told(daemon.id, ledState="on")
    assert central.command(daemon.id, "turnoff")[0] == 200
    assert share(levels(1.0, 0.005)) == 0.0
    central.until_told(daemon.id, ledState="off")


@pytest.mark.parametrize("period", [1, 3])
def test_blink_is_high_for_half_of_its_period(central, daemon, period):
    status, answer = central.command(daemon.id, "blink", period)
    assert (status, answer) == (200, {"description": f"Blinking LED every {period} seconds"})
    central.until_told(daemon.id, ledState="blinking")
    changes = turns(levels(5.2 * period, 0.005))
    assert len(changes) in {10, 11}
    for (before, _), (after, _) in pairwise(changes):
        assert after - before == pytest.approx(period / 2, abs=period / 8)
    assert central.command(daemon.id, "turnoff")[0] == 200
    assert share(levels(2.0 * period, 0.005)) == 0.0


def test_brightness_1_is_steady_and_3_is_high_for_less_of_the_time_than_2(central, daemon):
    assert central.command(daemon.id, "turnon")[0] == 200
    shares = {}
    for brightness in (2, 3, 1):
        central.call("PATCH", f"/api/devices/{daemon.id}/properties", {"brightness": brightness})
        until(lambda wanted=brightness: daemon.status()["led"]["brightness"] == wanted)
        seen = levels(3.0, 0.0007)  # Not a fraction of PWM's period of 10 ms.
        shares[brightness] = share(seen)
        if brightness > 1:
            assert len(turns(seen)) > 100
    print(f"\nThe line was high for {shares} of the time.")
    assert shares[1] == 1.0
    assert 0.0 < shares[3] < shares[2] < 1.0
    assert shares[2] == pytest.approx(0.3, abs=0.1)
    assert shares[3] == pytest.approx(0.1, abs=0.07)


def test_the_latest_command_wins(central, daemon):
    assert central.command(daemon.id, "blink", 1)[0] == 200
    assert central.command(daemon.id, "turnon")[0] == 200
    assert share(levels(2.0, 0.005)) == 1.0
    assert central.command(daemon.id, "blink", 1)[0] == 200
    assert len(turns(levels(2.2, 0.005))) >= 3


def test_the_led_is_off_after_a_stop_and_central_knows(central, daemon):
    assert central.command(daemon.id, "turnon")[0] == 200
    assert level() == 1
    assert daemon.stop() == 0
    assert level() == 0
    central.until_told(daemon.id, state=False, ledState="off")


@pytest.mark.parametrize("lit", ["steady", "pwm", "blinking"])
def test_the_led_is_off_after_kill_9_and_a_restart(central, daemon, lit):
    match lit:
        case "steady":
            daemon.ask(command="led", do="on")
        case "pwm":
            daemon.ask(command="led", do="brightness", level=2)
            daemon.ask(command="led", do="on")
        case "blinking":
            daemon.ask(command="led", do="blink", seconds=1)
    with line_stays_high():
        daemon.kill()
        assert level() == 1
        daemon.start().until_connected()
        assert share(levels(1.5, 0.005)) == 0.0
    central.until_told(daemon.id, state=True, ledState="off")
    assert central.command(daemon.id, "turnon")[0] == 200
    until(lambda: level() == 1)


def test_the_led_can_be_turned_off_by_hand_after_a_crash(daemon):
    daemon.ask(command="led", do="on")
    with line_stays_high():
        daemon.kill()
        assert level() == 1
        with written() as levels_set, daemon.by_hand("led", "off") as by_hand:
            assert by_hand.wait(PATIENCE) == 0, by_hand.stdout.read()
    assert set(levels_set) == {0}


@pytest.mark.parametrize(("what", "wanted"), [("off", {1}), ("on", {0, 1})])
def test_an_active_low_led_does_not_flash_before_it_is_turned_on(no_daemon, what, wanted):
    config = no_daemon.home / "active-low.toml"
    config.write_text(no_daemon.config.read_text().replace("[log]", "active_high = false\n[log]"))
    # The first level is that of the claim. The line is low only while the LED is on.
    with written() as levels_set, no_daemon.by_hand("led", what, config=config) as by_hand:
        if what == "on":
            assert "until you press Ctrl-C" in by_hand.stdout.readline()
            assert level() == 0
            by_hand.send_signal(signal.SIGINT)
        assert by_hand.wait(PATIENCE) == 0, by_hand.stdout.read()
    assert set(levels_set) == wanted
    assert (levels_set[0], levels_set[-1]) == (1, 1)
    assert levels_set.count(0) == (what == "on")


def test_by_hand_the_led_is_on_until_ctrl_c(no_daemon):
    with no_daemon.by_hand("led", "on") as by_hand:
        until(lambda: level() == 1)
        by_hand.send_signal(signal.SIGINT)
        assert by_hand.wait(PATIENCE) == 0, by_hand.stdout.read()
    assert level() == 0


def test_by_hand_the_running_daemon_drives_the_led(daemon):
    with daemon.by_hand("led", "on") as by_hand:
        assert by_hand.communicate(timeout=PATIENCE)[0] == "The LED is on.\n"
    assert level() == 1
    assert daemon.status()["led"]["state"] == "on"


def test_a_busy_line_is_reported_and_claimed_when_it_is_free(central, no_daemon):
    with another_program_has_the_line():
        no_daemon.start().until_connected()
        assert "GPIO 17 is in use by something else" in no_daemon.status()["led"]["fault"]
        status, answer = central.command(no_daemon.id, "turnon")
        assert status == 500
        assert "GPIO 17 is in use by something else" in str(answer)
        central.until_told(no_daemon.id, ledState="off", sensorStatus="ok")
    assert central.command(no_daemon.id, "turnon")[0] == 200
    assert level() == 1
    assert no_daemon.status()["led"]["fault"] is None


def test_without_permission_the_sensor_is_still_read(central, no_daemon, ordinary_place):
    files = {
        name: str(shutil.copy(central.info[name], ordinary_place))
        for name in ("group_key_file", "ca_file")
    }
    daemon = Daemon(ordinary_place, central, device_id="nobodys", user=NOBODY, **files)
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", ordinary_place], check=True)
    with daemon:
        daemon.until_connected()
        fault = daemon.status()["led"]["fault"]
        assert "This user may not use /dev/gpiochip0" in fault
        assert "usermod -aG gpio" in fault
        status, answer = central.command("nobodys", "turnon")
        assert status == 500
        assert "may not use" in str(answer)
        central.until_told("nobodys", ledState="off", sensorStatus="ok")
        assert daemon.stop() == 0


def test_a_crossed_limit_switches_the_line_until_the_readings_return(central, daemon):
    properties = f"/api/devices/{daemon.id}/properties"
    central.call("PATCH", properties, {"temperatureHigh": 25})
    until(lambda: daemon.status()["limits"]["in_force"] == {"temperatureHigh": 25})
    assert central.command(daemon.id, "turnon")[0] == 200
    simulate(temperature=27.0)
    central.until_told(daemon.id, limitStatus="too_warm", ledState="blinking")
    changes = turns(levels(5.2, 0.005))
    assert len(changes) in {10, 11}
    for (before, _), (after, _) in pairwise(changes):
        assert after - before == pytest.approx(0.5, abs=0.125)
    simulate(temperature=24.0)
    central.until_told(daemon.id, limitStatus="within", ledState="on")
    assert share(levels(2.0, 0.005)) == 1.0
    simulate(temperature=27.0)
    central.until_told(daemon.id, limitStatus="too_warm", ledState="blinking")
    assert central.command(daemon.id, "turnoff")[0] == 200
    assert share(levels(2.0, 0.005)) == 0.0
    central.call("PATCH", properties, {"temperatureHigh": None})
    central.until_told(daemon.id, limitStatus="off")
