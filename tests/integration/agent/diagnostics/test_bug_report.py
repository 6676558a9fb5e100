import pytest

from agent.diagnostics import bug_report


def test_a_machine_without_journal_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bug_report.journal_lines().startswith("There is no journal here")


@pytest.mark.parametrize("said", ["lines of the journal", ""])
def test_the_journal_is_asked_for_this_service(monkeypatch, tmp_path, said):
    program = tmp_path / "journalctl"
    program.write_text(f'#!/bin/sh\nprintf "%s" "{said}"\necho "$@" >&2\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert bug_report.journal_lines() == (said or "-u sensor-agent -n 200 --no-pager\n")
