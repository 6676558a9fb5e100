import io
import logging
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.logs import journal
from agent.logs.events import LogEvent
from agent.logs.journal import configure, escaped, watchdog_seconds


@pytest.fixture
def clean_root():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_without_systemd_no_notice_is_sent(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setattr(journal, "_has_systemd", lambda: 1 / 0)
    journal.notify(READY="1")


def test_a_missing_package_is_reported_under_systemd(monkeypatch, clean_root):
    monkeypatch.setattr(journal, "_has_systemd", lambda: False)
    stderr = io.StringIO()
    configure("info", environ={"NOTIFY_SOCKET": "/run/notify"}, stderr=stderr)
    assert "systemd-python" in stderr.getvalue()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def lines(stream, *, level="debug", environ=None):
    configure(level, environ=environ or {}, stderr=stream)
    log = logging.getLogger("agent.test")
    log.debug("quiet")
    log.info("as\x1b[2Jusual\n12:00:00 WARNING forged")
    log.warning("look", extra=LogEvent.SENSOR_FAILED.about(FAULT="busy"))
    return stream.getvalue().splitlines()


def test_a_record_on_stderr_is_one_line_with_time_and_level(clean_root):
    got = lines(io.StringIO(), level="info")
    assert [line.partition(" ")[2] for line in got] == [
        r"INFO as\x1b[2Jusual\n12:00:00 WARNING forged",
        "WARNING look",
    ]


def test_warnings_on_a_terminal_are_coloured(clean_root):
    *_, usual, warning = lines(Terminal())
    assert "\x1b" not in usual
    assert warning.startswith("\x1b[33m")
    assert warning.endswith("WARNING look\x1b[0m")


@pytest.fixture
def connected_file(tmp_path):
    with (tmp_path / "stderr").open("w+") as stream:
        there = os.fstat(stream.fileno())
        yield stream, {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}


def test_without_the_package_lines_have_priorities(connected_file, monkeypatch, clean_root):
    monkeypatch.setattr(journal, "_has_systemd", lambda: False)
    stream, environ = connected_file
    configure("info", environ=environ, stderr=stream)
    try:
        int("x")
    except ValueError:
        logging.getLogger("agent.test").exception("oops")
    stream.seek(0)
    got = stream.read().splitlines()
    assert got[0] == "<3>oops"
    assert all(line.startswith("<3>    ") for line in got[1:])


def test_stderr_connected_to_the_journal_is_recognised(connected_file, monkeypatch, clean_root):
    monkeypatch.setattr(journal, "_has_systemd", lambda: True)
    made = []

    def make_handler(device_id):
        made.append(device_id)
        return logging.Handler()

    monkeypatch.setattr(journal, "_journal_handler", make_handler)
    stream, environ = connected_file
    configure("info", device_id="pi-1", environ=environ, stderr=stream)
    assert made == ["pi-1"]
    # A variable that was inherited, for example in a terminal.
    configure("info", environ={"JOURNAL_STREAM": "1:2"}, stderr=stream)
    configure("info", environ=environ, stderr=io.StringIO())
    assert made == ["pi-1"]


@given(st.text())
def test_any_text_is_escaped_to_one_printable_line(text):
    line = escaped(text)
    assert line.isprintable()
    assert line.splitlines() == ([line] if line else [])
    line.encode()
    if text.isprintable():
        assert line == text


def test_long_fields_are_cut():
    sent = {}
    journal._send(lambda text, **fields: sent.update(fields), "x", VALUE="y" * 10_000, name="z")
    assert sent == {"VALUE": "y" * 1000}


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_limit_comes_from_the_environment(environ, seconds):
    assert watchdog_seconds(environ) == seconds
