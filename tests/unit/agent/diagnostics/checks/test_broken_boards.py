"""What the doctor says about boards whose lines are wrong, and docs/doctor.md about that."""

import re

import pytest
from broken_boards import BOARDS
from places import ROOT

from agent.diagnostics.finding import Outcome

DOCUMENT = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
WORD = re.compile(r"\b(?:N|KEY|NAME|PURPOSE|UNIT|FILE|LINE)\b")


def rows():
    """Return the first column of the table of GPIO lines, as patterns."""
    section = DOCUMENT.partition("\n### The GPIO lines\n")[2].partition("\n#")[0]
    table = section.partition("|---|---|---|\n")[2].partition("\n\n")[0]
    shown = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()]
    return [re.compile(".+".join(map(re.escape, WORD.split(row)))) for row in shown]


def wrong(board, root):
    findings = board.findings(root)
    assert all(one.outcome is not Outcome.SKIPPED or "not configured" in one.line
               for one in findings.values())  # fmt: skip
    return [one for one in findings.values() if one.outcome in {Outcome.FAILED, Outcome.WARNING}]


@pytest.mark.parametrize("name", BOARDS)
def test_each_fault_is_found_with_advice_and_has_one_row(tmp_path, name):
    found = wrong(BOARDS[name], tmp_path)
    assert bool(found) is (name != "healthy")
    for finding in found:
        matching = [row.pattern for row in rows() if row.fullmatch(finding.line)]
        assert len(matching) == 1, finding.line
        assert finding.advice
        assert "See the check" not in finding.advice


def test_each_row_belongs_to_a_fault(tmp_path):
    lines = []
    for number, board in enumerate(BOARDS.values()):
        root = tmp_path / str(number)
        root.mkdir()
        lines += [finding.line for finding in wrong(board, root)]
    assert [row.pattern for row in rows() if not any(map(row.fullmatch, lines))] == []


def test_a_line_that_is_taken_now_and_after_a_restart_fails_both_checks(tmp_path):
    findings = BOARDS["1-Wire has the sensor's line"].findings(tmp_path)
    assert findings["gpio-lines"].line.endswith("is held by the kernel for 1-Wire (onewire@4).")
    assert findings["gpio-overlay"].line.startswith(
        "At each start, the firmware gives GPIO 4 ([sensor] pin) to 1-Wire: "
    )
