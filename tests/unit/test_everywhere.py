"""A cell with a failed test fails the run, although pytest's last line says how many passed."""

import sys
from types import SimpleNamespace

import pytest
from places import ROOT
from scripts import load_script

everywhere = load_script(ROOT / "tests" / "system" / "everywhere.py")

COUNTS = {0: "4700 passed in 61.40s", 2: "1 failed, 4699 passed in 71.18s"}


@pytest.fixture
def cells(monkeypatch, tmp_path):
    """Return a function that runs these cells, one of which fails, and returns the exit status."""

    def finish(status, *arguments, failing):
        def enter(_root, cell, _commands, log):
            log.write_text(f"=== {COUNTS[status if str(cell) == failing else 0]} ===\n")
            return status if str(cell) == failing else 0

        def quick_cell(name, output):
            output.write_text(f"{name} in 115 s: {COUNTS[status if name == failing else 0]}\n")
            ended = int(name == failing and status != 0)
            return SimpleNamespace(poll=lambda: ended, returncode=ended)

        monkeypatch.setattr(everywhere, "CACHE", tmp_path / "home" / ".cache" / "tests")
        monkeypatch.setattr(everywhere, "furnish", lambda root, _cell: root)
        monkeypatch.setattr(everywhere, "enter", enter)
        monkeypatch.setattr(everywhere, "_quick_cell", quick_cell)
        monkeypatch.setattr(everywhere.time, "sleep", lambda _seconds: None)
        monkeypatch.setattr(everywhere.signal, "signal", lambda *_: None)
        monkeypatch.setattr(sys, "argv", ["everywhere.py", *arguments])
        return everywhere.main()

    return finish


@pytest.mark.parametrize("status", [0, 2])
@pytest.mark.parametrize(
    "arguments",
    [
        ["trixie-root-bare"],
        ["--quick", "trixie-root-bare"],
        ["bookworm-user-bare", "trixie-root-bare"],
        ["--quick", "bookworm-user-bare", "trixie-root-bare", "trixie-user-tools"],
    ],
    ids=" ".join,
)
def test_a_failed_cell_fails_the_run(cells, status, arguments):
    assert cells(status, *arguments, failing="trixie-root-bare") == int(status != 0)
