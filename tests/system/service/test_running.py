"""The service at work: what central sees, what the journal says, what systemd does about it."""

import json
import re

import pytest
from message_ids import missing
from pis import CONFIG, DEVICE, OWN_KEY, a_secret, previous_of, run_of, until

# Blocks the event loop, and only that, when a signal comes: a hang as a careless call makes it.
HANG = """\
import signal, sys, time
from agent.cli.parser import main
signal.signal(signal.SIGUSR2, lambda *_: time.sleep(1000))
sys.exit(main())
"""


def fields(messages):
    return [json.loads(message["body"]) for message in messages]


def main_pid(pi):
    return int(pi.show("MainPID")["MainPID"])


def test_telemetry_arrives(installed):
    messages = installed.new_messages(3)
    assert all(-40 < m["temp"] < 80 and 0 < m["humid"] <= 100 for m in fields(messages))


def test_it_tells_systemd_how_it_is(installed):
    words = until(
        lambda: re.search(r"% at .*; connected to", installed.show("StatusText")["StatusText"])
    )
    assert words, installed.show("StatusText")


@pytest.mark.parametrize(
    ("name", "request_", "status", "led"),
    [
        ("turnon", None, 200, "on"),
        ("blink", 2, 200, "blinking"),
        ("turnoff", None, 200, "off"),
        ("blink", "fast", 400, "off"),
        ("selfdestruct", None, 404, "off"),
    ],
)
def test_a_command_is_answered(installed, name, request_, status, led):
    # Tests run in any order, so each puts the LED into a state that it does not expect.
    before = "turnoff" if led in {"on", "blinking"} or status != 200 else "turnon"
    installed.command(before)
    until(lambda: installed.properties()["ledState"] == before.removeprefix("turn"))
    assert installed.command(name, request_)["responseCode"] == status
    until(
        lambda: installed.properties()["ledState"] == led,
        what=lambda: str((installed.properties(), installed.status())),
    )


def test_the_doctor_finds_nothing_wrong_with_what_was_installed(installed):
    told = installed.anna("sudo sensor-agent check --json", check=False).stdout
    checks = json.loads(told)["checks"]
    assert len(checks) > 10
    assert [check for check in checks if check["outcome"] == "failed"] == []


def test_diagnostics_are_reported(installed):
    assert installed.command("rundiagnostics")["responseCode"] == 202
    assert until(lambda: installed.properties().get("rundiagnostics"))


def test_a_property_is_set(installed):
    installed.rest("PATCH", f"/api/devices/{DEVICE}/properties", {"brightness": 3}, status=202)
    until(lambda: installed.properties()["$metadata"]["brightness"].get("ackCode") == 200)
    assert installed.status()["led"]["brightness"] == 3


def test_the_journal_is_found_by_its_fields_and_explained(installed):
    installed.command("selfdestruct")
    found = installed.journal("COMMAND=selfdestruct")
    assert found
    assert {record["DEVICE_ID"] for record in found} == {DEVICE}
    assert {record["SYSLOG_IDENTIFIER"] for record in found} == {"sensor-agent"}
    explained = installed.out("journalctl", "--catalog", "COMMAND=selfdestruct")
    assert "Subject: The command selfdestruct" in explained


def test_killed_it_is_started_again_and_nothing_is_lost(installed):
    first = run_of(installed.new_messages()[-1])
    earlier = {run_of(message) for message in installed.messages()} - {first}
    restarts = int(installed.show("NRestarts")["NRestarts"])
    for _ in range(2):
        old = main_pid(installed)
        installed.run("kill", "-KILL", str(old))
        until(lambda old=old: main_pid(installed) not in {0, old})
        until(lambda: installed.show("ActiveState")["ActiveState"] == "active")
    installed.until_connected()
    assert int(installed.show("NRestarts")["NRestarts"]) == restarts + 2
    installed.new_messages(5)

    def all_arrived():
        messages = [m for m in installed.messages() if run_of(m) not in earlier]
        ids = {message["system"]["message_id"] for message in messages}
        ends = previous_of(m for m in messages if run_of(m) != first)
        return ends and ends <= ids and not missing(ids)

    until(all_arrived)  # Live readings overtake older ones.


