"""What the doctor says about boards whose lines are wrong, and docs/doctor.md about that."""

import re
from dataclasses import replace

import pytest
from broken_boards import BOARDS
from places import ROOT

from agent.diagnostics.finding import Outcome

DOCUMENT = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
WORD = re.compile(r"\b(N|KEY|NAME|PURPOSE|UNIT|FILE|LINE|ADDRESS)\b")
SECTIONS = ("The GPIO pins", "A sensor on I2C")


def rows():
    """Return the first column of the tables of these checks, as patterns."""
    shown = []
    for title in SECTIONS:
        section = DOCUMENT.partition(f"\n### {title}\n")[2].partition("\n#")[0]
        table = section.partition("|---|---|---|\n")[2].partition("\n\n")[0]
        assert table, title
        shown += [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()]
    return [re.compile("".join(map(pattern, WORD.split(row)))) for row in shown]


def pattern(part):
    if WORD.fullmatch(part):
        return "[0-9]+" if part == "N" else ".+"
    return re.escape(part)


def wrong(board, root):
    findings = board.findings(root)
    for one in findings.values():
        reasons = ("not configured", "(gpio-lines)")
        assert one.outcome is not Outcome.SKIPPED or any(part in one.line for part in reasons)
    return [one for one in findings.values() if one.outcome in {Outcome.FAILED, Outcome.WARNING}]


@pytest.mark.parametrize("name", BOARDS)
def test_each_fault_is_one_finding_with_advice_and_one_row(tmp_path, name):
    found = wrong(BOARDS[name], tmp_path)
    assert len(found) == (name != "healthy")
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


def test_two_faults_are_two_findings(tmp_path):
    board = BOARDS["SPI has the LED's line"]
    both = replace(board, boot=f"{board.boot}dtoverlay=w1-gpio\n")
    findings = both.findings(tmp_path)
    assert "GPIO 8 ([led] pin) is in use by the kernel, for SPI" in findings["gpio-lines"].line
    assert "the firmware gives GPIO 4 ([sensor] pin) to 1-Wire" in findings["gpio-overlay"].line
