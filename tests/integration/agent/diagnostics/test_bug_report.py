import pytest
from scripts import write_program

from agent.diagnostics import bug_report


def test_a_missing_journal_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bug_report.journal_lines().startswith("Cannot read the journal")


@pytest.mark.parametrize("said", ["lines of the journal", ""])
def test_only_lines_of_this_service_are_read(monkeypatch, tmp_path, said):
    write_program(tmp_path / "journalctl", f'printf "%s" "{said}"; echo "$@" >&2')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert bug_report.journal_lines() == (said or "-u sensor-agent -n 200 --no-pager\n")
