"""What `sensor-agent check` adds to the findings of a running daemon."""

import pytest
from examinations import examination, raspberry_pi, write
from statuses import STATUS

from agent.cli.check import Answer, _findings, _last_words
from agent.diagnostics.finding import failed, ok, skipped, warning
from agent.diagnostics.line_processes import Process, Processes
from hw.gpio_lines import Chip

UNSEEN = failed('GPIO 17 ([led] pin) is in use under the label "lg".', "Ask root.")


@pytest.mark.parametrize("is_root", [True, False])
def test_root_names_the_program_that_the_daemon_may_not_see(tmp_path, is_root):
    raspberry_pi(tmp_path)
    write(tmp_path, "dev/gpiochip0", "")
    lines = frozenset({("gpiochip0", 17)})
    program = Process(812, "fan.py", "", is_own=False, lines=lines, has_others=False)
    examined = examination(
        tmp_path,
        is_root=is_root,
        read_chip=lambda _path, _lines: Chip("gpiochip0", "pinctrl-bcm2711", {17: "lg"}),
        processes=lambda _proc: Processes([program]),
    )
    answer = Answer(STATUS, [("gpio-lines", UNSEEN), ("led", UNSEEN)])
    found = dict(_findings(answer, examined, ["gpio-lines", "led"]))
    assert ("by the program fan.py (process 812)" in found["gpio-lines"].line) is is_root
    assert found["led"] == UNSEEN
    examined.mistakes = ("config.toml: [led] pin = 99",)  # The defaults say nothing here.
    assert dict(_findings(answer, examined, ["gpio-lines"]))["gpio-lines"] == UNSEEN


def test_the_last_words_say_whether_all_is_well():
    well = [("one", ok("Good.")), ("two", skipped("it is not needed"))]
    assert _last_words(well) == "No problems were found."
    wrong = _last_words([*well, ("three", warning("Bad.", "Do it."))])
    assert wrong == "Follow the advice above, then run this command again."
