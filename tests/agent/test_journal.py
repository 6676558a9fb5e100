import io
import json
import logging
import os
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from systemds import ROOT, environment, python_with_systemd

from agent import journal
from agent.events import LogEvent
from agent.journal import configure, escaped, watchdog_seconds

# Emits what a daemon would, through systemd's own JournalHandler, and prints what that sends.
TO_JOURNAL = """
import json, logging, sys
from agent import journal
from agent.events import LogEvent
sent = []
handler = journal._journal_handler("pi-1", lambda text, **fields: sent.append([text, fields]))
log = logging.getLogger("agent.test")
log.addHandler(handler)
log.propagate = False
log.setLevel("DEBUG")
for line in sys.stdin:
    level, text, arguments, fields = json.loads(line)
    try:
        raise ValueError("bad\\x1b[31m\\n<0>forged") if level == "exception" else ValueError
    except ValueError:
        getattr(log, level)(text, *arguments, extra=LogEvent.SENSOR_FAILED.about(**fields))
print(json.dumps(sent))
"""


@pytest.fixture
def clean_root():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def through_journal_handler(*records):
    done = subprocess.run(
        [python_with_systemd(), "-W", "error", "-c", TO_JOURNAL],
        input="\n".join(json.dumps(record) for record in records),
        env=environment(),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_record_reaches_the_journal_with_its_fields():
    [[text, fields]] = through_journal_handler(
        ["warning", "No readings (%s).", ["checksum"], {"FAULT": "checksum", "PIN": 4}]
    )
    assert text == "No readings (checksum)."
    assert fields.pop("CODE_FILE").endswith("string>")
    assert fields.pop("CODE_LINE") > 0
    assert fields == {
        "MESSAGE_ID": LogEvent.SENSOR_FAILED.value,
        "FAULT": "checksum",
        "PIN": 4,
        "DEVICE_ID": "pi-1",
        "SYSLOG_IDENTIFIER": "sensor-agent",
        "PRIORITY": "4",
        "LOGGER": "agent.test",
        "THREAD_NAME": "MainThread",
        "PROCESS_NAME": "MainProcess",
        "CODE_FUNC": "<module>",
    }


def test_levels_have_the_journals_priorities():
    sent = through_journal_handler(
        *([level, "x", [], {}] for level in ("debug", "info", "warning", "error"))
    )
    assert [fields["PRIORITY"] for _, fields in sent] == ["7", "6", "4", "3"]


def test_what_comes_from_the_cloud_stands_escaped_in_message_and_fields():
    evil = "a\nPRIORITY=0\x1b[31m\x00\u202eb\ud800"
    [[text, fields]] = through_journal_handler(
        ["warning", "There is no command %s.", [evil], {"COMMAND": evil}]
    )
    assert text == f"There is no command {escaped(evil)}."
    assert fields["COMMAND"] == escaped(evil) == r"a\nPRIORITY=0\x1b[31m\x00\u202eb\ud800"
    assert not any(evil in str(value) for value in fields.values())


def test_a_traceback_is_below_its_message_and_cannot_forge_a_line():
    [[text, fields]] = through_journal_handler(["exception", "It failed.", [], {}])
    first, *rest = text.split("\n")
    assert first == "It failed."
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in text
    assert "EXCEPTION_TEXT" not in fields


def test_systemd_is_told_through_its_own_library(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        subprocess.run(
            [
                python_with_systemd(),
                "-c",
                "from agent.journal import notify; notify(READY='1', STATUS='21.4 °C\\nMAINPID=1')",
            ],
            env=environment(NOTIFY_SOCKET=str(tmp_path / "notify")),
            check=True,
            timeout=60,
        )
        assert listener.recv(1000).decode() == "READY=1\nSTATUS=21.4 °C\\nMAINPID=1"


def test_where_nobody_listens_telling_systemd_harms_nobody(tmp_path):
    subprocess.run(
        [python_with_systemd(), "-c", "from agent.journal import notify; notify(WATCHDOG='1')"],
        env=environment(NOTIFY_SOCKET=str(tmp_path / "gone")),
        check=True,
        timeout=60,
    )


def test_without_systemd_nobody_is_told(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setattr(journal, "_has_systemd", lambda: 1 / 0)
    journal.notify(READY="1")


def test_a_missing_package_under_systemd_is_said(monkeypatch, clean_root):
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


def test_on_stderr_a_record_is_a_line_with_time_and_level(clean_root):
    got = lines(io.StringIO(), level="info")
    assert [line.partition(" ")[2] for line in got] == [
        r"INFO as\x1b[2Jusual\n12:00:00 WARNING forged",
        "WARNING look",
    ]


def test_on_a_terminal_warnings_are_coloured(clean_root):
    *_, usual, warning = lines(Terminal())
    assert "\x1b" not in usual
    assert warning.startswith("\x1b[33m")
    assert warning.endswith("WARNING look\x1b[0m")


@pytest.fixture
def connected_file(tmp_path):
    with (tmp_path / "stderr").open("w+") as stream:
        there = os.fstat(stream.fileno())
        yield stream, {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}


def test_a_journal_without_the_package_still_gets_priorities(
    connected_file, monkeypatch, clean_root
):
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


def test_stderr_that_leads_to_the_journal_is_recognised(connected_file, monkeypatch, clean_root):
    monkeypatch.setattr(journal, "_has_systemd", lambda: True)
    made = []
    monkeypatch.setattr(
        journal, "_journal_handler", lambda device_id: made.append(device_id) or logging.Handler()
    )
    stream, environ = connected_file
    configure("info", device_id="pi-1", environ=environ, stderr=stream)
    assert made == ["pi-1"]
    # Inherited from whoever started a terminal, say.
    configure("info", environ={"JOURNAL_STREAM": "1:2"}, stderr=stream)
    configure("info", environ=environ, stderr=io.StringIO())
    assert made == ["pi-1"]


@given(st.text())
def test_whatever_is_logged_is_one_harmless_line(text):
    line = escaped(text)
    assert line.isprintable()
    assert line.splitlines() == ([line] if line else [])
    line.encode()
    if text.isprintable():
        assert line == text


def test_a_field_cannot_fill_the_journal():
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
def test_how_often_systemd_wants_to_hear(environ, seconds):
    assert watchdog_seconds(environ) == seconds


def test_the_module_needs_nothing_but_python():
    script = "import agent.journal, sys; print('systemd' in sys.modules, 'asyncio' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["False", "False"]
