"""systemd accepts the journal's catalogue."""

import shutil
import subprocess

from catalogue import CATALOG, ENTRIES
from optional import need_program

from agent.logs.events import LogEvent


def test_systemd_accepts_the_catalogue(tmp_path):
    need_program("journalctl", package="systemd")
    for folder in ("usr/lib/systemd/catalog", "var/lib/systemd/catalog"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(CATALOG, tmp_path / "usr/lib/systemd/catalog")

    def journalctl(*arguments):
        done = subprocess.run(
            ["journalctl", f"--root={tmp_path}", *arguments],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert not done.stderr
        return done.stdout

    journalctl("--update-catalog")
    known = journalctl("--list-catalog")
    for event in LogEvent:
        assert f"{event.value} sensor-agent: {ENTRIES[event.name][1]['Subject']}" in known
    assert "pull-up resistor" in journalctl("--dump-catalog", LogEvent.SENSOR_FAILED.value)