def test_killed_its_led_is_put_out(installed):
    with installed.added("[Service]\nRestart=no\n"):
        installed.restart()
        installed.run("kill", "-KILL", str(main_pid(installed)))
        until(lambda: installed.show("ActiveState")["ActiveState"] == "failed")
        put_out = installed.show("ExecStopPost")["ExecStopPost"]
    assert "sensor-agent led off" in put_out
    assert "code=exited ; status=0" in put_out


def test_a_hung_loop_is_noticed_and_ended(installed):
    installed.path("/opt/hang.py").write_text(HANG)
    start = "/usr/lib/sensor-agent/launch --program /opt/hang.py run --config " + CONFIG
    with installed.added(f"[Service]\nExecStart=\nExecStart={start}\nWatchdogSec=12\n"):
        installed.restart()
        installed.until_connected()
        old, restarts = main_pid(installed), int(installed.show("NRestarts")["NRestarts"])
        installed.run("kill", "-USR2", str(old))
        until(lambda: int(installed.show("NRestarts")["NRestarts"]) > restarts)
        until(lambda: installed.show("ActiveState")["ActiveState"] == "active")
        assert main_pid(installed) != old
        said = installed.out("journalctl", "--unit", "sensor-agent", "--lines", "200")
        assert "Watchdog timeout (limit 12s)!" in said


def test_an_unreachable_hub_is_no_reason_to_start_anew(installed):
    with installed.added("[Service]\nWatchdogSec=12\n"):
        installed.restart()
        installed.until_connected()
        installed.run("systemctl", "stop", "central")
        try:
            until(lambda: "not connected" in installed.show("StatusText")["StatusText"])
            pid, taken = main_pid(installed), installed.status()["sensor"]["counters"]["accepted"]
            # Readings go on for more than two of the watchdog's limits.
            until(lambda: installed.status()["sensor"]["counters"]["accepted"] > taken + 50)
            assert main_pid(installed) == pid
        finally:
            installed.run("systemctl", "start", "central")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda pi: pi.path(CONFIG).write_text("[sensor]\nintervall = 5\n"), "intervall"),
        (lambda pi: pi.path(OWN_KEY).unlink(), "device.key is empty"),
        (
            lambda pi: pi.path(OWN_KEY).write_text("not a key\n"),
            "holds a character that no key has",
        ),
    ],
    ids=["a misspelt key", "no key", "a spoilt key"],
)
def test_a_configuration_that_cannot_work_is_told_and_not_tried_again(installed, change, reason):
    kept = {place: installed.path(place).read_text() for place in (CONFIG, OWN_KEY)}
    try:
        change(installed)
        assert installed.run("systemctl", "restart", "sensor-agent", check=False).returncode != 0
        until(lambda: installed.show("ActiveState")["ActiveState"] == "failed")
        assert installed.show("ExecMainStatus", "NRestarts", "Result") == {
            "ExecMainStatus": "78",
            "NRestarts": "0",
            "Result": "exit-code",
        }
        shown = installed.run("systemctl", "status", "--full", "sensor-agent", check=False).stdout
        assert reason in shown
        invocation = installed.show("InvocationID")["InvocationID"]

        def lines():
            of_this_start = f"_SYSTEMD_INVOCATION_ID={invocation}"
            logged = installed.out("journalctl", "--output", "cat", of_this_start)
            return [line for line in logged.splitlines() if reason in line]

        until(lines)  # journald may be a moment behind systemd.
        assert len(lines()) == 1
    finally:
        for place, text in kept.items():
            installed.path(place).write_text(text)
        installed.restart()


RELOAD = ("systemctl", "reload", "sensor-agent")


def logged(pi, word):
    """Return the lines of this run's journal that contain `word`."""
    invocation = pi.show("InvocationID")["InvocationID"]
    lines = pi.out("journalctl", "--output", "cat", f"_SYSTEMD_INVOCATION_ID={invocation}")
    return [line for line in lines.splitlines() if word in line]


