"""`read` and `led` in words, with a daemon that is simulated by its answers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from statuses import STATUS

from agent.cli import hardware, parser
from agent.config import loader
from agent.config.loader import default
from agent.daemon import control_socket
from agent.diagnostics import installation
from agent.errors import NoDaemonError
from agent.status import status_to_json
from hw import DriverError

SOCKET = Path("control.sock")
CONFIG = default(host_name="laptop")


@pytest.fixture
def answer(monkeypatch):
    """Let a daemon answer each request: the function takes the answer to a command."""
    answers = {"status": json.loads(json.dumps({"status": status_to_json(STATUS)}))}

    def ask(_path, request, **_options):
        return answers[request["command"]]

    monkeypatch.setattr(hardware, "ask", ask)
    monkeypatch.setattr(control_socket, "ask", ask)
    return answers.update


@pytest.mark.parametrize(
    ("what", "state", "sentence"),
    [
        ("on", "on", "The LED is on.\n"),
        ("off", "off", "The LED is off.\n"),
        ("brightness", "on", "The LED is on with brightness 2 (medium).\n"),
        ("brightness", "blinking", "The LED is blinking with brightness 2 (medium).\n"),
        (
            "brightness",
            "off",
            "The LED's brightness is 2 (medium). It is off; to turn it on: sensor-agent led on\n",
        ),
    ],
)
def test_the_led_is_described_with_what_was_changed(answer, capsys, what, state, sentence):
    answer({"led": {"led": {"state": state, "brightness": 2}}})
    assert hardware.led(CONFIG, SOCKET, what=what, number=2, as_json=False) == 0
    assert capsys.readouterr().out == sentence


@pytest.mark.parametrize(("unit", "text"), [("celsius", "  21.5 °C"), ("fahrenheit", "  70.7 °F")])
def test_a_reading_is_shown_in_the_configured_unit(answer, capsys, unit, text):
    answer({"read": {"reading": {"temperature": 21.5, "humidity": 45.0, "taken": "2026-11-22"}}})
    config = replace(CONFIG, sensor=replace(CONFIG.sensor, unit=unit))
    assert hardware.read(config, SOCKET, count=1, as_json=False) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{text}   45.0 %"
    assert hardware.read(config, SOCKET, count=1, as_json=True) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["temperature"], line["unit"]) == (21.5, "celsius")


@pytest.mark.parametrize("command", [["read"], ["led", "on"]])
def test_fake_hardware_beside_a_real_daemon_is_said_to_have_no_effect(answer, capsys, command):
    answer({"led": {"led": {"state": "on", "brightness": 1}}})
    answer({"read": {"reading": {"temperature": 21.5, "humidity": 45.0, "taken": "2026-11-22"}}})
    assert parser.main([*command, "--fake-hw"]) == 0
    assert "has no effect: the running daemon does the work, with dht22" in capsys.readouterr().err
    assert parser.main(command) == 0
    assert capsys.readouterr().err == ""


NUMBERS = [
    ("led", "blink", "{}"),
    ("led", "brightness", "{}"),
    ("read", "--count={}"),
    ("demo", "--minutes={}"),
    ("central", "--http-port={}"),
    ("central", "--id-scopes={}"),
]


@pytest.mark.parametrize("words", NUMBERS, ids=" ".join)
@pytest.mark.parametrize("number", ["-1", "1e99", "nan", "many", "", "99999999999"])
def test_each_number_is_checked_before_anything_is_touched(monkeypatch, capsys, words, number):
    def touch(*_arguments, **_options):
        raise AssertionError("The configuration was read.")

    monkeypatch.setattr(loader, "find", touch)
    monkeypatch.setattr(installation, "need", touch)
    try:
        status: Any = parser.main([word.format(number) for word in words])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("words", [("led", "blink", "0"), ("led", "brightness", "4")], ids=" ".join)
def test_numbers_of_the_led_have_a_range(capsys, words):
    assert parser.main(words) == 2
    assert "needs a number from 1 to" in capsys.readouterr().err


def test_the_numbers_are_those_of_the_parser():
    top: Any = parser.parser()
    typed = set()
    for name, command in top._subparsers._group_actions[0].choices.items():
        for action in command._actions:
            if action.type not in {None, Path, str}:
                typed.add((name, action.dest))
    assert typed == {
        *(("led", "number"), ("read", "count"), ("demo", "minutes")),
        *(("central", "http_port"), ("central", "id_scopes")),
    }


@pytest.mark.parametrize("command", [["read"], ["led", "on"], ["led", "brightness", "2"]])
def test_without_a_board_sensor_and_led_give_the_same_advice(monkeypatch, capsys, command):
    def no_daemon(*_arguments, **_options):
        raise NoDaemonError("No daemon is running.")

    def no_board(*_arguments, **_options):
        raise DriverError("This machine is not a Raspberry Pi.")

    monkeypatch.setattr(hardware, "ask", no_daemon)
    monkeypatch.setattr(hardware, "open_sensor", no_board)
    monkeypatch.setattr(hardware, "open_led", no_board)
    copy = replace(installation.this_copy(), is_raspberry_pi=False)
    monkeypatch.setattr(installation, "this_copy", lambda: copy)
    assert parser.main(command) == 78
    assert capsys.readouterr().err == (
        'This machine is not a Raspberry Pi. Use --fake-hw, or set driver = "fake" in [sensor] '
        "and [led].\n"
    )