def test_a_reload_applies_a_changed_file_without_a_restart(installed):
    pid, file = main_pid(installed), installed.path(CONFIG)
    kept = file.read_text()
    before = len(logged(installed, CONFIG))
    try:
        installed.run(*RELOAD)
        file.write_text(kept.replace("interval = 0.5", "interval = 0.25\npower_pin = 22"))
        installed.run(*RELOAD)
        assert installed.status()["sensor"]["interval"] == 0.25
    finally:
        file.write_text(kept)
    installed.run(*RELOAD)
    assert installed.status()["sensor"]["interval"] == 0.5
    assert installed.show("ActiveState", "NRestarts")["ActiveState"] == "active"
    assert main_pid(installed) == pid
    until(lambda: len(logged(installed, CONFIG)) >= before + 3)
    unchanged, changed, undone = logged(installed, CONFIG)[before:]
    assert "has no changed setting" in unchanged
    assert f"Applied {CONFIG}: interval in [sensor]." in changed
    assert (
        "need a restart: power_pin in [sensor]. To restart the service: sudo systemctl" in changed
    )
    assert undone == f"Applied {CONFIG}: interval in [sensor]."


# Two mistakes, because the journal has the same line only once a minute.
@pytest.mark.parametrize(
    ("by_hand", "mistake"),
    [(False, "intervall"), (True, "intervaal")],
    ids=["reload", "config apply"],
)
def test_a_reload_of_a_broken_file_fails_and_changes_nothing(installed, by_hand, mistake):
    pid, file = main_pid(installed), installed.path(CONFIG)
    kept = file.read_text()
    before = len(logged(installed, mistake))
    try:
        file.write_text(kept.replace("interval = 0.5", f"{mistake} = 1"))
        if by_hand:
            done = installed.anna("sudo sensor-agent config apply", check=False)
            assert done.returncode == 78
            assert 'did you mean "interval"?' in done.stderr
        else:
            assert installed.run(*RELOAD, check=False).returncode != 0
            shown = installed.show("ActiveState", "SubState", "ReloadResult", "ExecReload")
            assert (shown["ActiveState"], shown["SubState"]) == ("active", "running")
            assert shown["ReloadResult"] == "exit-code"
            assert "status=78" in shown["ExecReload"]
    finally:
        file.write_text(kept)
    assert main_pid(installed) == pid
    assert installed.status()["sensor"]["interval"] == 0.5
    unchanged = len(logged(installed, "has no changed setting"))
    installed.run(*RELOAD)
    until(lambda: len(logged(installed, "has no changed setting")) > unchanged)
    [line] = logged(installed, mistake)[before:]
    assert line.startswith("Cannot apply the changed configuration")


def test_stopped_it_says_good_bye_and_its_led_is_off(installed):
    installed.command("turnon")
    until(lambda: installed.properties()["ledState"] == "on")
    installed.run("systemctl", "stop", "sensor-agent")
    assert installed.show("ActiveState", "Result", "ExecMainStatus") == {
        "ActiveState": "inactive",
        "Result": "success",
        "ExecMainStatus": "0",
    }
    told = installed.properties()
    assert (told["state"], told["ledState"]) == (False, "off")


def test_its_key_is_shown_nowhere(installed):
    key = installed.path(OWN_KEY).read_text().strip()
    installed.command("rundiagnostics")
    pid = main_pid(installed)
    until(lambda: installed.properties().get("rundiagnostics"))
    installed.anna("sudo sensor-agent check --report /home/anna/report", check=False)
    report = installed.path("/home/anna/report").read_text()
    places = {
        "arguments": installed.out("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"),
        "environment": installed.out("cat", f"/proc/{pid}/environ"),
        "journal": installed.out("journalctl", "--output", "export"),
        "status": json.dumps(installed.status()),
        "reports": json.dumps(installed.properties()),
        "messages": json.dumps(installed.messages()[-50:]),
        "unit": installed.out("systemctl", "show", "sensor-agent"),
        "report": report,
        "configuration": installed.path(CONFIG).read_text(),
    }
    assert "agent run" in places["arguments"]
    assert DEVICE in places["report"]
    assert "CREDENTIALS_DIRECTORY" in places["environment"]
    assert [name for name, text in places.items() if key in text] == []


def test_a_spoilt_key_is_not_shown_either(installed):
    kept, spoilt = installed.path(OWN_KEY).read_text(), a_secret()[:-1]
    installed.path(OWN_KEY).write_text(spoilt)
    try:
        installed.run("systemctl", "restart", "sensor-agent", check=False)
        until(lambda: installed.show("ActiveState")["ActiveState"] == "failed")
        assert spoilt not in installed.out("journalctl", "--output", "export")
    finally:
        installed.path(OWN_KEY).write_text(kept)
        installed.restart()
